#include "cli/join.h"

#include <errno.h>
#include <time.h>

#include "apiserver/mini_api.h"
#include "cli/agent.h"
#include "cli/call.h"
#include "cli/rotate.h"
#include "lib/client/join_token.h"
#include "lib/core/file.h"
#include "lib/core/log.h"
#include "lib/net/pki.h"

#define CLOCK_MAX_S 1800 /* certificates are dated back by an hour */
#define TRIES       20
#define RETRY_MS    500
#define PEM_MAX     65536u
#define PROBE_MS    3000u

/* ---- files ---- */

static char *pki_path(const struct join_ctx *c, const char *file)
{
	return xasprintf("%s/pki/%s", c->options->dir, file);
}

static int write_pem(const struct join_ctx *c, const char *file, const char *pem, mode_t mode, struct err *err)
{
	_cleanup_free_ char *path = pki_path(c, file);
	return file_write_atomic(path, pem, strlen(pem), mode, err);
}

static bool have_pem(const struct join_ctx *c, const char *file)
{
	_cleanup_free_ char *path = pki_path(c, file);
	return file_exists(path);
}

static int read_pem(const struct join_ctx *c, const char *file, char **ret, struct err *err)
{
	_cleanup_free_ char *path = pki_path(c, file);
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r = file_read(path, PEM_MAX, &b, err);
	if (r == 0)
		*ret = buf_steal(&b);
	return r;
}

/* The key that stays here, made at most once; and a request for its certificate. */
static int make_csr(const struct join_ctx *c, const char *key_file, char **ret_csr, struct err *err)
{
	const struct pki_request req = {.common_name = "join"};
	_cleanup_free_ char *key = NULL, *dir = xasprintf("%s/pki", c->options->dir);
	int r = mkdir_p(dir, 0700, err);
	if (r < 0)
		return r;
	if (have_pem(c, key_file)) {
		r = read_pem(c, key_file, &key, err);
	} else {
		r = pki_make_key(&key, err);
		if (r == 0)
			r = write_pem(c, key_file, key, 0600, err);
	}
	return r < 0 ? r : pki_make_csr(key, &req, ret_csr, err);
}

/* ---- words ---- */

int join_explain(const char *url, struct err *err)
{
	switch (err->reason) {
	case ERR_UNAUTHORIZED:
		return err_set(
			err, err->code,
			"%s refuses the token: it has expired, was deleted, or is none of this cluster; make another "
			"there with `minid token create`",
			url);
	case ERR_TOO_MANY_REQUESTS:
		return err_prefix(err, "%s", url);
	case ERR_SERVICE_UNAVAILABLE:
	case ERR_TIMEOUT:
		return err_prefix(err, "%s cannot take a member just now; try again when its cluster is well", url);
	case ERR_NONE:
		break;
	default:
		return err_prefix(err, "%s refuses", url);
	}
	if (err->code == -ECANCELED)
		return err->code;
	return err_prefix(err, "%s does not answer as a server of mini (is it the right address, does it run?)", url);
}

int join_check_clock(int64_t own_s, int64_t other_s, struct err *err)
{
	char own[24], other[24];
	int64_t off = own_s - other_s;
	if (off > -CLOCK_MAX_S && off < CLOCK_MAX_S)
		return 0;
	return err_set(
		err, -EINVAL,
		"the clock of this host says %s and the cluster's %s: certificates would not be valid; set the clock "
		"first",
		time_format_s(own_s, own), time_format_s(other_s, other));
}

static int check_ca(const char *url, const char *ca_pem, const struct join_token *token, struct err *err)
{
	uint8_t hash[32];
	int r = pki_cert_key_hash(ca_pem, hash, err);
	if (r < 0)
		return err_prefix(err, "%s", url);
	if (memcmp(hash, token->ca, sizeof(hash)) == 0)
		return 0;
	return err_set(
		err, -EACCES,
		"%s is not of the cluster that the token names (its CA has another key): a wrong address, a token of "
		"another cluster, or somebody in between; nothing was sent",
		url);
}

/* ---- talking to it ---- */

static struct call_to target(const struct join_ctx *c, const char *url)
{
	return (struct call_to){.env = c->env, .loop = c->loop, .stop = c->stop, .url = url};
}

