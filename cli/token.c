#include "cli/token.h"

#include <errno.h>
#include <time.h>

#include "cli/call.h"
#include "lib/client/client_http.h"
#include "lib/client/join_token.h"
#include "lib/core/env_uv.h"
#include "lib/core/file.h"

#define SECRETS "/api/v1/namespaces/" JOIN_TOKEN_NS "/secrets"

static int create(const struct options *o, const struct call_to *to, struct err *err)
{
	struct join_token t;
	char text[JOIN_TOKEN_TEXT_MAX];
	const struct join_token_grant grant = {.role = o->role,
					       .name = o->name,
					       .wish = o->witness   ? "witness"
						       : o->learner ? "learner"
								    : NULL,
					       .expires_s =
						       o->ttl_us ? time(NULL) + (int64_t)(o->ttl_us / 1000000) : 0};
	int r = join_token_make(to->ca_pem, &t, err);
	if (r < 0)
		return r;
	_cleanup_json_ json_t *secret = join_token_object(&t, &grant);
	r = call(to, "POST", SECRETS, secret, NULL, err);
	if (r < 0)
		return r;
	join_token_text(&t, text);
	puts(text);
	return 0;
}

static void print_row(const json_t *secret, int64_t now)
{
	_cleanup_free_ char *id = join_token_field(secret, "token-id"),
			    *groups = join_token_field(secret, "auth-extra-groups"),
			    *name = join_token_field(secret, "mini-name"),
			    *wish = join_token_field(secret, "mini-wish");
	int64_t expires = join_token_expiry(secret), left = expires - now;
	char ttl[32] = "forever";
	if (expires < 0 || (expires > 0 && left <= 0))
		snprintf(ttl, sizeof(ttl), "expired");
	else if (expires > 0)
		snprintf(ttl, sizeof(ttl), "%lldh%02lldm", (long long)left / 3600, (long long)left / 60 % 60);
	printf("%-9s%-10s%-10s%-11s%s\n", id ? id : "?", ttl,
	       groups && strstr(groups, JOIN_GROUP_AGENTS) ? "agent" : "server", wish ? wish : "", name ? name : "");
}

static int list(const struct call_to *to, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	int r = call(to, "GET",
		     SECRETS "?fieldSelector=type%3D"
			     "bootstrap.kubernetes.io%2Ftoken",
		     NULL, &answer, err);
	if (r < 0)
		return r;
	size_t i;
	json_t *secret;
	printf("%-9s%-10s%-10s%-11s%s\n", "ID", "TTL", "ROLE", "WISH", "NAME");
	json_array_foreach(json_object_get(answer, "items"), i, secret) print_row(secret, time(NULL));
	return 0;
}

/* By its id, or by the whole token. */
static int delete (const struct options *o, const struct call_to *to, struct err *err)
{
	const char *id = o->words[1];
	_cleanup_free_ char *path = xasprintf(SECRETS "/" JOIN_TOKEN_PREFIX "%.6s", id);
	int r = call(to, "DELETE", path, NULL, NULL, err);
	if (r == 0)
		printf("token %.6s deleted\n", id);
	return r;
}

static int run(const struct options *o, const struct call_to *to, struct err *err)
{
	if (streq(o->words[0], "create"))
		return create(o, to, err);
	return streq(o->words[0], "list") ? list(to, err) : delete (o, to, err);
}

int token_check(const struct options *o, struct err *err)
{
	const char *verb = o->n_words ? o->words[0] : "", *id = o->n_words == 2 ? o->words[1] : "";
	bool create = streq(verb, "create"), delete = streq(verb, "delete");
	if (!create && !delete &&!streq(verb, "list"))
		return err_set(err, -EINVAL, "minid token create, list or delete; minid token --help shows how");
	if (delete &&(strcspn(id, ".") != 6 || strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789") < 6))
		return err_set(err, -EINVAL,
			       "minid token delete ID: six letters and digits, as `minid token list` shows them");
	if (!delete &&o->n_words > 1)
		return err_set(err, -EINVAL, "unexpected argument \"%s\"; minid token --help shows the usage",
			       o->words[1]);
	if (create && streq(o->role, "agent") && (o->witness || o->learner))
		return err_set(err, -EINVAL, "--learner and --witness are of servers: a node is neither");
	return 0;
}

int token_main(const struct options *o)
{
	uv_loop_t loop;
	struct kubeconfig k = {0};
	_cleanup_err_ struct err err = ERR_INIT;
	_cleanup_free_ char *path = xasprintf("%s/admin.kubeconfig", o->dir);
	int r = file_exists(path)
			? kubeconfig_load(path, NULL, &k, &err)
			: err_set(&err, -ENOENT,
				  "no server was ever started in %s: start one with `minid server --dir %s`, or say "
				  "with --dir where it keeps its state",
				  o->dir, o->dir);
	if (r == 0) {
		uv_loop_init(&loop);
		struct env *env = env_uv_new(&loop);
		struct call_to to = {.env = env,
				     .loop = &loop,
				     .url = k.server,
				     .ca_pem = k.ca_pem,
				     .cert_pem = k.cert_pem,
				     .key_pem = k.key_pem};
		r = run(o, &to, &err);
		if (r < 0 && err.reason == ERR_NONE && err.code != -EINVAL)
			err_prefix(&err, "no server answers at %s: `minid server --dir %s` starts it", k.server,
				   o->dir);
		env_uv_free(env);
		uv_run(&loop, UV_RUN_DEFAULT);
		uv_loop_close(&loop);
	}
	if (r < 0)
		fprintf(stderr, "minid: %s\n", err.message);
	kubeconfig_done(&k);
	return r < 0 ? 1 : 0;
}
