/* minictl version: this program's and the server's. */
#include <errno.h>

#include "cli/minictl/verbs.h"
#include "version.h"

int verb_version(struct ctl *c, int argc, char **argv, struct err *err)
{
	bool client_only = false;
	const char *form = NULL;
	const struct opt opts[] = {
		{"client", 0, OPT_BOOL, &client_only, NULL, "only this program's"},
		{"output", 'o', OPT_STR, &form, NULL, "yaml or json"},
		OPTS_END,
	};
	struct args args = {0};
	struct output out = {0};
	_cleanup_json_ json_t *server = NULL, *doc = NULL;
	int rc = args_parse(c, opts, argc, argv, &args, err);
	if (rc)
		return MIN(rc, 0);
	rc = output_parse(form, &out, err);
	if (rc < 0)
		return rc;
	doc = json_make("{s:{s:s, s:s}}", "clientVersion", "gitCommit", MINI_COMMIT, "gitVersion", "v" MINI_VERSION);
	if (!client_only) {
		rc = ctl_connect(c, err);
		if (rc == 0)
			rc = rest_get(c, "/version", &server, err);
		if (server)
			json_object_set(doc, "serverVersion", server);
	}
	if (out.form == OUT_YAML || out.form == OUT_JSON)
		return output_print(&out, doc, err) < 0 ? -EINVAL : rc;
	printf("Client Version: v%s\n", MINI_VERSION);
	if (server)
		printf("Server Version: %s\n", json_get_str(server, "gitVersion", "?"));
	return rc;
}
