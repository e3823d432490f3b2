/* Questions about rights and identity: SubjectAccessReview and its kin, TokenReview, SelfSubjectReview. */
#include "apiserver/authn.h"
#include "apiserver/authz.h"
#include "apiserver/decode.h"
#include "apiserver/rbac.h"
#include "apiserver/subresource.h"

static int answer(struct request *r, json_t *status)
{
	json_t *tree = json_deep_copy(r->body);
	json_put(tree, "status", status);
	result_tree(r, tree, 201);
	return REQUEST_SKIP_TO_ANSWER;
}

/* The query in spec.{resource,nonResource}Attributes. False: neither. */
static bool read_query(const json_t *spec, struct authz_query *q)
{
	const json_t *res = json_object_get(spec, "resourceAttributes"),
		     *path = json_object_get(spec, "nonResourceAttributes");
	if (path) {
		*q = (struct authz_query){.verb = json_get_str(path, "verb", ""),
					  .path = json_get_str(path, "path", "")};
		return true;
	}
	*q = (struct authz_query){.verb = json_get_str(res, "verb", ""),
				  .group = json_get_str(res, "group", ""),
				  .resource = json_get_str(res, "resource", ""),
				  .subresource = json_get_str(res, "subresource", ""),
				  .ns = json_get_str(res, "namespace", ""),
				  .name = json_get_str(res, "name", "")};
	return res != NULL;
}

static int fail_review(struct request *r, const char *field, const char *why)
{
	err_add_cause(&r->err, "FieldValueInvalid", field, "Invalid value: %s", why);
	schema_invalid_message(&r->err, r->kind, "");
	return r->err.code;
}

static int answer_access(struct request *r, const struct user *u)
{
	struct authz_query q;
	const json_t *spec = json_object_get(r->body, "spec");
	if (json_object_get(spec, "resourceAttributes") && json_object_get(spec, "nonResourceAttributes"))
		return fail_review(r, "spec.nonResourceAttributes",
				   "{}: cannot be specified in combination with resourceAttributes");
	if (!read_query(spec, &q))
		return fail_review(
			r, "spec.resourceAttributes",
			"null: exactly one of nonResourceAttributes or resourceAttributes must be specified");
	if (streq(r->kind->kind, "LocalSubjectAccessReview") && !streq(q.ns ? q.ns : "", r->route.ns))
		return fail_review(r, "spec.resourceAttributes.namespace", "must match the namespace of the request");
	json_t *status = json_object();
	json_put_bool(status, "allowed", authz_allowed(r->server, u, &q));
	return answer(r, status);
}

static int self_access(struct request *r)
{
	return answer_access(r, r->user);
}

static int subject_access(struct request *r)
{
	const json_t *spec = json_object_get(r->body, "spec");
	const char *name = json_get_str(spec, "user", "");
	struct user *u = user_new(name, json_get_str(spec, "uid", ""), NULL);
	size_t i;
	json_t *g;
	json_array_foreach(json_object_get(spec, "groups"), i, g)
	{
		if (json_is_string(g))
			user_add_group(u, json_string_value(g));
	}
	int rc = !*name && u->n_groups == 0 ? fail_review(r, "spec.user",
							  "\"\": at least one of user or group must be "
							  "specified")
					    : answer_access(r, u);
	user_unref(u);
	return rc;
}

static int self_rules(struct request *r)
{
	const char *ns = json_get_str(json_object_get(r->body, "spec"), "namespace", "");
	if (!*ns)
		return fail_bad(r, "no namespace on request");
	json_t *resource = json_array(), *nonresource = json_array();
	rbac_rules_of(r->server->rbac, r->user, ns, resource, nonresource);
	return answer(r, json_make("{s:b, s:o, s:o}", "incomplete", 0, "resourceRules", resource, "nonResourceRules",
				   nonresource));
}

static json_t *user_info(const struct user *u)
{
	json_t *groups = json_array();
	for (size_t i = 0; i < u->n_groups; i++)
		json_array_append_new(groups, json_string(u->groups[i]));
	json_t *info = json_make("{s:s, s:o}", "username", u->name, "groups", groups);
	if (*u->uid)
		json_put_str(info, "uid", u->uid);
	if (u->extra)
		json_object_set(info, "extra", u->extra);
	return info;
}

static int self_subject(struct request *r)
{
	return answer(r, json_make("{s:o}", "userInfo", user_info(r->user)));
}

static void on_token(void *arg, struct user *user, const char *why)
{
	struct request *r = arg;
	if (!request_arrived(r))
		return;
	json_t *status = json_object();
	json_put_bool(status, "authenticated", user != NULL);
	if (user) {
		json_put(status, "user", user_info(user));
		json_t *aud = json_path(r->body, "spec", "audiences", NULL);
		json_put(status, "audiences", aud ? json_incref(aud) : json_make("[s]", SA_ISSUER));
	} else {
		json_put_str(status, "error", why);
	}
	answer(r, status);
	request_resume(r, REQUEST_ANSWER);
}

static int token_review(struct request *r)
{
	const json_t *spec = json_object_get(r->body, "spec");
	const char *token = json_get_str(spec, "token", "");
	if (!*token)
		return fail_bad(r, "token is required for TokenReview in authentication");
	json_t *aud = json_object_get(spec, "audiences");
	request_submitted(r);
	authn_token(r->server, token, json_array_size(aud) ? aud : NULL, on_token, r);
	return REQUEST_WAIT;
}

static int review_decode(struct request *r)
{
	int rc = decode_body(r, r->kind, r->kind->schema);
	json_need_object(r->body ? r->body : (r->body = json_object()), "metadata");
	return rc;
}

static const struct handler self_access_handler = {.decode = review_decode, .change = self_access};
static const struct handler subject_access_handler = {.decode = review_decode, .change = subject_access};
static const struct handler self_rules_handler = {.decode = review_decode, .change = self_rules};
static const struct handler self_subject_handler = {.decode = review_decode, .change = self_subject};
static const struct handler token_review_handler = {.decode = review_decode, .change = token_review};

const struct handler *review_handler(const struct kind *k)
{
	static const struct {
		const char *kind;
		const struct handler *handler;
	} rows[] = {
		{"SelfSubjectAccessReview", &self_access_handler},     {"SubjectAccessReview", &subject_access_handler},
		{"LocalSubjectAccessReview", &subject_access_handler}, {"SelfSubjectRulesReview", &self_rules_handler},
		{"SelfSubjectReview", &self_subject_handler},          {"TokenReview", &token_review_handler},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (streq(rows[i].kind, k->kind))
			return rows[i].handler;
	return NULL;
}
