#include "cli/member.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/call.h"
#include "cli/certs.h"
#include "cli/external.h"
#include "cli/renew.h"
#include "cli/witness.h"
#include "lib/core/file.h"
#include "lib/core/log.h"
#include "store/peer_tls.h"

#define FOLLOW_US    (1ull * 1000000) /* how often the list of members is looked at */
#define NAME_MS      1000u
#define NAME_STEP_MS 20u
#define POLL_MS      100
#define PROGRESS_MS  1000
#define ASK_MS       2000  /* between two tries to be taken in again */
#define REMIND_MS    60000 /* what to do is said so often */

struct member {
	struct member_config config;
	struct settings settings;
	struct store *store;
	struct peer_tls *peers;
	struct renew *renew; /* of the certificate towards them */
	struct witness witness;
	char host[256], peer_host[256];
	char *api, *peer; /* addresses for others */
	uint64_t seen;    /* hash of the members as last written */
	bool asking;      /* store_members under way */
	bool told;        /* that it was removed */
	struct env_timer follow;
	void (*closed)(void *arg);
	void *closed_arg;
};

const struct settings *member_settings(const struct member *m)
{
	return &m->settings;
}

struct store *member_store(struct member *m)
{
	return m->store;
}

const char *member_host(const struct member *m)
{
	return m->host;
}

bool member_is_witness(const struct member *m)
{
	return m->settings.wish == STORE_ROLE_WITNESS;
}

bool member_is_alone(const struct member *m)
{
	return !m->peers || peer_tls_port(m->peers) == 0;
}

static const char *dir_of(const struct member *m)
{
	return m->config.join.options->dir;
}

static struct call_to waiter(const struct member *m)
{
	return (struct call_to){.env = m->config.join.env, .loop = m->config.join.loop, .stop = m->config.join.stop};
}

/* ---- before the store ---- */

static void make_addresses(struct member *m)
{
	const struct settings *s = &m->settings;
	const struct options *o = m->config.join.options;
	settings_address(s, o, s->listen, m->host);
	settings_address(s, o, s->peer_listen, m->peer_host);
	if (m->config.alone)
		return;
	_cleanup_free_ char *api = settings_join_address(m->host, s->port);
	m->api = member_is_witness(m) ? xstrdup("") : xasprintf("https://%s", api);
	m->peer = settings_join_address(m->peer_host, s->peer_port);
	m->config.join.api = m->api;
	m->config.join.peer = m->peer;
}

/* A demo speaks to no other server: what takes their votes would stand still. */
static int check_alone(const struct member *m, struct err *err)
{
	struct others others = {0};
	int r = m->config.alone ? others_read(dir_of(m), &others, err) : 0;
	if (r == 0 && m->config.alone && join_has_others(&m->settings, &others))
		r = err_set(
			err, -EINVAL,
			"%s is a server's among others, and a demo is a cluster of its own: start it with `minid server "
			"--dir %s`, or choose another directory with --dir",
			dir_of(m), dir_of(m));
	others_done(&others);
	return r;
}

static int come_in(struct member *m, struct err *err)
{
	const struct options *o = m->config.join.options;
	int r = check_alone(m, err);
	if (r < 0)
		return r;
	if (m->config.alone && o->join)
		return err_set(err, -EINVAL, "a demo is a cluster of its own: `minid server --join` joins another");
	r = o->join ? join_server(&m->config.join, &m->settings, err) : 0;
	if (r < 0 || !m->settings.member || m->config.alone)
		return r;
	return join_finish(&m->config.join, &m->settings, err);
}

static void member_free(struct member *m)
{
	settings_done(&m->settings);
	free(m->api);
	free(m->peer);
	free(m);
}

int member_new(const struct member_config *config, struct member **ret, struct err *err)
{
	struct member *m = NEW(struct member);
	m->config = *config;
	int r = settings_read(dir_of(m), &m->settings, err);
	if (r == 0) {
		settings_apply(&m->settings, config->join.options, config->host_name);
		make_addresses(m);
		r = others_move(dir_of(m), &m->settings, config->join.options, err);
	}
	if (r == 0)
		r = come_in(m, err);
	if (r < 0)
		member_free(m);
	else
		*ret = m;
	return r;
}

/* ---- the store ---- */