/* A cluster that elects a leader right now says 503, or nothing in time: it is asked again. */
static int call_patiently(const struct call_to *to, const char *method, const char *path, const json_t *body,
			  json_t **ret, struct err *err)
{
	for (int i = 1;; i++) {
		int r = call(to, method, path, body, ret, err);
		bool again = r < 0 && (err->reason == ERR_SERVICE_UNAVAILABLE || err->reason == ERR_TIMEOUT);
		if (!again || i == TRIES)
			return r;
		err_done(err);
		if (call_wait(to, RETRY_MS) < 0)
			return err_set(err, -ECANCELED, "stopped");
	}
}

/* The CA, from whoever answers, believed because of its hash. */
static int fetch_ca(const struct join_ctx *c, const char *url, const struct join_token *token, char **ret_ca,
		    struct err *err)
{
	struct call_to to = target(c, url);
	to.insecure = true;
	_cleanup_json_ json_t *answer = NULL;
	int r = call(&to, "GET", MINI_PATH "ca", NULL, &answer, err);
	if (r < 0)
		return join_explain(url, err);
	const char *ca = json_get_str(answer, "ca", "");
	r = check_ca(url, ca, token, err);
	if (r == 0)
		r = join_check_clock(time(NULL), json_get_int(answer, "time", time(NULL)), err);
	if (r == 0)
		*ret_ca = xstrdup(ca);
	return r;
}

static int check_cert(const char *pem, struct err *err)
{
	struct pki_cert_info info = {0};
	int r = pki_cert_info(pem, &info, err);
	if (r < 0)
		return err_prefix(err, "the certificate that was answered");
	int64_t now = time(NULL);
	if (now < info.not_before_s)
		r = join_check_clock(now, info.not_before_s + 3600, err);
	pki_cert_info_done(&info);
	return r;
}

/* ---- a server ---- */

static json_t *server_request(const struct join_ctx *c, const struct settings *s, const char *csr)
{
	return json_make("{s:s, s:s, s:s, s:s, s:s, s:b, s:s}", "kind", "server", "name", s->name, "peer", c->peer,
			 "api", c->api, "wish", mini_role_text(s->wish), "anyName", c->options->name == NULL, "csr",
			 csr);
}

/* What the cluster decided. */
static int take_server_answer(const struct join_ctx *c, struct settings *s, const json_t *answer, struct err *err)
{
	struct others others = {0};
	if (!mini_id_parse(json_get_str(answer, "cluster", NULL), &s->cluster) ||
	    !mini_id_parse(json_get_str(answer, "member", NULL), &s->member) ||
	    !mini_role_parse(json_get_str(answer, "wish", ""), &s->wish))
		return err_set(err, -EPROTO, "the cluster's answer cannot be read: is it of another version?");
	free(s->name);
	s->name = xstrdup(json_get_str(answer, "name", ""));
	const char *service = json_get_str(answer, "serviceCIDR", NULL),
		   *pods = json_get_str(answer, "clusterCIDR", NULL);
	free(s->service_cidr);
	free(s->cluster_cidr);
	s->service_cidr = service ? xstrdup(service) : NULL;
	s->cluster_cidr = pods ? xstrdup(pods) : NULL;
	s->joining = true;
	others_from_tree(json_object_get(answer, "members"), &others);
	int r = others_write(c->options->dir, others.members, others.n, err);
	others_done(&others);
	return r < 0 ? r : settings_write(c->options->dir, s, err);
}

/* Not over another cluster's state. 1: it is of this one already. */
static int check_dir(const struct join_ctx *c, const struct settings *s, const char *ca, struct err *err)
{
	const char *dir = c->options->dir;
	_cleanup_free_ char *store = xasprintf("%s/store", dir), *own = NULL;
	uint8_t a[32], b[32];
	bool known = have_pem(c, "ca.crt") && read_pem(c, "ca.crt", &own, NULL) == 0;
	bool same = known && pki_cert_key_hash(own, a, NULL) == 0 && pki_cert_key_hash(ca, b, NULL) == 0 &&
		    memcmp(a, b, 32) == 0;
	if (same && s->member && !s->joining)
		return 1;
	if (known ? !same : file_exists(store))
		return err_set(
			err, -EEXIST,
			"%s has the state of another cluster: choose another directory with --dir, or forget that "
			"state with `minid server --dir %s --reset`",
			dir, dir);
	return 0;
}

/* It has joined long ago, so nobody needs to be asked. But where a snapshot was restored since, the same CA is another
 * cluster's, and whoever is told to join that one is not to look for the old one for ever. */
