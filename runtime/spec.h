/* config.json of a bundle, read and checked once, before anything is made from it.
 *
 * The parsed JSON stays in `json`; strings point into it. What has no meaning here is ignored, as the OCI runtime
 * specification wants; what would change the container and can't be honoured is an error. Source: OCI runtime-spec 1.1,
 * config.md, config-linux.md.
 */
#ifndef MINI_RUNTIME_SPEC_H
#define MINI_RUNTIME_SPEC_H

#include <jansson.h>

#include "lib/core/err.h"
#include "lib/core/util.h"

#define SPEC_JOIN_MAX 8

struct spec {
	json_t *json;
	char *bundle; /* absolute */
	char *rootfs; /* absolute */
	bool rootfs_readonly;
	const char *hostname, *domainname; /* or NULL */
	const char *cgroup_path;           /* as written; NULL when absent */
	unsigned new_ns;                   /* CLONE_NEW* to be made */
	struct {
		int flag; /* CLONE_NEW* */
		const char *path;
	} join[SPEC_JOIN_MAX];
	unsigned n_join;
	bool systemd_cgroup; /* asked for on the command line: refused when there is a path */
};

int spec_load(const char *bundle, struct spec *ret, struct err *err);
void spec_done(struct spec *s);
bool spec_joins(const struct spec *s, int flag);

/* Walks "linux.resources.memory"; NULL when a part is absent. */
json_t *json_at(json_t *j, const char *path);
const char *json_str_at(json_t *j, const char *path); /* NULL when absent or no string */
bool json_bool_at(json_t *j, const char *path);
const char *spec_annotation(const struct spec *s, const char *name);
/* An array of strings as a NULL-terminated vector of pointers into j; NULL when absent. -EINVAL on other elements. */
int json_strv(json_t *j, const char *what, const char ***ret, struct err *err);

#endif
