#include "store/cmd.h"

#include <errno.h>
#include <inttypes.h>

static void put_number(struct buf *b, uint64_t v)
{
	while (v >= 0x80) {
		buf_addc(b, (char)(v | 0x80));
		v >>= 7;
	}
	buf_addc(b, (char)v);
}

static void put_string(struct buf *b, const char *s)
{
	put_number(b, s ? strlen(s) + 1 : 0);
	if (s)
		buf_add(b, s, strlen(s) + 1);
}

static void put_blob(struct buf *b, const struct blob *v)
{
	put_number(b, v ? (uint64_t)v->len + 1 : 0);
	if (v)
		buf_add(b, v->data, v->len);
}

struct reader {
	const char *p, *end;
	bool bad;
	uint64_t format;
};

static uint64_t get_number(struct reader *r)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (r->p >= r->end)
			break;
		uint8_t c = (uint8_t)*r->p++;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

static const char *get_string(struct reader *r)
{
	uint64_t n = get_number(r);
	if (!n)
		return NULL;
	if (r->bad || n > (uint64_t)(r->end - r->p) || memchr(r->p, 0, (size_t)n) != r->p + n - 1) {
		r->bad = true;
		return NULL;
	}
	const char *s = r->p;
	r->p += n;
	return s;
}

/* `shared`: the caller's own blob with the same bytes, to be referenced instead of copied. */
static struct blob *get_blob(struct reader *r, const struct blob *shared)
{
	uint64_t n = get_number(r);
	if (!n)
		return NULL;
	n--;
	if (r->bad || n > (uint64_t)(r->end - r->p) || n > STORE_CMD_MAX) {
		r->bad = true;
		return NULL;
	}
	struct blob *b = shared ? blob_ref((struct blob *)shared) : blob_new(r->p, (size_t)n);
	r->p += n;
	return b;
}

static void encode_ops(struct buf *b, const struct store_op *ops, size_t n)
{
	put_number(b, n);
	for (size_t i = 0; i < n; i++) {
		buf_addc(b, (char)ops[i].type);
		put_string(b, ops[i].key);
		put_string(b, ops[i].type == STORE_DELETE_RANGE ? ops[i].end : NULL);
		put_number(b, ops[i].lease);
		put_blob(b, ops[i].type == STORE_PUT ? ops[i].value : NULL);
	}
}

static void encode_txn(struct buf *b, const struct store_txn_req *req)
{
	put_number(b, req->n_compares);
	for (size_t i = 0; i < req->n_compares; i++) {
		const struct store_cmp *c = &req->compares[i];
		buf_addc(b, (char)c->target);
		buf_addc(b, (char)c->op);
		put_string(b, c->key);
		put_number(b, c->number);
		put_blob(b, c->target == STORE_CMP_VALUE ? c->value : NULL);
	}
	encode_ops(b, req->then_ops, req->n_then);
	encode_ops(b, req->else_ops, req->n_else);
}

static size_t get_count(struct reader *r)
{
	uint64_t n = get_number(r);
	if (n > STORE_OPS_MAX)
		r->bad = true;
	return r->bad ? 0 : (size_t)n;
}

static int get_enum(struct reader *r, int max)
{
	if (r->p >= r->end || (uint8_t)*r->p > (uint8_t)max) {
		r->bad = true;
		return 0;
	}
	return *r->p++;
}

static const struct store_op *decode_ops(struct reader *r, const struct store_op *shared, size_t *ret_n)
{
	size_t n = get_count(r);
	struct store_op *ops = n ? NEW_N(struct store_op, n) : NULL;
	for (size_t i = 0; i < n; i++) {
		ops[i].type = (enum store_op_type)get_enum(r, STORE_GET);
		ops[i].key = get_string(r);
		ops[i].end = get_string(r);
		ops[i].lease = get_number(r);
		ops[i].value = get_blob(r, shared ? shared[i].value : NULL);
		if (!ops[i].key || (ops[i].type == STORE_PUT && !ops[i].value) ||
		    (ops[i].type == STORE_DELETE_RANGE && !ops[i].end))
			r->bad = true;
	}
	*ret_n = n;
	return ops;
}