static int check_cluster(const struct join_ctx *c, const struct settings *s, struct err *err)
{
	const char *dir = c->options->dir;
	struct call_to to = target(c, c->options->join);
	_cleanup_free_ char *ca = NULL;
	_cleanup_json_ json_t *answer = NULL;
	uint64_t there = 0;
	if (read_pem(c, "ca.crt", &ca, NULL) < 0)
		return 0;
	to.ca_pem = ca;
	to.timeout_ms = PROBE_MS;
	if (call(&to, "GET", MINI_PATH "ca", NULL, &answer, NULL) < 0)
		return to.stop && *to.stop ? err_set(err, -ECANCELED, "stopped") : 0;
	if (!mini_id_parse(json_get_str(answer, "cluster", NULL), &there) || there == s->cluster || !s->cluster)
		return 0;
	return err_set(
		err, -EEXIST,
		"%s is of the cluster as it was before a snapshot was restored: %s is a server of the one that began with "
		"it. To join that, forget what is here (minid server --dir %s --reset), then give the same command again",
		dir, c->options->join, dir);
}

int join_server(const struct join_ctx *c, struct settings *s, struct err *err)
{
	struct join_token token;
	const char *url = c->options->join;
	_cleanup_free_ char *ca = NULL, *csr = NULL, *bearer = NULL;
	_cleanup_json_ json_t *body = NULL, *answer = NULL;
	if (!c->options->token && s->member)
		return check_cluster(c, s, err);
	if (!c->options->token)
		return err_set(err, -EINVAL,
			       "--join needs --token: make one with `minid token create` at a server there");
	int r = join_token_parse(c->options->token, &token, err);
	if (r == 0 && s->member && !s->joining && have_pem(c, "ca.crt") && read_pem(c, "ca.crt", &ca, err) == 0 &&
	    check_ca(url, ca, &token, NULL) == 0)
		return check_cluster(c, s, err); /* the token is not needed any more */
	free(STEAL(ca));
	if (r == 0)
		r = fetch_ca(c, url, &token, &ca, err);
	if (r == 0)
		r = check_dir(c, s, ca, err);
	if (r != 0)
		return MIN(r, 0);
	log_info("join", "asking server=%s name=%s wish=%s", url, s->name, mini_role_text(s->wish));
	r = make_csr(c, "server.key", &csr, err);
	if (r < 0)
		return r;
	bearer = xasprintf("%s.%s", token.id, token.secret);
	body = server_request(c, s, csr);
	struct call_to to = target(c, url);
	to.ca_pem = ca;
	to.bearer = bearer;
	if (call_patiently(&to, "POST", MINI_PATH "join", body, &answer, err) < 0)
		return join_explain(url, err);
	const char *cert = json_get_str(answer, "certificate", "");
	r = check_cert(cert, err);
	if (r == 0)
		r = write_pem(c, "ca.crt", ca, 0644, err);
	if (r == 0)
		r = write_pem(c, "server.crt", cert, 0644, err);
	return r < 0 ? r : take_server_answer(c, s, answer, err);
}

/* ---- the cluster's keys ---- */

/* This server's own certificate. */
struct own_cert {
	char *ca, *cert, *key;
};

static int read_own(const struct join_ctx *c, struct own_cert *ret, struct err *err)
{
	int r = read_pem(c, "ca.crt", &ret->ca, err);
	if (r == 0)
		r = read_pem(c, "server.crt", &ret->cert, err);
	return r < 0 ? r : read_pem(c, "server.key", &ret->key, err);
}

static void own_done(struct own_cert *own)
{
	free(own->ca);
	free(own->cert);
	free(own->key);
}

static struct call_to as_server(const struct join_ctx *c, const struct own_cert *own, const char *url)
{
	struct call_to to = target(c, url);
	to.ca_pem = own->ca;
	to.cert_pem = own->cert;
	to.key_pem = own->key;
	return to;
}

static int explain_as_server(const char *url, struct err *err)
{
	if (err->reason != ERR_UNAUTHORIZED)
		return join_explain(url, err);
	return err_set(err, err->code,
		       "%s does not take this server's certificate: it has expired, or a clock is wrong", url);
}

static int fetch_keys(const struct join_ctx *c, const char *url, struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	struct own_cert own = {0};
	int r = read_own(c, &own, err);
	struct call_to to = as_server(c, &own, url);
	if (r == 0 && call_patiently(&to, "GET", MINI_PATH "keys", NULL, &answer, err) < 0)
		r = explain_as_server(url, err);
	own_done(&own);
	if (r < 0)
		return r;
	const char *sa = json_get_str(answer, "serviceAccountKey", ""), *ca_key = json_get_str(answer, "caKey", "");
	if (!*sa || !*ca_key)
		return err_set(err, -EPROTO, "%s answered without the cluster's keys", url);
	/* the CA's key last: where it is, all is there */
	r = write_pem(c, "sa.key", sa, 0600, err);
	return r < 0 ? r : write_pem(c, "ca.key", ca_key, 0600, err);
}