static int try_open(struct member *m, struct err *err)
{
	const struct options *o = m->config.join.options;
	const struct settings *s = &m->settings;
	struct store_config sc = {.dir = o->dir,
				  .history_us = s->history_us,
				  .history_bytes = s->history_bytes,
				  .history_disk_bytes = s->history_disk_bytes,
				  .cluster = s->cluster,
				  .member = s->member,
				  .join = s->joining,
				  .has_log = s->member && !s->joining,
				  .peer = m->peers ? peer_tls_peer(m->peers) : NULL,
				  .name = s->name,
				  .peer_address = m->peer,
				  .api_address = m->api};
	return store_open(m->config.join.env, &sc, &m->store, err);
}

static bool store_is_there(const struct member *m)
{
	_cleanup_free_ char *path = xasprintf("%s/store", dir_of(m));
	return file_exists(path);
}

static bool log_is_there(const struct member *m)
{
	_cleanup_free_ char *path = xasprintf("%s/store/log", dir_of(m));
	DIR *d = opendir(path);
	bool found = false;
	for (struct dirent *e; d && !found && (e = readdir(d));)
		found = str_ends(e->d_name, ".log");
	if (d)
		closedir(d);
	return found;
}

static int move_aside(const struct member *m, struct err *err)
{
	_cleanup_free_ char *from = xasprintf("%s/store", dir_of(m));
	_cleanup_free_ char *to = xasprintf("%s/store.damaged-%lld", dir_of(m), (long long)time(NULL));
	if (!file_exists(from))
		return 0;
	if (rename(from, to) < 0)
		return err_errno(err, "rename %s to %s", from, to);
	log_warn("member", "damaged store kept for whoever wants to look path=%s", to);
	return 0;
}

/* The store is lost, and nobody takes this server in: said to the log at once, when the reason changes, and every so
 * often. */
static void say_waiting(const struct member *m, const struct err *why, char **said, uint64_t *said_ms)
{
	uint64_t now = uv_hrtime() / 1000000;
	_cleanup_free_ char *text =
		xasprintf("its store is lost, and no other server takes it in yet: %s", why->message);
	if (m->config.waits)
		m->config.waits(m->config.arg, text);
	if (*said && streq(*said, text) && now - *said_ms < REMIND_MS)
		return;
	free(*said);
	*said = STEAL(text);
	*said_ms = now;
	log_warn(
		"member",
		"waiting: %s. It tries again by itself: start the others, until a majority of the voters is up. If those "
		"are lost for good, restore a snapshot: minictl snapshot restore FILE --dir %s",
		*said, dir_of(m));
}

static int ask_again(struct member *m, struct err *err)
{
	struct call_to w = waiter(m);
	_cleanup_free_ char *said = NULL;
	uint64_t said_ms = 0;
	struct others others = {0};
	int r = others_read(dir_of(m), &others, err);
	while (r == 0) {
		r = join_again(&m->config.join, &m->settings, &others, err);
		if (r != -EAGAIN)
			break;
		say_waiting(m, err, &said, &said_ms);
		err_done(err);
		r = call_wait(&w, ASK_MS);
		if (r < 0)
			err_set(err, r, "stopped while it waited for a server that takes it in");
	}
	others_done(&others);
	return r;
}

/* The others know what this one has lost: it comes back as a member of another id. */
static int come_back(struct member *m, struct err *err)
{
	int r = move_aside(m, err);
	if (r == 0)
		r = ask_again(m, err);
	return r < 0 ? r : try_open(m, err);
}

/* What minictl snapshot restore has left: this server begins a cluster of its own with it. The ids of the old one are
 * forgotten first, so that a crash in between finds either nothing done or all of it. */
static int restore(struct member *m, struct err *err)
{
	_cleanup_free_ char *file = xasprintf("%s/restore.snapshot", dir_of(m));
	struct settings *s = &m->settings;
	if (!file_exists(file))
		return 0;
	log_warn("member", "restoring file=%s", file);
	s->cluster = s->member = 0;
	s->joining = false;
	s->wish = STORE_ROLE_VOTER;
	int r = settings_write(dir_of(m), s, err);
	if (r == 0)
		r = others_write(dir_of(m), NULL, 0, err);
	if (r == 0)
		r = store_restore(m->config.join.env, NULL, dir_of(m), file, err);
	if (r == -EEXIST && err)
		err_done(err); /* done before a crash */
	if (r < 0 && r != -EEXIST)
		return r;
	return unlink(file) < 0 ? err_errno(err, "remove %s", file) : 0;
}

/* Nobody else has its content. */
static int say_restore(const struct member *m, struct err *err)
{
	_cleanup_free_ char *what = xstrdup(err->message);
	const char *dir = dir_of(m);
	return err_set(err, -EUCLEAN,
		       "%s. That is: move %s/store away, then minictl snapshot restore FILE --dir %s, and start again; "
		       "without a snapshot, --reset --dir %s forgets all there was",
		       what, dir, dir, dir);
}

