#include <errno.h>
#include <stdarg.h>

#include "lib/client/reconciler.h"
#include "lib/core/utf8.h"

/* Source: upstream's record/events_cache.go for the figures: 4096 entries, 25 at once, one more every 5 minutes. */
#define RECORDER_MAGIC    0xe7e47001u
#define KNOWN_MAX         4096
#define IN_FLIGHT_MAX     1000
#define BURST             25
#define REFILL_US         300000000ull
#define EVENT_MESSAGE_MAX 1024

/* One Event object that this process has made, by what it says. */
struct known_event {
	struct event_recorder *rec;
	char *key;
	char *ns, *name;
	json_t *body;
	int count;
	int64_t last_s;
	bool created, dirty;
	struct client_call *call;
	struct list lru;
};

struct event_bucket {
	char *key;
	double tokens;
	uint64_t at_us;
	struct list lru;
};

struct event_recorder {
	uint32_t magic;
	struct client *client;
	char *component, *host;
	struct map known;   /* known_event by key */
	struct map buckets; /* event_bucket by object */
	struct list known_lru, bucket_lru;
	unsigned n_in_flight;
	unsigned next_name; /* begins anywhere, so that recorders beside each other do not meet */
};

static void known__send(struct known_event *k);

struct event_recorder *event_recorder_new(struct client *client, const char *component, const char *host)
{
	struct event_recorder *r = NEW(struct event_recorder);
	r->magic = RECORDER_MAGIC;
	r->client = client;
	r->component = xstrdup(component);
	r->host = xstrdup(host ? host : "");
	r->next_name = (unsigned)env_random_below(client->env, 1000);
	list_init(&r->known_lru);
	list_init(&r->bucket_lru);
	return r;
}

static void known__free(struct known_event *k)
{
	if (k->call)
		client_cancel(k->rec->client, k->call);
	list_del(&k->lru);
	json_decref(k->body);
	free(k->key);
	free(k->ns);
	free(k->name);
	free(k);
}

void event_recorder_free(struct event_recorder *r)
{
	if (!r)
		return;
	MAP_EACH (&r->known, e)
		known__free(e->value);
	map_done(&r->known);
	MAP_EACH (&r->buckets, e) {
		struct event_bucket *b = e->value;
		free(b->key);
		free(b);
	}
	map_done(&r->buckets);
	free(r->component);
	free(r->host);
	free(r);
}

static bool bucket__take(struct event_recorder *r, const char *key)
{
	uint64_t now = env_now_us(r->client->env);
	struct event_bucket *b = map_get(&r->buckets, key);
	if (!b) {
		if (r->buckets.count >= KNOWN_MAX) {
			struct event_bucket *old = LIST_ENTRY(list_pop(&r->bucket_lru), struct event_bucket, lru);
			map_del(&r->buckets, old->key);
			free(old->key);
			free(old);
		}
		b = NEW(struct event_bucket);
		b->key = xstrdup(key);
		b->tokens = BURST;
		b->at_us = now;
		list_init(&b->lru);
		map_set(&r->buckets, key, b);
	}
	list_del(&b->lru);
	list_push(&r->bucket_lru, &b->lru);
	b->tokens += (double)(now - b->at_us) / (double)REFILL_US;
	b->at_us = now;
	if (b->tokens > BURST)
		b->tokens = BURST;
	if (b->tokens < 1)
		return false;
	b->tokens -= 1;
	return true;
}

static void known__on_answer(void *arg, const struct client_response *resp)
{
	struct known_event *k = arg;
	k->call = NULL;
	k->rec->n_in_flight--;
	if (!resp->err->code) {
		k->created = true;
	} else if (resp->err->code == -ENOENT && k->created) {
		k->created = false; /* expired on the server: the next one makes it anew */
		k->dirty = true;
	} else {
		map_del(&k->rec->known, k->key);
		known__free(k);
		return;
	}
	if (!k->dirty)
		return;
	k->dirty = false;
	known__send(k);
}

static void known__send(struct known_event *k)
{
	struct event_recorder *r = k->rec;
	char last[32];
	time_format_s(k->last_s, last);
	struct client_request req = {.kind = kind_by_kind("", "v1", "Event"), .ns = k->ns, .grace_period_s = -1};
	_cleanup_json_ json_t *patch = NULL;
	if (k->created) {
		patch = json_make("{s:i, s:s}", "count", k->count, "lastTimestamp", last);
		req.verb = CLIENT_PATCH;
		req.patch = CLIENT_PATCH_MERGE;
		req.name = k->name;
		req.body = patch;
	} else {
		json_put_int(k->body, "count", k->count);
		json_put_str(k->body, "lastTimestamp", last);
		req.verb = CLIENT_CREATE;
		req.body = k->body;
	}
	r->n_in_flight++;
	k->call = client_do(r->client, &req, known__on_answer, k);
}