/* The first one that answers; -ENOENT, and err as it was: nobody is known. */
static int fetch_from_others(const struct join_ctx *c, const struct settings *s, struct err *err)
{
	struct others others = {0};
	int r = others_read(c->options->dir, &others, err);
	if (r < 0)
		return r;
	r = -ENOENT;
	for (size_t i = 0; r < 0 && r != -ECANCELED && i < others.n; i++) {
		if (others.members[i].id == s->member || !*others.members[i].api)
			continue;
		err_done(err);
		r = fetch_keys(c, others.members[i].api, err);
	}
	others_done(&others);
	return r;
}

/* A first start that ended early may have left the key of a CA that never was. */
static bool have_ca_key(const struct join_ctx *c)
{
	_cleanup_free_ char *ca = NULL, *key = NULL;
	uint8_t a[32], b[32];
	bool same = have_pem(c, "ca.key") && read_pem(c, "ca.key", &key, NULL) == 0 &&
		    read_pem(c, "ca.crt", &ca, NULL) == 0 && pki_cert_key_hash(ca, a, NULL) == 0 &&
		    pki_key_hash(key, b, NULL) == 0 && memcmp(a, b, sizeof(a)) == 0;
	if (key)
		explicit_bzero(key, strlen(key));
	return same;
}

int join_finish(const struct join_ctx *c, const struct settings *s, struct err *err)
{
	if (have_ca_key(c) || s->wish == STORE_ROLE_WITNESS)
		return 0;
	int r = c->options->join ? fetch_keys(c, c->options->join, err) : -ENOENT;
	if (r < 0 && r != -ECANCELED)
		r = fetch_from_others(c, s, err);
	if (r < 0 && err && !err->code)
		return err_set(
			err, r,
			"the cluster's keys are not in %s, and no server to ask for them is known: start with --join and "
			"--token",
			c->options->dir);
	return r;
}

/* ---- a server that lost its state ---- */

bool join_has_others(const struct settings *s, const struct others *others)
{
	for (size_t i = 0; s->member && i < others->n; i++)
		if (others->members[i].id != s->member && *others->members[i].api)
			return true;
	return false;
}

static int rename_pem(const struct join_ctx *c, const char *from, const char *to, struct err *err)
{
	_cleanup_free_ char *a = pki_path(c, from), *b = pki_path(c, to);
	return rename(a, b) < 0 ? err_errno(err, "rename %s", a) : 0;
}

/* Later it may go better: nobody answered, or whoever did has no leader just now. */
static bool may_pass(const struct err *err)
{
	switch (err->reason) {
	case ERR_NONE:
	case ERR_SERVICE_UNAVAILABLE:
	case ERR_TIMEOUT:
	case ERR_TOO_MANY_REQUESTS:
	case ERR_INTERNAL_ERROR:
		return err->code != -ECANCELED;
	default:
		return false;
	}
}

/* Each of them once; what the first one says that is final counts. */
static int ask_for_replacement(const struct join_ctx *c, const struct settings *s, const struct others *others,
			       const json_t *body, json_t **ret, struct err *err)
{
	struct own_cert own = {0};
	int r = read_own(c, &own, err);
	bool again = r == 0;
	if (r == 0)
		r = err_set(err, -ENOENT, "no other server is known");
	for (size_t i = 0; r < 0 && again && i < others->n; i++) {
		const char *url = others->members[i].api;
		if (others->members[i].id == s->member || !*url)
			continue;
		err_done(err);
		struct call_to to = as_server(c, &own, url);
		r = call(&to, "POST", MINI_PATH "replace", body, ret, err);
		again = r < 0 && may_pass(err);
		if (r < 0)
			r = explain_as_server(url, err);
	}
	own_done(&own);
	if (r < 0 && again)
		r = err->code = -EAGAIN;
	return r;
}

int join_again(const struct join_ctx *c, struct settings *s, const struct others *others, struct err *err)
{
	_cleanup_free_ char *csr = NULL;
	_cleanup_json_ json_t *body = NULL, *answer = NULL;
	uint64_t old = s->member;
	int r = make_csr(c, "server-next.key", &csr, err);
	if (r < 0)
		return r;
	body = server_request(c, s, csr);
	r = ask_for_replacement(c, s, others, body, &answer, err);
	if (r < 0)
		return r;
	r = take_server_answer(c, s, answer, err);
	if (r == 0)
		r = rename_pem(c, "server-next.key", "server.key", err);
	if (r == 0)
		r = write_pem(c, "server.crt", json_get_str(answer, "certificate", ""), 0644, err);
	if (r == 0)
		log_warn("join", "back as another member id=%016llx in place of=%016llx", (unsigned long long)s->member,
			 (unsigned long long)old);
	return r;
}