static void decode_txn(struct reader *r, struct store_txn_req *t, const struct store_txn_req *shared)
{
	size_t n = get_count(r);
	struct store_cmp *compares = n ? NEW_N(struct store_cmp, n) : NULL;
	for (size_t i = 0; i < n; i++) {
		compares[i].target = (enum store_cmp_target)get_enum(r, STORE_CMP_VALUE);
		compares[i].op = (enum store_cmp_op)get_enum(r, STORE_GT);
		compares[i].key = get_string(r);
		compares[i].number = get_number(r);
		compares[i].value = get_blob(r, shared ? shared->compares[i].value : NULL);
		if (!compares[i].key)
			r->bad = true;
	}
	t->compares = compares;
	t->n_compares = n;
	t->then_ops = decode_ops(r, shared ? shared->then_ops : NULL, &t->n_then);
	t->else_ops = decode_ops(r, shared ? shared->else_ops : NULL, &t->n_else);
}

static void put_member(struct buf *b, const struct store_member *m)
{
	put_number(b, m->id);
	put_string(b, m->name);
	put_string(b, m->peer);
	put_string(b, m->api);
	buf_addc(b, (char)m->wish);
}

static void get_text(struct reader *r, char *to, size_t size)
{
	const char *s = get_string(r);
	if (!s || strlen(s) >= size)
		r->bad = true;
	else
		memcpy(to, s, strlen(s) + 1);
}

static void get_member(struct reader *r, struct store_member *m)
{
	m->id = get_number(r);
	get_text(r, m->name, sizeof(m->name));
	get_text(r, m->peer, sizeof(m->peer));
	get_text(r, m->api, sizeof(m->api));
	m->wish = (enum store_role)get_enum(r, STORE_ROLE_WITNESS);
	if (!m->id || m->id > INT64_MAX)
		r->bad = true;
}

static void decode_members(struct reader *r, struct store_cmd *c)
{
	uint64_t n = c->kind == CMD_MEMBER_SET ? 1 : get_number(r);
	if (n > STORE_MEMBERS_MAX)
		r->bad = true;
	c->n_members = r->bad ? 0 : (size_t)n;
	c->members = NEW_N(struct store_member, c->n_members + 1);
	for (size_t i = 0; i < c->n_members; i++)
		get_member(r, &c->members[i]);
	c->level = r->format >= 3 ? get_number(r) : 1;
}

static void decode_numbers(struct reader *r, struct store_cmd *c)
{
	switch (c->kind) {
	case CMD_MEMBER_SET:
		decode_members(r, c);
		break;
	case CMD_ROSTER:
		decode_members(r, c);
		return;
	case CMD_LEASE_EXPIRE:
		c->term = get_number(r);
		c->renewed = get_number(r);
		break;
	case CMD_MEMBER_WISH:
		c->wish = (enum store_role)get_enum(r, STORE_ROLE_WITNESS);
		break;
	case CMD_HASH:
	case CMD_ALARM:
		c->member = get_number(r);
		c->text = get_string(r);
		if (!c->text)
			r->bad = true;
		break;
	case CMD_CHECK:
	case CMD_COMPACT:
	case CMD_LEASE_GRANT:
	case CMD_LEASE_REVOKE:
	case CMD_LEASE_RENEW:
	case CMD_MOVE_LEADER:
	case CMD_LEVEL:
		break;
	default:
		r->bad = true;
		return;
	}
	c->number = get_number(r);
}

/* The views are always made from the bytes, so that what is applied here is what every other member decodes. */
static int decode(struct store_cmd *c, const struct store_txn_req *shared, struct err *err)
{
	struct reader r = {.p = c->bytes.data, .end = c->bytes.data + c->bytes.len};
	r.format = get_number(&r);
	if (!r.bad && r.format > STORE_CMD_FORMAT)
		return err_set(err, -EPROTO,
			       "a log entry has format %" PRIu64
			       ", newer than this program knows (%d): use the newer program",
			       r.format, STORE_CMD_FORMAT);
	c->kind = (enum store_cmd_kind)get_number(&r);
	if (c->kind == CMD_TXN)
		decode_txn(&r, &c->txn, shared);
	else
		decode_numbers(&r, c);
	if (r.bad || r.p != r.end)
		return err_set(err, -EPROTO, "a log entry is not a command");
	return 0;
}