static json_t *about_ref(struct object *about, const char *field_path)
{
	_cleanup_free_ char *api_version = kind_api_version(about->kind);
	json_t *ref = json_object();
	json_put_str(ref, "kind", about->kind->kind);
	if (*about->ns)
		json_put_str(ref, "namespace", about->ns);
	json_put_str(ref, "name", about->name);
	if (*about->uid)
		json_put_str(ref, "uid", about->uid);
	json_put_str(ref, "apiVersion", api_version);
	if (about->rv) {
		char rv[24];
		snprintf(rv, sizeof(rv), "%llu", (unsigned long long)about->rv);
		json_put_str(ref, "resourceVersion", rv);
	}
	if (!str_empty(field_path))
		json_put_str(ref, "fieldPath", field_path);
	return ref;
}

static json_t *event_body(struct event_recorder *r, struct known_event *k, struct object *about, const char *field_path,
			  const char *type, const char *reason, const char *message)
{
	char now[32];
	time_format_s(k->last_s, now);
	json_t *source = json_make("{s:s}", "component", r->component);
	if (*r->host)
		json_put_str(source, "host", r->host);
	json_t *ev = json_make("{s:s, s:s, s:{s:s, s:s}, s:o, s:s, s:o, s:s, s:s, s:s}", "apiVersion", "v1", "kind",
			       "Event", "metadata", "name", k->name, "namespace", k->ns, "involvedObject",
			       about_ref(about, field_path), "reason", reason, "source", source, "firstTimestamp", now,
			       "type", type, "reportingComponent", r->component);
	json_put_str(ev, "message", message);
	json_put_str(ev, "reportingInstance", r->host);
	return ev;
}

static struct known_event *known__new(struct event_recorder *r, const char *key, struct object *about)
{
	if (r->known.count >= KNOWN_MAX) {
		struct known_event *old = LIST_ENTRY(r->known_lru.next, struct known_event, lru);
		if (old->call)
			r->n_in_flight--;
		map_del(&r->known, old->key);
		known__free(old);
	}
	struct known_event *k = NEW(struct known_event);
	k->rec = r;
	k->key = xstrdup(key);
	k->ns = xstrdup(*about->ns ? about->ns : "default");
	/* Unique without asking: time and a counter, in upstream's form "<object>.<16 hex>". */
	uint64_t unique = (uint64_t)env_wall_us(r->client->env) * 1000 + r->next_name++ % 1000;
	k->name = xasprintf("%.200s.%016llx", about->name, (unsigned long long)unique);
	list_init(&k->lru);
	map_set(&r->known, key, k);
	return k;
}

static void record(struct event_recorder *r, struct object *about, const char *field_path, bool warning,
		   const char *reason, const char *fmt, va_list ap)
{
	MAGIC_CHECK(r, RECORDER_MAGIC);
	if (!about->kind)
		return;
	char message[EVENT_MESSAGE_MAX];
	vsnprintf(message, sizeof(message), fmt, ap);
	utf8_mend(message);
	const char *type = warning ? "Warning" : "Normal";
	_cleanup_buf_ struct buf key = BUF_INIT;
	buf_addf(&key, "%s/%s/%s/%s", about->kind->kind, about->ns, about->name, about->uid);
	if (!bucket__take(r, buf_str(&key)))
		return;
	buf_addf(&key, "\n%s\n%s\n%s\n%s", field_path ? field_path : "", type, reason, message);
	struct known_event *k = map_get(&r->known, buf_str(&key));
	if (!k && r->n_in_flight >= IN_FLIGHT_MAX)
		return;
	bool fresh = !k;
	if (fresh)
		k = known__new(r, buf_str(&key), about);
	k->count++;
	k->last_s = env_wall_s(r->client->env);
	if (fresh)
		k->body = event_body(r, k, about, field_path, type, reason, message);
	list_del(&k->lru);
	list_push(&r->known_lru, &k->lru);
	if (k->call)
		k->dirty = true;
	else
		known__send(k);
}

void event_record(struct event_recorder *r, struct object *about, bool warning, const char *reason, const char *fmt,
		  ...)
{
	va_list ap;
	va_start(ap, fmt);
	record(r, about, NULL, warning, reason, fmt, ap);
	va_end(ap);
}

void event_record_field(struct event_recorder *r, struct object *about, const char *field_path, bool warning,
			const char *reason, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	record(r, about, field_path, warning, reason, fmt, ap);
	va_end(ap);
}