/* ---- a node ---- */

static int write_agent_settings(const struct join_ctx *c, const char *node_name, const json_t *answer, struct err *err)
{
	const char *ip = c->options->node_ip;
	struct agent_settings s = {.node_name = xstrdup(node_name), .node_ip = ip ? xstrdup(ip) : NULL};
	agent_settings_take(&s, c->options->join, answer);
	int r = agent_settings_write(c->options->dir, &s, err);
	agent_settings_done(&s);
	return r;
}

static int agent_request(const struct join_ctx *c, const char *name, const char *ip, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *body = json_make("{s:s, s:s, s:s}", "kind", "agent", "name", name, "nodeIP", ip);
	for (const struct rotate_file *f = rotate_node; f->file; f++) {
		_cleanup_free_ char *csr = NULL, *file = xasprintf("%s.key", f->file);
		int r = make_csr(c, file, &csr, err);
		if (r < 0)
			return r;
		json_put_str(body, f->csr, csr);
	}
	*ret = STEAL(body);
	return 0;
}

static int write_agent(const struct join_ctx *c, const char *node_name, const char *ca, const json_t *answer,
		       struct err *err)
{
	int r = 0;
	for (const struct rotate_file *f = rotate_node; r == 0 && f->file; f++) {
		_cleanup_free_ char *file = xasprintf("%s.crt", f->file);
		const char *cert = json_get_str(answer, f->cert, "");
		r = check_cert(cert, err);
		if (r == 0)
			r = write_pem(c, file, cert, 0644, err);
	}
	if (r == 0)
		r = write_agent_settings(c, node_name, answer, err);
	/* the CA last: where it is, all is there */
	return r < 0 ? r : write_pem(c, "ca.crt", ca, 0644, err);
}

/* One of a node's certificates is missing, of another name, or in the last third of its life. */
static bool certs_due(const struct join_ctx *c, const char *node_name)
{
	_cleanup_free_ char *user = xasprintf("system:node:%s", node_name);
	bool due = false;
	for (const struct rotate_file *f = rotate_node; f->file; f++) {
		_cleanup_free_ char *file = xasprintf("%s.crt", f->file), *pem = NULL;
		struct pki_cert_info info = {0};
		const char *name = streq(f->file, "kube-proxy") ? "system:kube-proxy" : user;
		due |= read_pem(c, file, &pem, NULL) < 0 || pki_cert_info(pem, &info, NULL) < 0 ||
		       !streq(info.common_name, name) || pki_due(&info, time(NULL));
		pki_cert_info_done(&info);
	}
	return due;
}

int join_agent(const struct join_ctx *c, const char *node_name, const char *node_ip, struct err *err)
{
	struct join_token token;
	const char *url = c->options->join;
	_cleanup_free_ char *ca = NULL, *own = NULL, *bearer = NULL;
	_cleanup_json_ json_t *body = NULL, *answer = NULL;
	bool joined = have_pem(c, "ca.crt");
	if (!c->options->token && joined)
		return 0;
	if (!c->options->token)
		return err_set(
			err, -EINVAL,
			"--join needs --token: make one with `minid token create --role agent` at a server there");
	int r = join_token_parse(c->options->token, &token, err);
	if (r == 0 && joined)
		r = read_pem(c, "ca.crt", &own, err);
	if (r < 0)
		return r;
	bool same = own && check_ca(url, own, &token, NULL) == 0;
	if (same && (have_pem(c, "ca.key") || !certs_due(c, node_name)))
		return 0;
	if (own && !same)
		return err_set(err, -EEXIST, "%s is a node of another cluster: choose another directory with --dir",
			       c->options->dir);
	r = fetch_ca(c, url, &token, &ca, err);
	if (r == 0)
		r = agent_request(c, node_name, node_ip, &body, err);
	if (r < 0)
		return r;
	bearer = xasprintf("%s.%s", token.id, token.secret);
	struct call_to to = target(c, url);
	to.ca_pem = ca;
	to.bearer = bearer;
	if (call_patiently(&to, "POST", MINI_PATH "join", body, &answer, err) < 0)
		return join_explain(url, err);
	return write_agent(c, node_name, ca, answer, err);
}
