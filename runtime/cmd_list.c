#include <dirent.h>
#include <errno.h>
#include <getopt.h>

#include "runtime/cmd.h"
#include "runtime/hooks.h"

enum list_format { LIST_TABLE, LIST_JSON, LIST_QUIET };

static void add(const struct oci_state *st, enum list_format format, json_t *all)
{
	char created[32];
	time_format_us(st->created_us, created);
	if (format == LIST_QUIET) {
		puts(st->id);
	} else if (format == LIST_JSON) {
		json_t *j = hooks_state_json(NULL, st);
		json_object_set_new(j, "created", json_string(created));
		json_array_append_new(all, j);
	} else {
		printf("%-40s %-8d %-9s %-28s %s\n", st->id, st->status == OCI_STOPPED ? 0 : (int)st->init.pid,
		       oci_status_str(st->status), created, st->bundle);
	}
}

int cmd_list(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	static const struct option opts[] = {
		{"quiet", no_argument, NULL, 'q'}, {"format", required_argument, NULL, 'f'}, {0}};
	enum list_format format = LIST_TABLE;
	int c;
	while ((c = getopt_long(argc, argv, "+qf:", opts, NULL)) != -1) {
		if (c == 'q')
			format = LIST_QUIET;
		else if (c == 'f' && streq(optarg, "json"))
			format = LIST_JSON;
		else if (c != 'f' || !streq(optarg, "table"))
			return cmd_usage(err, "list");
	}
	DIR *d = opendir(g->root);
	if (!d && errno != ENOENT)
		return err_errno(err, "%s", g->root);
	json_t *all = json_array();
	if (format == LIST_TABLE)
		printf("%-40s %-8s %-9s %-28s %s\n", "ID", "PID", "STATUS", "CREATED", "BUNDLE");
	for (struct dirent *e; d && (e = readdir(d));) {
		_cleanup_(oci_state_done) struct oci_state st = {0};
		if (oci_id_valid(e->d_name) && oci_state_read(g->root, e->d_name, &st, NULL) == 0)
			add(&st, format, all);
	}
	if (d)
		closedir(d);
	if (format == LIST_JSON) {
		json_dumpf(all, stdout, JSON_COMPACT);
		putchar('\n');
	}
	json_decref(all);
	return fflush(stdout) == 0 ? 0 : err_errno(err, "stdout");
}
