/* System call filters: OCI linux.seccomp, or the built-in default profile, to BPF; compiled once and kept on disk.
 *
 * libseccomp takes milliseconds to compile a profile of four hundred names; a container should start in fewer than that
 * altogether. So the BPF is kept under <cache_dir>/<hash of the profile and of what it depends on>.bpf, a file only root
 * can write. A damaged or missing file is compiled again. Source: OCI config-linux.md#seccomp.
 */
#ifndef MINI_RUNTIME_SECCOMP_H
#define MINI_RUNTIME_SECCOMP_H

#include <jansson.h>
#include <linux/filter.h>

#include "lib/core/err.h"
#include "lib/core/util.h"

struct seccomp_filter {
	unsigned flags; /* SECCOMP_FILTER_FLAG_* */
	unsigned n;
	struct sock_filter *insns;
};

/* j: linux.seccomp. cache_dir NULL: no cache. */
int seccomp_from_json(json_t *j, const char *cache_dir, struct seccomp_filter **ret, struct err *err);
/* The default profile for a process whose bounding set is `bounding`. */
int seccomp_default(uint64_t bounding, const char *cache_dir, struct seccomp_filter **ret, struct err *err);
int seccomp_load_filter(const struct seccomp_filter *f, struct err *err);
void seccomp_filter_free(struct seccomp_filter *f);

/* The default profile's rules (seccomp_profile.c), as linux.seccomp JSON. */
json_t *seccomp_default_json(uint64_t bounding);

#endif
