#include <errno.h>

#include "store/etcd_json.h"

#define MSG_BYTES_MAX (256u << 20) /* etcd sends pages and fragments far below it */

static void forget(struct etcd_item *it)
{
	free((char *)it->kv.key);
	blob_unref(it->kv.value);
}

void etcd_msg_clear(struct etcd_msg *m)
{
	for (size_t i = 0; i < m->n_items; i++)
		forget(&m->items[i]);
	struct etcd_msg old = *m;
	*m = (struct etcd_msg){.json = old.json,
			       .strip = old.strip,
			       .prefix = old.prefix,
			       .items = old.items,
			       .cap_items = old.cap_items};
}

void etcd_msg_done(struct etcd_msg *m)
{
	etcd_msg_clear(m);
	etcd_json_done(&m->json);
	free(m->items);
	*m = (struct etcd_msg){0};
}

static uint64_t number(struct etcd_msg *m, const char *text)
{
	uint64_t v = 0;
	if (parse_u64(text, &v) < 0 && !streq(text, "-1"))
		m->bad = true;
	return v;
}

static uint8_t *bytes(struct etcd_msg *m, const char *text, size_t len, size_t *ret_len)
{
	uint8_t *data = NULL;
	if (base64_decode(text, len, &data, ret_len) < 0)
		m->bad = true;
	return data;
}

static void take_key(struct etcd_msg *m, struct store_kv *kv, const char *text, size_t len)
{
	size_t n = 0;
	_cleanup_free_ char *data = (char *)bytes(m, text, len, &n);
	if (!data || n < m->strip || memcmp(data, m->prefix, m->strip) != 0 || memchr(data, 0, n))
		return;
	free((char *)kv->key);
	kv->key = xstrndup(data + m->strip, n - m->strip);
}

static void take_value(struct etcd_msg *m, struct store_kv *kv, const char *text, size_t len)
{
	size_t n = 0;
	_cleanup_free_ uint8_t *data = bytes(m, text, len, &n);
	if (!data)
		return;
	m->bytes += n;
	blob_unref(kv->value);
	kv->value = blob_new(data, n);
}

static void kv_field(struct etcd_msg *m, const char *name, const char *text, size_t len)
{
	struct store_kv *kv = &m->items[m->n_items - 1].kv;
	if (streq(name, "key"))
		take_key(m, kv, text, len);
	else if (streq(name, "value"))
		take_value(m, kv, text, len);
	else if (streq(name, "create_revision"))
		kv->create_rev = number(m, text);
	else if (streq(name, "mod_revision"))
		kv->mod_rev = number(m, text);
	else if (streq(name, "version"))
		kv->version = number(m, text);
	else if (streq(name, "lease"))
		kv->lease = number(m, text);
}

static void scalar(void *arg, const char *name, const char *text, size_t len)
{
	struct etcd_msg *m = arg;
	const struct {
		const char *name;
		uint64_t *to;
		bool in_header;
	} numbers[] = {{"cluster_id", &m->cluster, true},
		       {"member_id", &m->member, true},
		       {"revision", &m->rev, true},
		       {"raft_term", &m->term, true},
		       {"count", &m->count, false},
		       {"compact_revision", &m->compact_rev, false},
		       {"ID", &m->lease, false},
		       {"TTL", &m->ttl, false},
		       {"dbSize", &m->db_size, false},
		       {"leader", &m->leader, false},
		       {"raftIndex", &m->raft_index, false},
		       {"raftAppliedIndex", &m->applied_index, false}};
	const struct {
		const char *name;
		bool *to;
	} flags[] = {{"succeeded", &m->succeeded},
		     {"more", &m->more},
		     {"created", &m->created},
		     {"canceled", &m->canceled},
		     {"fragment", &m->fragment}};
	if (m->in_kv) {
		kv_field(m, name, text, len);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (streq(name, numbers[i].name) && numbers[i].in_header == (m->in_header > 0))
			/* the header of one operation in a transaction says no more than the transaction's own */
			*numbers[i].to = MAX(*numbers[i].to, number(m, text));
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (streq(name, flags[i].name))
			*flags[i].to = streq(text, "true");
	if (streq(name, "type"))
		m->deleting = streq(text, "DELETE");
	else if (streq(name, "code") || streq(name, "grpc_code"))
		m->error_code = (unsigned)number(m, text);
	else if (streq(name, "message") || streq(name, "error") || streq(name, "cancel_reason"))
		snprintf(m->error, sizeof(m->error), "%s", text);
	else if (streq(name, "version"))
		snprintf(m->version, sizeof(m->version), "%s", text);
	else if (streq(name, "errors") && strstr(text, "NOSPACE"))
		m->no_space = true;
}

static void begin(void *arg, const char *name, bool array)
{
	struct etcd_msg *m = arg;
	if (array)
		return;
	m->bad |= m->in_kv != 0;
	if (streq(name, "header")) {
		m->in_header++;
	} else if (streq(name, "events")) {
		m->event_at = m->n_items;
		m->deleting = false;
	} else if (streq(name, "kv") || streq(name, "kvs") || streq(name, "prev_kv") || streq(name, "prev_kvs")) {
		GROW(m->items, m->cap_items, m->n_items + 1);
		m->items[m->n_items++] =
			(struct etcd_item){.role = str_starts(name, "prev") ? ETCD_PREV : ETCD_KV, .n = m->n};
		m->in_kv = 1;
	}
}

/* Its value: "" is left out of the JSON, as is the value of a keys-only read, which the reader tells apart. */
static void kv_ended(struct etcd_msg *m)
{
	struct etcd_item *it = &m->items[m->n_items - 1];
	m->in_kv = 0;
	if (!it->kv.key) {
		forget(it);
		m->n_items--;
	}
	m->bytes += 128;
	if (m->bytes > MSG_BYTES_MAX)
		m->bad = true;
}

static void event_ended(struct etcd_msg *m)
{
	for (size_t i = m->event_at; i < m->n_items; i++)
		m->items[i].deleted = m->deleting && m->items[i].role == ETCD_KV;
	m->n++;
}

static void end(void *arg, const char *name, bool array)
{
	struct etcd_msg *m = arg;
	if (array)
		return;
	if (m->in_kv)
		kv_ended(m);
	else if (streq(name, "header"))
		m->in_header--;
	else if (streq(name, "responses"))
		m->n++;
	else if (streq(name, "events"))
		event_ended(m);
	m->whole = m->json.depth == 0;
}

void etcd_msg_init(struct etcd_msg *m, const char *prefix)
{
	*m = (struct etcd_msg){.prefix = prefix, .strip = strlen(prefix)};
	etcd_json_init(&m->json, m);
	m->json.begin = begin;
	m->json.end = end;
	m->json.scalar = scalar;
}

ssize_t etcd_msg_feed(struct etcd_msg *m, const char *data, size_t len)
{
	ssize_t n = etcd_json_feed(&m->json, data, len);
	return n < 0 || !m->bad ? n : -EPROTO;
}
