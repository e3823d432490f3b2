/* Kubernetes' protobuf bodies, decoded by the tables into the tree that JSON would have given.
 *
 * Upstream's encoder writes every scalar that is not behind a pointer, zero or not, while its JSON leaves zeros of
 * optional members out: so a zero is dropped here, unless its field is required or a pointer. Structs are written by
 * both, empty or not.
 */
#include <errno.h>

#include "lib/api/api_internal.h"

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct span {
	const uint8_t *p, *end;
};

struct decoder {
	struct err *err;
	unsigned depth;
	size_t containers; /* how many more may come */
};

struct tag {
	unsigned field;
	enum wire wire;
	uint64_t number;   /* varint, fixed */
	struct span bytes; /* WIRE_BYTES */
};

static int malformed(struct decoder *d, const char *what)
{
	return err_status(d->err, ERR_BAD_REQUEST, "malformed protobuf: %s", what);
}

static bool read_varint(struct span *s, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; s->p < s->end && shift < 64; shift += 7) {
		uint8_t b = *s->p++;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static bool read_fixed(struct span *s, size_t n, uint64_t *ret)
{
	uint64_t v = 0;

	if ((size_t)(s->end - s->p) < n)
		return false;
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)s->p[i] << (8 * i);
	s->p += n;
	*ret = v;
	return true;
}

