/* minirun's verbs: one file each (cmd_<verb>.c). Each gets its own argv (argv[0] is the verb) and returns the exit code
 * of the program, or a negative errno with err filled, which main() reports. */
#ifndef MINI_RUNTIME_CMD_H
#define MINI_RUNTIME_CMD_H

#include "runtime/container.h"

int cmd_create(const struct runtime_global *g, int argc, char **argv, struct err *err);
int cmd_start(const struct runtime_global *g, int argc, char **argv, struct err *err);
int cmd_state(const struct runtime_global *g, int argc, char **argv, struct err *err);
int cmd_kill(const struct runtime_global *g, int argc, char **argv, struct err *err);
int cmd_delete(const struct runtime_global *g, int argc, char **argv, struct err *err);
int cmd_run(const struct runtime_global *g, int argc, char **argv, struct err *err);
int cmd_exec(const struct runtime_global *g, int argc, char **argv, struct err *err);
int cmd_list(const struct runtime_global *g, int argc, char **argv, struct err *err);
int cmd_features(const struct runtime_global *g, int argc, char **argv, struct err *err);
int cmd_attach(const struct runtime_global *g, int argc, char **argv, struct err *err);
int cmd_shim(const struct runtime_global *g, int argc, char **argv, struct err *err);

/* The only argument after the options: the container's id. */
int cmd_one_id(int argc, char **argv, const char **ret, struct err *err);
int cmd_usage(struct err *err, const char *verb);
/* The options of create, and with them those of run, which starts at once; strings point into argv. */
struct cmd_create_args {
	struct create_options o;
	const char *id;
	bool detach, keep;
};
int cmd_parse_create(int argc, char **argv, bool run, struct cmd_create_args *ret, struct err *err);
/* --preserve-fds N */
int cmd_parse_count(const char *s, int *ret, struct err *err);
/* Passes signals on to the child until it ends; its exit code, or 128 + signal. */
int cmd_wait_child(pid_t pid);

/* protect.c: go on from a copy of ourselves nobody in a container can write to. Returns when there is nothing to do. */
int protect_self(char **argv, struct err *err);

#endif