static int open_store(struct member *m, struct err *err)
{
	struct others others = {0};
	int r = restore(m, err);
	if (r == 0)
		r = others_read(dir_of(m), &others, err);
	if (r < 0)
		return r;
	bool others_known = join_has_others(&m->settings, &others);
	others_done(&others);
	/* The state alone knows neither the last entries nor the last vote, maybe not even that there are others. */
	if (others_known && !m->settings.joining && (!store_is_there(m) || !log_is_there(m))) {
		log_warn("member", "the store is gone, the other servers have its content dir=%s", dir_of(m));
		return come_back(m, err);
	}
	/* An empty store under the old id would have forgotten what it voted for and acknowledged. */
	if (m->settings.member && !m->settings.joining && !store_is_there(m))
		return err_set(
			err, -EUCLEAN,
			"the store of this server, %s/store, is gone, and where the other servers are is not known: restore a "
			"snapshot (minictl snapshot restore FILE --dir %s), or forget this server (minid server --dir %s "
			"--reset) and join with a token",
			dir_of(m), dir_of(m), dir_of(m));
	r = try_open(m, err);
	if (r == -EUCLEAN && !others_known)
		return say_restore(m, err);
	if (r != -EUCLEAN)
		return r;
	log_error("member", "the store is damaged, the other servers have its content: %s", err ? err->message : "");
	err_done(err);
	return come_back(m, err);
}

/* ---- what the cluster knows, as a plain call ---- */

struct asked {
	bool done;
	struct err err;
	uint64_t cluster, self;
	struct store_member me;
	bool known, member; /* of a configuration at all; this one of it */
	uint64_t commit, applied;
};

static void on_asked(void *arg, const struct err *err, const struct store_members *ms)
{
	struct asked *a = arg;
	a->done = true;
	if (err && err->code) {
		err_copy(&a->err, err);
		return;
	}
	a->cluster = ms->cluster;
	a->self = ms->self;
	a->commit = ms->commit;
	a->applied = ms->applied;
	a->known = ms->n > 0;
	for (size_t i = 0; i < ms->n; i++) {
		if (ms->members[i].id != ms->self)
			continue;
		a->me = ms->members[i];
		a->member = a->me.wish != STORE_ROLE_NONE || a->me.role != STORE_ROLE_NONE;
	}
}

/* The callback always comes: the store answers what it knows. */
static int ask(struct member *m, struct asked *ret, struct err *err)
{
	*ret = (struct asked){0};
	store_members(m->store, true, on_asked, ret);
	while (!ret->done)
		uv_run(m->config.join.loop, UV_RUN_ONCE);
	return ret->err.code ? err_move(err, &ret->err) : 0;
}

static int removed(const struct member *m, struct err *err)
{
	return err_set(
		err, -ENOTCONN,
		"this server was removed from its cluster: to come back as a new one, forget its state (minid server "
		"--dir %s --reset) and join with a token",
		dir_of(m));
}

/* ---- peers ---- */

static void on_renewed(void *arg, const struct pki_pair *now)
{
	struct member *m = arg;
	_cleanup_err_ struct err err = ERR_INIT;
	const struct pki_pair *own = &now[RENEWED_MEMBER];
	if (peer_tls_set_cert(m->peers, own->cert_pem, own->key_pem, now[RENEWED_MEMBER_CA].cert_pem, &err) < 0)
		log_error("minid", "the new certificate towards the other servers is not in use: %s", err.message);
	else if (m->witness.client && client_http_set_cert(m->witness.client, own->cert_pem, own->key_pem, &err) < 0)
		log_error("minid", "the new certificate is not in use: %s", err.message);
	else
		log_info("member", "the certificate towards the other servers is new");
}

/* Renewed here, where the CA's key is; else by another server. */
static void start_renewing(struct member *m, const char *name, const struct pki_pair *own, const struct pki_pair *ca)
{
	const struct join_ctx *j = &m->config.join;
	const struct pki_pair pairs[] = {*own, *ca};
	_cleanup_err_ struct err err = ERR_INIT;
	if (m->renew)
		return;
	if (member_is_witness(m) && witness_open(j->env, j->loop, dir_of(m), own, ca->cert_pem, &m->witness, &err) < 0)
		log_warn("member", "nobody is known to ask for a new certificate: %s", err.message);
	m->renew = renew_member(j->env, dir_of(m), name, pairs, m->witness.client, on_renewed, m);
}

