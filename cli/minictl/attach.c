/* minictl attach: our standard streams are those of a container's own process. */
#include "cli/minictl/attach.h"

#include <errno.h>

static const json_t *container_of(const json_t *pod, const char *name)
{
	size_t i;
	json_t *e;
	const json_t *list = json_path(pod, "spec", "containers", NULL);
	if (!name)
		name = meta_annotation(pod, "kubectl.kubernetes.io/default-container");
	if (!name)
		return json_array_get(list, 0);
	json_array_foreach(list, i, e)
	{
		if (streq(json_get_str(e, "name", ""), name))
			return e;
	}
	return NULL;
}

int attach_to(struct ctl *c, const struct item *it, const json_t *pod, const char *container, struct remote_io io,
	      bool quiet, bool *ret_reading, struct err *err)
{
	const json_t *spec = container_of(pod, container);
	if (!spec)
		return ctl_usage(err, "container %s not found in pod %s", container ? container : "", it->name);
	const char *name = json_get_str(spec, "name", "");
	if (io.in && !json_get_bool(spec, "stdin", false)) {
		fprintf(stderr, "Unable to use stdin - container %s did not allocate one\n", name);
		io.in = io.tty = false;
	}
	if (io.tty && !json_get_bool(spec, "tty", false)) {
		fprintf(stderr, "Unable to use a TTY - container %s did not allocate one\n", name);
		io.tty = false;
	}
	io = remote_io_of(io.in, io.tty);
	if (io.in && !quiet)
		fputs("If you don't see a command prompt, try pressing enter.\n", stderr);
	const char *path = with_query(path_of(it->kind, it->ns, it->name, "attach"), "container", name);
	return remote_run(c, path, io, ret_reading, err);
}

int verb_attach(struct ctl *c, int argc, char **argv, struct err *err)
{
	const char *container = NULL, *ignored = NULL;
	struct remote_io io = {0};
	bool quiet = false, reading = false;
	const struct opt opts[] = {
		{"container", 'c', OPT_STR, &container, NULL, "which container"},
		{"stdin", 'i', OPT_BOOL, &io.in, NULL, "hand standard input on"},
		{"tty", 't', OPT_BOOL, &io.tty, NULL, "lend the container this terminal (with -i)"},
		{"quiet", 'q', OPT_BOOL, &quiet, NULL, "print only what the container prints"},
		{"pod-running-timeout", 0, OPT_STR, &ignored, NULL, NULL},
		OPTS_END,
	};
	struct args args = {0};
	struct item it;
	json_t *pod = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	if (args.pos.n != 1)
		return ctl_usage(err, "at least 1 argument is required for attach, one POD or TYPE/NAME");
	if ((rc = choose_pod(c, args.pos.items[0], &it, err)) < 0 || (rc = get_item(c, &it, &pod, err)) < 0)
		return rc;
	keep_json(pod);
	const char *phase = json_get_str(json_object_get(pod, "status"), "phase", "");
	if (streq(phase, "Succeeded") || streq(phase, "Failed"))
		return ctl_usage(err, "cannot attach a container in a completed pod; current phase is %s", phase);
	rc = attach_to(c, &it, pod, container, io, quiet, &reading, err);
	return remote_exit(c, rc, reading, err);
}
