#include <errno.h>
#include <getopt.h>

#include "runtime/cmd.h"
#include "runtime/hooks.h"

int cmd_state(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	_cleanup_(oci_state_done) struct oci_state st = {0};
	__attribute__((cleanup(spec_done))) struct spec s = {0};
	const char *id;
	int r;
	if (getopt_long(argc, argv, "+", (const struct option[]){{0}}, NULL) != -1)
		return cmd_usage(err, "state");
	if ((r = cmd_one_id(argc, argv, &id, err)) < 0 || (r = oci_state_read(g->root, id, &st, err)) < 0)
		return r;
	bool has_spec = container_spec(&st, &s, NULL) == 0;
	json_t *j = hooks_state_json(has_spec ? &s : NULL, &st);
	if (!j)
		return err_set(err, -EINVAL, "container %s: its state is not valid UTF-8", id);
	char created[32];
	json_object_set_new(j, "created", json_string(time_format_us(st.created_us, created)));
	if (has_spec)
		json_object_set_new(j, "rootfs", json_string(s.rootfs));
	json_object_set_new(j, "owner", json_string(""));
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(j);
	return fflush(stdout) == 0 ? 0 : err_errno(err, "stdout");
}
