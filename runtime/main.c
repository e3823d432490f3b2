/* minirun: an OCI runtime and shim. Global options, then a verb. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/random.h>
#include <time.h>

#include "runtime/cmd.h"

#ifndef MINI_VERSION
#define MINI_VERSION "0.1.0"
#endif

static const struct verb {
	const char *name;
	int (*fn)(const struct runtime_global *, int, char **, struct err *);
	bool enters; /* a process of it goes into a container */
	const char *help;
} verbs[] = {
	{"create", cmd_create, true, "--bundle DIR [--pid-file F] [--console-socket S] [--preserve-fds N] ID"},
	{"start", cmd_start, false, "ID"},
	{"state", cmd_state, false, "ID"},
	{"kill", cmd_kill, false, "[--all] ID [SIGNAL]"},
	{"delete", cmd_delete, false, "[--force] ID"},
	{"run", cmd_run, true, "--bundle DIR [--detach] [--keep] ID: create, start, wait, delete"},
	{"exec", cmd_exec, true,
	 "[--process FILE] [--cwd D] [--env K=V] [--user U[:G]] [--tty] [--detach] ID COMMAND..."},
	{"list", cmd_list, false, "[--format table|json] [--quiet]"},
	{"features", cmd_features, false, ""},
	{"shim", cmd_shim, true,
	 "--bundle DIR [--log-path FILE] [--cgroup-self PATH] [--stdin|--stdin-once] ID: create, and stay with it"},
	{"attach", cmd_attach, false, "[--stdin] ID: the stdio of a container that has a shim"},
};

#ifdef __SANITIZE_ADDRESS__
/* The leak checker stops the world with a child of its own, which can't work in a process whose children are in another
 * pid namespace (exec). */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

static void help(void)
{
	puts("minirun: an OCI container runtime\n\n"
	     "usage: minirun [--root DIR] [--log FILE] [--log-format text|json] VERB ...\n");
	for (unsigned i = 0; i < ARRAY_LEN(verbs); i++)
		printf("  %-9s %s\n", verbs[i].name, verbs[i].help);
	puts("\n  --root DIR         where the state is kept (/run/minirun)\n"
	     "  --log FILE         errors also go here\n"
	     "  --log-format F     text or json\n"
	     "  --systemd-cgroup   refused: control groups are managed directly\n"
	     "  --version, --help");
}

static void report(const struct runtime_global *g, const struct err *e)
{
	char when[32];
	struct timespec t;
	dprintf(2, "minirun: %s\n", e->message);
	_cleanup_close_ int fd = g->log ? open(g->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
	if (fd < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &t);
	time_format_us((int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000, when);
	if (!g->log_json) {
		dprintf(fd, "%s error %s\n", when, e->message);
		return;
	}
	json_t *j = json_pack("{s:s,s:s,s:s}", "level", "error", "msg", e->message, "time", when);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	if (text)
		dprintf(fd, "%s\n", text);
	free(text);
	json_decref(j);
}

/* Options before the verb; returns the verb's index in argv, 0 when the program is done. */
static int parse_global(int argc, char **argv, struct runtime_global *g)
{
	static const struct option opts[] = {{"root", required_argument, NULL, 'r'},
					     {"log", required_argument, NULL, 'l'},
					     {"log-format", required_argument, NULL, 'f'},
					     {"systemd-cgroup", no_argument, NULL, 's'},
					     {"debug", no_argument, NULL, 'd'},
					     {"log-level", required_argument, NULL, 'd'},
					     {"version", no_argument, NULL, 'v'},
					     {"help", no_argument, NULL, 'h'},
					     {"rootless", optional_argument, NULL, 'd'},
					     {"cgroup-manager", required_argument, NULL, 'm'},
					     {0}};
	int c;
	while ((c = getopt_long(argc, argv, "+vh", opts, NULL)) != -1) {
		switch (c) {
		case 'r':
			g->root = optarg;
			break;
		case 'l':
			g->log = optarg;
			break;
		case 'f':
			g->log_json = streq(optarg, "json");
			break;
		case 's':
			g->systemd_cgroup = true;
			break;
		case 'm':
			g->systemd_cgroup = streq(optarg, "systemd");
			break;
		case 'd': /* nothing to tell but errors */
			break;
		case 'v':
			printf("minirun version %s\nspec: 1.1.0\n", MINI_VERSION);
			exit(0);
		case 'h':
			help();
			exit(0);
		default:
			return 0;
		}
	}
	return optind < argc ? optind : 0;
}

/* jansson would open /dev/urandom for it. */
static void seed_json(void)
{
	unsigned seed = 0;
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) == sizeof(seed) && seed)
		json_object_seed(seed);
}

int main(int argc, char **argv)
{
	struct runtime_global g = {.root = "/run/minirun"};
	_cleanup_err_ struct err err = ERR_INIT;
	(void)signal(SIGPIPE, SIG_IGN);
	int at = parse_global(argc, argv, &g);
	if (at == 0) {
		dprintf(2, "minirun: no verb given, or an unknown option: see minirun --help\n");
		return 1;
	}
	for (unsigned i = 0; i < ARRAY_LEN(verbs); i++) {
		if (!streq(argv[at], verbs[i].name))
			continue;
		_cleanup_free_ char *root = NULL;
		int r = verbs[i].enters ? protect_self(argv, &err) : 0;
		seed_json();
		if (g.root[0] != '/') {
			_cleanup_free_ char *cwd = getcwd(NULL, 0);
			g.root = root = xasprintf("%s/%s", cwd ? cwd : "", g.root);
		}
		optind = 0; /* glibc: start anew on the verb's own arguments */
		if (r == 0)
			r = verbs[i].fn(&g, argc - at, argv + at, &err);
		if (r >= 0)
			return r;
		report(&g, &err);
		/* A program that can't be run has exit codes of its own, as with a shell. */
		if (streq(verbs[i].name, "exec") || streq(verbs[i].name, "run"))
			return r == -ENOENT ? 127 : r == -EACCES ? 126 : 255;
		return 1;
	}
	dprintf(2, "minirun: unknown verb %.50s: see minirun --help\n", argv[at]);
	return 1;
}