static int start_peers(struct member *m, struct err *err)
{
	struct pki_pair ca = {0}, own = {0};
	struct settings *s = &m->settings;
	char name[PEER_TLS_NAME_MAX];
	peer_tls_name(s->member, name);
	int r = certs_member(dir_of(m), name, &ca, &own, err);
	_cleanup_free_ char *listen = settings_join_address(s->peer_listen ? s->peer_listen : "0.0.0.0", s->peer_port);
	struct peer_tls_config pc = {.cert_pem = own.cert_pem,
				     .key_pem = own.key_pem,
				     .ca_pem = ca.cert_pem,
				     .cluster = s->cluster,
				     .member = s->member,
				     .advertise = m->peer,
				     .listen = listen};
	if (r == 0)
		r = peer_tls_start(m->peers, &pc, err);
	if (r == -EADDRINUSE)
		err_set(err, r,
			"%s, where the other servers are to find this one, is taken by another program: choose another with "
			"--peer-listen",
			listen);
	if (r == 0)
		start_renewing(m, name, &own, &ca);
	pki_pair_done(&ca);
	pki_pair_done(&own);
	return r;
}

/* Right after it joined, what it knows of the others may stand in its log alone, and not be known to be committed. */
static void hint_peers(struct member *m)
{
	struct others others = {0};
	(void)others_read(dir_of(m), &others, NULL);
	for (size_t i = 0; i < others.n; i++)
		peer_tls_hint(m->peers, others.members[i].id, others.members[i].peer);
	others_done(&others);
}

/* ---- catching up ---- */

static void say_progress(const struct member *m, const struct asked *a, uint64_t *said_ms)
{
	uint64_t now = uv_hrtime() / 1000000;
	if (*said_ms && now - *said_ms < PROGRESS_MS)
		return;
	*said_ms = now;
	_cleanup_free_ char *text =
		!a->known ? xstrdup("waiting for the cluster's leader")
		: a->applied < a->commit
			? xasprintf("has %llu of %llu entries", (unsigned long long)a->applied,
				    (unsigned long long)a->commit)
			: xasprintf("has all %llu entries, is to become a member", (unsigned long long)a->applied);
	printf("joining: %s\n", text);
	fflush(stdout);
	_cleanup_free_ char *reason = xasprintf("it joins: %s", text);
	if (m->config.waits)
		m->config.waits(m->config.arg, reason);
}

static int catch_up(struct member *m, struct err *err)
{
	struct asked a;
	uint64_t said_ms = 0, enough = 0;
	struct call_to w = waiter(m);
	for (;;) {
		int r = ask(m, &a, err);
		if (r < 0)
			return r;
		/* Its role counts as soon as its log says so; what it is to be stands before that, but is known only once
		 * it was applied. */
		if (!enough && a.known && a.member)
			enough = MAX(a.commit, (uint64_t)1);
		bool all = enough && a.applied >= enough;
		if (all && a.me.role == a.me.wish && a.me.role != STORE_ROLE_NONE)
			break;
		if (all && a.member && a.me.wish == STORE_ROLE_NONE)
			return removed(m, err);
		say_progress(m, &a, &said_ms);
		if (call_wait(&w, POLL_MS) < 0)
			return err_set(err, -ECANCELED, "stopped while it joined; the next start goes on");
	}
	m->settings.joining = false;
	m->settings.wish = a.me.wish;
	log_info("member", "joined name=%s id=%016llx role=%s", m->settings.name, (unsigned long long)a.self,
		 a.me.role == STORE_ROLE_VOTER     ? "voter"
		 : a.me.role == STORE_ROLE_LEARNER ? "learner"
						   : "witness");
	return settings_write(dir_of(m), &m->settings, err);
}

/* ---- following the list of members ---- */

static uint64_t hash_members(const struct store_members *ms)
{
	uint64_t h = ms->n;
	for (size_t i = 0; i < ms->n; i++) {
		const struct store_member *x = &ms->members[i];
		h = h * 31 + x->id;
		h = h * 31 + (uint64_t)x->wish;
		h = h * 31 + hash64(x->name, strlen(x->name));
		h = h * 31 + hash64(x->api, strlen(x->api));
		h = h * 31 + hash64(x->peer, strlen(x->peer));
	}
	return h ? h : 1;
}

static void tell_removed(struct member *m)
{
	struct err err = ERR_INIT;
	if (m->told || !m->config.removed)
		return;
	m->told = true;
	removed(m, &err);
	m->config.removed(m->config.arg, &err);
	err_done(&err);
}