static void begin_as(struct store_cmd *c, enum store_cmd_kind kind, uint64_t format)
{
	*c = (struct store_cmd){.kind = kind};
	put_number(&c->bytes, format);
	put_number(&c->bytes, (uint64_t)kind);
}

static void begin(struct store_cmd *c, enum store_cmd_kind kind)
{
	begin_as(c, kind, kind >= CMD_LEVEL ? 3 : kind > CMD_LEASE_RENEW ? 2 : 1);
}

/* A level of 1 goes without saying: whoever knows no levels can read that. */
static void begin_members(struct store_cmd *c, enum store_cmd_kind kind, uint64_t level)
{
	begin_as(c, kind, level > 1 ? 3 : 2);
	c->level = MAX(level, (uint64_t)1);
}

static void end_members(struct store_cmd *c)
{
	if (c->level > 1)
		put_number(&c->bytes, c->level);
}

static int check_key(const char *key, bool may_be_empty, struct err *err)
{
	if (!key || (!*key && !may_be_empty))
		return err_set(err, -EINVAL, "a key must not be empty");
	if (strlen(key) > STORE_KEY_MAX)
		return err_set(err, -EFBIG, "a key is longer than %u bytes", STORE_KEY_MAX);
	return 0;
}

static int check_ops(const struct store_op *ops, size_t n, size_t *bytes, struct err *err)
{
	if (n > STORE_OPS_MAX)
		return err_set(err, -EFBIG, "a transaction has more than %u operations", STORE_OPS_MAX);
	for (size_t i = 0; i < n; i++) {
		const struct store_op *o = &ops[i];
		bool range = o->type == STORE_DELETE_RANGE;
		int rc = check_key(o->key, range, err);
		if (!rc && range)
			rc = o->end ? check_key(o->end, true, err) : err_set(err, -EINVAL, "a range needs an end");
		if (rc)
			return rc;
		if (o->type == STORE_PUT && !o->value)
			return err_set(err, -EINVAL, "a put needs a value");
		if (o->type == STORE_PUT && o->value->len > STORE_VALUE_MAX)
			return err_set(err, -EFBIG, "a value is larger than %u bytes", STORE_VALUE_MAX);
		*bytes += strlen(o->key) + (o->type == STORE_PUT ? o->value->len : 0);
		/* one change per key and revision, or a watcher would see two events of one revision for it */
		for (size_t k = 0; k < i && o->type != STORE_GET; k++) {
			const struct store_op *p = &ops[k];
			if (p->type == STORE_GET || (range && p->type != STORE_PUT) ||
			    (p->type == STORE_DELETE_RANGE && o->type != STORE_PUT))
				continue;
			const struct store_op *r = range ? o : p, *one = range ? p : o;
			bool hit = r->type == STORE_DELETE_RANGE
					   ? strcmp(one->key, r->key) >= 0 && (!*r->end || strcmp(one->key, r->end) < 0)
					   : streq(one->key, r->key);
			if (hit)
				return err_set(err, -EINVAL, "key %s is changed twice in one transaction", one->key);
		}
	}
	return 0;
}

int store_cmd_from_txn(struct store_cmd *ret, const struct store_txn_req *req, struct err *err)
{
	size_t bytes = 0;
	if (req->n_compares > STORE_OPS_MAX)
		return err_set(err, -EFBIG, "a transaction has more than %u compares", STORE_OPS_MAX);
	for (size_t i = 0; i < req->n_compares; i++) {
		int rc = check_key(req->compares[i].key, false, err);
		if (rc)
			return rc;
		bytes += req->compares[i].value ? req->compares[i].value->len : 0;
	}
	int rc = check_ops(req->then_ops, req->n_then, &bytes, err);
	if (!rc)
		rc = check_ops(req->else_ops, req->n_else, &bytes, err);
	if (rc)
		return rc;
	if (bytes > STORE_CMD_MAX - (1u << 20))
		return err_set(err, -EFBIG, "a transaction is larger than %u bytes", STORE_CMD_MAX - (1u << 20));
	struct store_cmd c;
	begin(&c, CMD_TXN);
	buf_reserve(&c.bytes, bytes + 64);
	encode_txn(&c.bytes, req);
	rc = decode(&c, req, err);
	MUST(rc == 0);
	*ret = c;
	return 0;
}

