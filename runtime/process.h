/* What runs in a container: the OCI `process` object, parsed by the parent and applied by the child just before exec. */
#ifndef MINI_RUNTIME_PROCESS_H
#define MINI_RUNTIME_PROCESS_H

#include <sys/resource.h>
#include <sys/types.h>

#include "runtime/caps.h"
#include "runtime/seccomp.h"

#define PROCESS_RLIMITS_MAX 16
#define PROCESS_GIDS_MAX    1024

struct process {
	const char **args; /* NULL-terminated; strings belong to the JSON they came from */
	const char **env;  /* NULL-terminated, never NULL */
	const char *cwd;
	uid_t uid;
	gid_t gid;
	gid_t *gids;
	size_t n_gids;
	int umask; /* -1: leave */
	bool terminal;
	unsigned short rows, cols;
	bool no_new_privs;
	bool has_oom_score_adj;
	int oom_score_adj;
	struct caps caps;
	struct {
		int resource;
		struct rlimit limit;
	} rlimits[PROCESS_RLIMITS_MAX];
	unsigned n_rlimits;
	const char *apparmor;          /* profile or NULL */
	struct seccomp_filter *filter; /* borrowed; NULL: none */
	int preserve_fds;
	char *path; /* the program found in the container's root: process_find() */
};

int process_parse(json_t *j, struct process *ret, struct err *err);
void process_done(struct process *p);

/* In the container's root: set HOME when the environment has none, change to cwd (made when missing, as runc does). */
int process_enter_cwd(struct process *p, struct err *err);
/* Look args[0] up in PATH, as execvpe would; sets p->path. -ENOENT, -EACCES with the messages people know. */
int process_find(struct process *p, struct err *err);
/* Host's side of it that needs the host's /proc: oom_score_adj and AppArmor. */
int process_early(const struct process *p, struct err *err);
/* Limits, user, capabilities, no_new_privs, filter: the point of no return. */
int process_confine(const struct process *p, struct err *err);
/* Never returns on success. -errno. Every descriptor above 2 + preserve_fds closes. */
int process_exec(const struct process *p, struct err *err);

#endif