static void on_followed(void *arg, const struct err *err, const struct store_members *ms)
{
	struct member *m = arg;
	struct err e = ERR_INIT;
	m->asking = false;
	if (m->closed || (err && err->code))
		return;
	env_timer_start(m->config.join.env, &m->follow, FOLLOW_US);
	bool me = false;
	for (size_t i = 0; i < ms->n; i++)
		me |= ms->members[i].id == ms->self && ms->members[i].wish != STORE_ROLE_NONE;
	if (ms->n && !me) {
		tell_removed(m);
		return;
	}
	/* Before it has caught up with a leader, what it believes may be older than what stands there. */
	uint64_t h = hash_members(ms);
	if (h == m->seen || !ms->leader || ms->applied < ms->commit)
		return;
	witness_follow(&m->witness, ms->members, ms->n);
	if (others_write(dir_of(m), ms->members, ms->n, &e) < 0)
		log_error("member", "the list of servers could not be written: %s", e.message);
	else
		m->seen = h;
	err_done(&e);
}

static void on_follow(struct env_timer *t)
{
	struct member *m = CONTAINER_OF(t, struct member, follow);
	m->asking = true;
	store_members(m->store, true, on_followed, m);
}

/* ---- open and close ---- */

static bool is_alone(const struct store_members *ms)
{
	return ms->n <= 1;
}

static void on_count(void *arg, const struct err *err, const struct store_members *ms)
{
	int *n = arg;
	*n = (err && err->code) || is_alone(ms) ? 1 : 2;
}

/* Who is alone and was not told where to listen for others does without, where that port is taken. */
static bool may_do_without(struct member *m)
{
	int n = 0;
	store_members(m->store, true, on_count, &n);
	while (n == 0)
		uv_run(m->config.join.loop, UV_RUN_ONCE);
	return n == 1 && !m->settings.joining && !m->config.join.options->peer_given;
}

static int open_peers(struct member *m, struct err *err)
{
	struct err e = ERR_INIT;
	int r = start_peers(m, &e);
	if (r == -EADDRINUSE && may_do_without(m)) {
		log_warn("member", "no other server can join this one: %s", e.message);
		err_done(&e);
		return 0;
	}
	return r < 0 ? err_move(err, &e) : 0;
}

static int open_external(struct member *m, struct err *err)
{
	const struct join_ctx *j = &m->config.join;
	int r = external_open(j->env, j->loop, &m->settings, j->options, &m->store, err);
	return r < 0 ? r : settings_write(dir_of(m), &m->settings, err);
}

/* The first start of a cluster: its list of members is not without names once it answers. */
static void await_name(struct member *m)
{
	struct asked a;
	struct call_to w = waiter(m);
	for (unsigned waited_ms = 0; waited_ms < NAME_MS; waited_ms += NAME_STEP_MS) {
		if (ask(m, &a, NULL) < 0 || *a.me.name || call_wait(&w, NAME_STEP_MS) < 0)
			return;
	}
}

int member_open(struct member *m, struct err *err)
{
	if (external_wanted(&m->settings))
		return open_external(m, err);
	struct asked a = {0};
	if (!m->config.alone)
		m->peers = peer_tls_new(m->config.join.env, m->config.join.loop);
	int r = open_store(m, err);
	if (r == 0)
		r = ask(m, &a, err);
	if (r < 0)
		return r;
	if (m->config.alone)
		return 0;
	bool first = !m->settings.member;
	m->settings.cluster = a.cluster;
	m->settings.member = a.self;
	if (a.known && !a.member && !m->settings.joining)
		return removed(m, err);
	r = settings_write(dir_of(m), &m->settings, err);
	if (r == 0) {
		hint_peers(m);
		r = open_peers(m, err);
	}
	if (r == 0 && m->settings.joining)
		r = catch_up(m, err);
	if (r < 0)
		return r;
	if (first)
		await_name(m);
	m->follow.fn = on_follow;
	env_timer_start(m->config.join.env, &m->follow, 0);
	return 0;
}

static void on_peers_closed(void *arg)
{
	struct member *m = arg;
	void (*done)(void *) = m->closed;
	void *done_arg = m->closed_arg;
	member_free(m);
	done(done_arg);
}

static void on_store_closed(void *arg)
{
	struct member *m = arg;
	if (m->peers)
		peer_tls_close(m->peers, on_peers_closed, m);
	else
		on_peers_closed(m);
}

void member_close(struct member *m, void (*done)(void *arg), void *arg)
{
	m->closed = done;
	m->closed_arg = arg;
	env_timer_stop(m->config.join.env, &m->follow);
	renew_free(STEAL(m->renew));
	witness_close(&m->witness);
	if (m->store)
		m->store->engine->close(m->store, on_store_closed, m);
	else
		on_store_closed(m);
}
