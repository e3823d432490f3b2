/* One run of minictl: its options, its loop, its connection. What a verb needs beside its own arguments.
 *
 * A run is short: memory that lives as long as the run is handed to keep() and freed at the end. Calls to the server
 * are written as plain calls here (rest.h): they turn the loop until their answer is there.
 */
#ifndef MINI_MINICTL_CTL_H
#define MINI_MINICTL_CTL_H

#include <uv.h>

#include "lib/client/client_http.h"

struct command;

struct ctl {
	uv_loop_t loop;
	struct env *env;       /* NULL until the loop is needed */
	struct client *client; /* NULL until the server is needed */
	struct kubeconfig config;
	bool have_config;
	const struct command *command;
	/* what the options say; NULL when not given */
	const char *ns, *kubeconfig, *context, *cluster, *user, *server, *token, *request_timeout, *ca_file;
	const char *dir;
	bool insecure, help;
	int64_t verbosity;
	int failures; /* errors printed so far: the exit code is 1 when there are any */
};

#define DEFAULT_DIR "/var/lib/mini"

/* A verb: returns the exit code, or a negative one after filling err. */
typedef int (*command_fn)(struct ctl *c, int argc, char **argv, struct err *err);

struct command {
	const char *name; /* "get", "rollout status" */
	const char *usage;
	const char *summary;
	const char *examples;
	command_fn run;
};
extern const struct command commands[]; /* name NULL ends */
const struct command *command_find(int argc, char **argv, int *ret_words);
void help_all(FILE *out);
void help_command(const struct command *cmd, FILE *out);

/* Memory for the rest of the run. Both return what they were given (or made). */
void *keep(void *p);
char *keepf(const char *fmt, ...) _printf_(1, 2);
json_t *keep_json(json_t *j); /* takes the reference */
void keep_done(void);

/* The kubeconfig in effect, read at most once. */
int ctl_config(struct ctl *c, struct err *err);
/* Where it is to be found, by the same rules; for the config verbs. */
char *ctl_config_path(const struct ctl *c);
/* The namespace of namespaced requests: -n, the context's, "default". */
const char *ctl_ns(struct ctl *c);
/* Loop and connection, made at most once. ctl_loop is enough for the node's socket. */
void ctl_loop(struct ctl *c);
int ctl_connect(struct ctl *c, struct err *err);
void ctl_done(struct ctl *c);
/* Turn the loop until *done; deadline_ms 0: none. -ETIMEDOUT when it passed first. */
int ctl_run(struct ctl *c, const bool *done, uint64_t deadline_ms);
uint64_t ctl_now_ms(void);

/* Print an error as kubectl does, and count it. `context` may be NULL: `error when creating "x.yaml"`. */
void ctl_fail(struct ctl *c, const struct err *err, const char *context);
/* A usage error of a verb: fills err so that "error: ..." is printed. */
int ctl_usage(struct err *err, const char *fmt, ...) _printf_(2, 3);
#if defined(__clang_analyzer__) && !defined(MINI_MINICTL_FAIL_C)
#define ctl_usage(...) err__negative((ctl_usage)(__VA_ARGS__)) /* see lib/core/err.h */
#endif

#endif