void store_cmd_number(struct store_cmd *ret, enum store_cmd_kind kind, uint64_t number)
{
	begin(ret, kind);
	put_number(&ret->bytes, number);
	ret->number = number;
}

void store_cmd_expire(struct store_cmd *ret, uint64_t lease, uint64_t term, uint64_t renewed)
{
	begin(ret, CMD_LEASE_EXPIRE);
	put_number(&ret->bytes, term);
	put_number(&ret->bytes, renewed);
	put_number(&ret->bytes, lease);
	ret->number = lease;
	ret->term = term;
	ret->renewed = renewed;
}

/* They stand in tables, logs and URLs: printable, and without spaces. */
static bool text_ok(const char *s, size_t size)
{
	size_t n = strnlen(s, size);
	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return n < size;
}

int store_cmd_member_set(struct store_cmd *ret, const struct store_member *m, uint64_t replaces, uint64_t level,
			 struct err *err)
{
	if (!m->id || m->id > INT64_MAX)
		return err_set(err, -EINVAL, "a member has no such id");
	if (!text_ok(m->name, sizeof(m->name)))
		return err_set(err, -EINVAL, "the name of a member is not one of at most %u letters, digits and signs",
			       STORE_MEMBER_NAME_MAX);
	if (!text_ok(m->peer, sizeof(m->peer)) || !text_ok(m->api, sizeof(m->api)))
		return err_set(err, -EINVAL, "an address of member %s is none", m->name);
	begin_members(ret, CMD_MEMBER_SET, level);
	put_member(&ret->bytes, m);
	end_members(ret);
	put_number(&ret->bytes, replaces);
	ret->members = NEW(struct store_member);
	*ret->members = *m;
	ret->n_members = 1;
	ret->number = replaces;
	return 0;
}

void store_cmd_member_wish(struct store_cmd *ret, uint64_t id, enum store_role wish)
{
	begin(ret, CMD_MEMBER_WISH);
	buf_addc(&ret->bytes, (char)wish);
	put_number(&ret->bytes, id);
	ret->number = id;
	ret->wish = wish;
}

void store_cmd_roster(struct store_cmd *ret, const struct store_member *members, size_t n, uint64_t level)
{
	begin_members(ret, CMD_ROSTER, level);
	put_number(&ret->bytes, n);
	for (size_t i = 0; i < n; i++)
		put_member(&ret->bytes, &members[i]);
	end_members(ret);
}

static void text_cmd(struct store_cmd *ret, enum store_cmd_kind kind, uint64_t member, const char *text,
		     uint64_t number)
{
	_cleanup_err_ struct err err = ERR_INIT;
	begin(ret, kind);
	put_number(&ret->bytes, member);
	put_string(&ret->bytes, text);
	put_number(&ret->bytes, number);
	MUST(decode(ret, NULL, &err) == 0);
}

void store_cmd_hash(struct store_cmd *ret, uint64_t check, uint64_t member, const char *hex)
{
	text_cmd(ret, CMD_HASH, member, hex, check);
}

void store_cmd_alarm(struct store_cmd *ret, const char *text)
{
	text_cmd(ret, CMD_ALARM, 0, text, 0);
}

int store_cmd_decode(struct store_cmd *ret, const void *data, size_t len, struct err *err)
{
	struct store_cmd c = {0};
	buf_add(&c.bytes, data, len);
	int rc = decode(&c, NULL, err);
	if (rc) {
		store_cmd_done(&c);
		return rc;
	}
	*ret = c;
	return 0;
}

static void ops_free(const struct store_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++)
		blob_unref(ops[i].value);
	free((void *)ops);
}

void store_cmd_done(struct store_cmd *c)
{
	for (size_t i = 0; i < c->txn.n_compares; i++)
		blob_unref((struct blob *)c->txn.compares[i].value);
	free((void *)c->txn.compares);
	ops_free(c->txn.then_ops, c->txn.n_then);
	ops_free(c->txn.else_ops, c->txn.n_else);
	free(c->members);
	buf_done(&c->bytes);
	*c = (struct store_cmd){0};
}
