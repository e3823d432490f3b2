/* minictl exec: a command in a container. */
#include <errno.h>

#include "cli/minictl/remote.h"
#include "cli/minictl/verbs.h"

int choose_pod(struct ctl *c, const char *word, struct item *ret, struct err *err)
{
	*ret = (struct item){.kind = kind_by_kind("", "v1", "Pod"), .ns = ctl_ns(c), .name = word};
	if (!strchr(word, '/'))
		return 0;
	struct strings one = {0};
	size_t used;
	json_t *pods = NULL;
	strings_add(&one, word);
	int rc = input_one(c, &one, &used, ret, err);
	if (rc < 0 || streq(ret->kind->kind, "Pod"))
		return rc;
	rc = pods_of(c, ret, &pods, err);
	if (rc < 0)
		return rc;
	keep_json(pods);
	const json_t *pod = pod_best(pods);
	if (!pod)
		return ctl_usage(err, "no pods of %s", word);
	*ret = (struct item){.kind = kind_by_kind("", "v1", "Pod"), .ns = meta_ns(pod), .name = meta_name(pod)};
	return 0;
}

static int default_container(struct ctl *c, const struct item *pod, const char **ret, struct err *err)
{
	json_t *obj = NULL;
	int rc = get_item(c, pod, &obj, err);
	if (rc < 0)
		return rc;
	keep_json(obj);
	const char *named = meta_annotation(obj, "kubectl.kubernetes.io/default-container");
	const json_t *list = json_path(obj, "spec", "containers", NULL);
	*ret = named ? named : json_get_str(json_array_get(list, 0), "name", "");
	if (!named && json_array_size(list) > 1) {
		_cleanup_buf_ struct buf names = BUF_INIT;
		size_t i;
		json_t *e;
		json_array_foreach(list, i, e) buf_addf(&names, "%s%s", i ? ", " : "", json_get_str(e, "name", ""));
		fprintf(stderr, "Defaulted container \"%s\" out of: %s\n", *ret, buf_str(&names));
	}
	return 0;
}

int verb_exec(struct ctl *c, int argc, char **argv, struct err *err)
{
	const char *container = NULL, *ignored = NULL;
	bool in = false, tty = false, quiet = false;
	const struct opt opts[] = {
		{"container", 'c', OPT_STR, &container, NULL, "which container"},
		{"stdin", 'i', OPT_BOOL, &in, NULL, "hand standard input on"},
		{"tty", 't', OPT_BOOL, &tty, NULL, "lend the command this terminal (with -i)"},
		{"quiet", 'q', OPT_BOOL, &quiet, NULL, "print only what the command prints"},
		{"pod-running-timeout", 0, OPT_STR, &ignored, NULL, NULL},
		OPTS_END,
	};
	struct args args = {0};
	struct item pod;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n == 0)
		return ctl_usage(err, "pod, type/name or --filename must be specified");
	if (args.after.n == 0)
		return ctl_usage(
			err, "%s",
			args.pos.n > 1
				? "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead"
				: "you must specify at least one command for the container");
	rc = choose_pod(c, args.pos.items[0], &pod, err);
	if (rc == 0 && !container)
		rc = default_container(c, &pod, &container, err);
	if (rc < 0)
		return rc;
	char *path = with_query(path_of(pod.kind, pod.ns, pod.name, "exec"), "container", container);
	for (size_t i = 0; i < args.after.n; i++)
		path = *args.after.items[i] ? with_query(path, "command", args.after.items[i])
					    : keepf("%s&command=", path);
	bool reading = false;
	rc = remote_run(c, path, remote_io_of(in, tty), &reading, err);
	return remote_exit(c, rc, reading, err);
}