static int read_tag(struct decoder *d, struct span *s, struct tag *ret)
{
	uint64_t key, len;
	struct tag t = {0};

	if (!read_varint(s, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
		return malformed(d, "bad tag");
	t.field = (unsigned)(key >> 3);
	t.wire = (enum wire)(key & 7);
	switch (t.wire) {
	case WIRE_VARINT:
		if (!read_varint(s, &t.number))
			return malformed(d, "unfinished number");
		break;
	case WIRE_FIXED64:
	case WIRE_FIXED32:
		if (!read_fixed(s, t.wire == WIRE_FIXED64 ? 8 : 4, &t.number))
			return malformed(d, "unfinished number");
		break;
	case WIRE_BYTES:
		if (!read_varint(s, &len) || len > (uint64_t)(s->end - s->p))
			return malformed(d, "unfinished field");
		t.bytes = (struct span){s->p, s->p + len};
		s->p += len;
		break;
	default:
		return malformed(d, "unknown wire type");
	}
	*ret = t;
	return 0;
}

static int enter(struct decoder *d)
{
	if (d->depth >= JSON_MAX_DEPTH)
		return malformed(d, "nested too deeply");
	if (d->containers == 0)
		return malformed(d, "too many objects and lists for its size");
	d->depth++;
	d->containers--;
	return 0;
}

static int string_of(struct decoder *d, struct span s, json_t **ret)
{
	size_t len = (size_t)(s.end - s.p);
	const char *text = len ? (const char *)s.p : "";

	if (memchr(text, 0, len) || !utf8_valid(text, len))
		return malformed(d, "a string is not UTF-8, or has a NUL in it");
	*ret = json_stringn_nocheck(text, len);
	return 0;
}

/* ---- messages that are one JSON value ---- */

/* The members 1, 2 and 3 of a small message: numbers and a string. */
struct small {
	uint64_t number[4];
	bool has[4];
	struct span bytes[4];
};

static int read_small(struct decoder *d, struct span s, struct small *ret)
{
	while (s.p < s.end) {
		struct tag t;
		int rc = read_tag(d, &s, &t);
		if (rc)
			return rc;
		if (t.field > 3)
			continue;
		ret->has[t.field] = true;
		ret->number[t.field] = t.number;
		ret->bytes[t.field] = t.bytes;
	}
	return 0;
}

static int time_of(const struct small *m, enum schema_type type, json_t **ret)
{
	char text[40];
	int64_t s = (int64_t)m->number[1], ns = (int64_t)m->number[2];

	/* no seconds: the zero time, which JSON calls null. Years beyond 9999 have no text. */
	if (!m->has[1] || s < -62135596800 || s > 253402300799 || ns < 0 || ns > 999999999)
		return 0;
	if (type == SCHEMA_TIME)
		time_format_s(s, text);
	else
		time_format_us(s * 1000000 + ns / 1000, text);
	*ret = json_string_nocheck(text);
	return 0;
}

/* As Go prints a duration. */
static void duration_of(int64_t ns, json_t **ret)
{
	char text[80];
	bool negative = ns < 0;
	uint64_t n = negative ? 0 - (uint64_t)ns : (uint64_t)ns;
	uint64_t h = n / 3600000000000, m = n / 60000000000 % 60, s = n / 1000000000 % 60, rest = n % 1000000000;
	struct buf b = BUF_INIT;

	if (h)
		buf_addf(&b, "%lluh", (unsigned long long)h);
	if (h || m)
		buf_addf(&b, "%llum", (unsigned long long)m);
	snprintf(text, sizeof(text), "%llu.%09llu", (unsigned long long)s, (unsigned long long)rest);
	size_t len = strlen(text);
	while (text[len - 1] == '0')
		len--;
	len -= text[len - 1] == '.';
	buf_add(&b, text, len);
	buf_addc(&b, 's');
	_cleanup_free_ char *whole = xasprintf("%s%s", negative ? "-" : "", b.data);
	buf_done(&b);
	*ret = json_string_nocheck(whole);
}

static int small_message(struct decoder *d, enum schema_type type, struct span s, json_t **ret)
{
	struct small m = {0};

	int rc = read_small(d, s, &m);
	if (rc)
		return rc;
	switch (type) {
	case SCHEMA_QUANTITY:
		if (m.bytes[1].p == m.bytes[1].end) {
			*ret = json_string("0");
			return 0;
		}
		return string_of(d, m.bytes[1], ret);
	case SCHEMA_INT_OR_STRING:
		if (m.number[1] == 1)
			return string_of(d, m.bytes[3], ret);
		*ret = json_integer((int32_t)m.number[2]);
		return 0;
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		return time_of(&m, type, ret);
	case SCHEMA_DURATION:
		duration_of((int64_t)m.number[1], ret);
		return 0;
	default: /* SCHEMA_ANY */
		if (m.bytes[1].p == m.bytes[1].end)
			return 0;
		/* bounded as any JSON; it counts as one container, being at least as long as what it holds */
		return json_parse((const char *)m.bytes[1].p, (size_t)(m.bytes[1].end - m.bytes[1].p), ret, d->err);
	}
}

/* ---- messages by their tables ---- */

static int read_message(struct decoder *d, const struct schema *s, struct span in, json_t *obj);

static int object_of(struct decoder *d, const struct schema *s, struct span in, json_t **ret)
{
	_cleanup_json_ json_t *obj = json_object();

	int rc = enter(d);
	if (!rc)
		rc = read_message(d, s, in, obj);
	if (rc)
		return rc;
	d->depth--;
	*ret = STEAL(obj);
	return 0;
}

static enum wire wire_of(enum schema_type type)
{
	switch (type) {
	case SCHEMA_INT32:
	case SCHEMA_INT64:
	case SCHEMA_BOOL:
		return WIRE_VARINT;
	case SCHEMA_DOUBLE:
		return WIRE_FIXED64;
	default:
		return WIRE_BYTES;
	}
}

static json_t *number_of(enum schema_type type, uint64_t n)
{
	double real;

	switch (type) {
	case SCHEMA_BOOL:
		return json_boolean(n != 0);
	case SCHEMA_INT32:
		return json_integer((int32_t)n);
	case SCHEMA_INT64:
		return json_integer((int64_t)n);
	default:
		memcpy(&real, &n, sizeof(real));
		return json_real(real); /* NULL for infinities and NaN: as if absent */
	}
}

/* One value; NULL in *ret: nothing, as if it were absent. */
static int read_value(struct decoder *d, const struct schema_field *f, const struct tag *t, json_t **ret)
{
	if (t->wire != wire_of(f->type))
		return err_status(d->err, ERR_BAD_REQUEST, "malformed protobuf: wrong wire type for field %s", f->name);
	switch (f->type) {
	case SCHEMA_STRING:
		return string_of(d, t->bytes, ret);
	case SCHEMA_BYTES: {
		_cleanup_free_ char *text = base64_encode(t->bytes.p, (size_t)(t->bytes.end - t->bytes.p));
		*ret = json_string_nocheck(text);
		return 0;
	}
	case SCHEMA_OBJECT:
		return object_of(d, f->of, t->bytes, ret);
	case SCHEMA_INT32:
	case SCHEMA_INT64:
	case SCHEMA_BOOL:
	case SCHEMA_DOUBLE:
		*ret = number_of(f->type, t->number);
		return 0;
	default:
		return small_message(d, f->type, t->bytes, ret);
	}
}

/* Scalars of lists may come packed: several in one. */
static int read_packed(struct decoder *d, const struct schema_field *f, struct span s, json_t *list)
{
	while (s.p < s.end) {
		uint64_t n;
		bool ok = f->type == SCHEMA_DOUBLE ? read_fixed(&s, 8, &n) : read_varint(&s, &n);
		if (!ok)
			return malformed(d, "unfinished number");
		json_array_append_new(list, number_of(f->type, n));
	}
	return 0;
}

static int need_container(struct decoder *d, json_t *obj, const struct schema_field *f, json_t **ret)
{
	*ret = json_object_get(obj, f->name);
	if (*ret)
		return 0;
	int rc = enter(d);
	if (rc)
		return rc;
	d->depth--;
	*ret = f->shape == SCHEMA_LIST ? json_need_array(obj, f->name) : json_need_object(obj, f->name);
	return 0;
}

static int read_element(struct decoder *d, const struct schema_field *f, const struct tag *t, json_t *obj)
{
	json_t *list, *v = NULL;

	int rc = need_container(d, obj, f, &list);
	if (rc)
		return rc;
	if (t->wire == WIRE_BYTES && wire_of(f->type) != WIRE_BYTES)
		return read_packed(d, f, t->bytes, list);
	rc = read_value(d, f, t, &v);
	if (!rc && v)
		json_array_append_new(list, v);
	return rc;
}

static json_t *zero_of(const struct schema_field *f)
{
	switch (wire_of(f->type)) {
	case WIRE_VARINT:
		return f->type == SCHEMA_BOOL ? json_false() : json_integer(0);
	case WIRE_FIXED64:
		return json_real(0);
	default:
		return f->type == SCHEMA_OBJECT ? json_object() : json_string("");
	}
}

static int read_entry(struct decoder *d, const struct schema_field *f, const struct tag *t, json_t *obj)
{
	_cleanup_json_ json_t *key = NULL, *value = NULL;
	struct span s = t->bytes;
	json_t *map;

	if (t->wire != WIRE_BYTES)
		return malformed(d, "a map's entry is no message");
	int rc = need_container(d, obj, f, &map);
	while (!rc && s.p < s.end) {
		struct tag part = {0};
		json_t *v = NULL;
		rc = read_tag(d, &s, &part);
		if (rc)
			return rc;
		if (part.field == 1 && part.wire == WIRE_BYTES) {
			rc = string_of(d, part.bytes, &v);
			json_decref(key);
			key = v;
		} else if (part.field == 2) {
			rc = read_value(d, f, &part, &v);
			json_decref(value);
			value = v;
		}
	}
	if (rc)
		return rc;
	json_put(map, key ? json_string_value(key) : "", value ? STEAL(value) : zero_of(f));
	return 0;
}

static int read_field(struct decoder *d, const struct schema_field *f, const struct tag *t, json_t *obj)
{
	json_t *v = NULL;

	if (f->flags & SCHEMA_INLINE) {
		if (t->wire != WIRE_BYTES)
			return malformed(d, "an embedded struct is no message");
		int rc = enter(d);
		if (!rc)
			rc = read_message(d, f->of, t->bytes, obj);
		d->depth -= !rc;
		return rc;
	}
	if (f->shape == SCHEMA_LIST)
		return read_element(d, f, t, obj);
	if (f->shape == SCHEMA_MAP)
		return read_entry(d, f, t, obj);
	int rc = read_value(d, f, t, &v);
	if (rc)
		return rc;
	if (v && !schema__is_left_out(f, v))
		json_put(obj, f->name, v);
	else
		json_decref(v);
	return 0;
}

static int read_message(struct decoder *d, const struct schema *s, struct span in, json_t *obj)
{
	while (in.p < in.end) {
		struct tag t = {0};
		int rc = read_tag(d, &in, &t);
		if (rc)
			return rc;
		const struct schema_field *f = s->fields;
		while (f->name && f->pb != t.field)
			f++;
		if (!f->name)
			continue; /* a newer client's: dropped, as upstream does */
		rc = read_field(d, f, &t, obj);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- the envelope ---- */

static const struct schema *schema_of(const char *api_version, const char *kind)
{
	static const struct {
		const char *kind;
		const struct schema *schema;
	} others[] = {
		{"DeleteOptions", &schema_delete_options},
		{"Scale", &schema_scale},
		{"Binding", &schema_binding},
		{"Eviction", &schema_eviction},
		{"TokenRequest", &schema_token_request},
		{"Status", &schema_status},
	};
	const struct kind *k = kind_by_api_version(api_version, kind);

	if (k)
		return k->schema;
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		if (streq(others[i].kind, kind))
			return others[i].schema;
	}
	return NULL;
}

static int read_type_meta(struct decoder *d, struct span s, json_t *ret_tree)
{
	struct small m = {0};
	json_t *version = NULL, *kind = NULL;

	int rc = read_small(d, s, &m);
	if (!rc)
		rc = string_of(d, m.bytes[2], &kind);
	if (rc)
		return rc;
	json_put(ret_tree, "kind", kind);
	rc = string_of(d, m.bytes[1], &version);
	if (!rc)
		json_put(ret_tree, "apiVersion", version);
	return rc;
}

int protobuf_decode(const uint8_t *data, size_t len, json_t **ret, struct err *err)
{
	struct decoder d = {.err = err, .containers = len / 4 + 1000};
	_cleanup_json_ json_t *tree = json_object();
	struct span s, type_meta = {0}, raw = {0}, encoding = {0};

	if (len < 4 || memcmp(data, "k8s\0", 4) != 0)
		return malformed(&d, "it does not begin with k8s and a zero byte");
	s = (struct span){data + 4, data + len};
	while (s.p < s.end) {
		struct tag t = {0};
		int rc = read_tag(&d, &s, &t);
		if (rc)
			return rc;
		if (t.field == 1)
			type_meta = t.bytes;
		else if (t.field == 2)
			raw = t.bytes;
		else if (t.field == 3)
			encoding = t.bytes;
	}
	if (encoding.p != encoding.end)
		return malformed(&d, "compressed content is not supported");
	int rc = read_type_meta(&d, type_meta, tree);
	if (rc)
		return rc;
	const char *version = json_get_str(tree, "apiVersion", ""), *kind = json_get_str(tree, "kind", "");
	const struct schema *schema = schema_of(version, kind);
	if (!schema)
		return err_status(err, ERR_BAD_REQUEST, "no kind \"%s\" is registered for version \"%s\"", kind,
				  version);
	rc = read_message(&d, schema, raw, tree);
	if (rc)
		return rc;
	*ret = STEAL(tree);
	return 0;
}
