#include "apiserver/http_answer.h"

#include "apiserver/encode.h"
#include "lib/net/http.h"

#define PIECE_BYTES  (256u << 10) /* of a list, written at once */
#define UNSENT_MAX   (1u << 20)
#define ROWS_A_PIECE 64 /* entries that must be parsed cost the loop more */
#define MAX_HEADERS  48

struct headers {
	struct http_header list[MAX_HEADERS];
	size_t n;
	char *owned[MAX_HEADERS];
	size_t n_owned;
};

static void add(struct headers *h, const char *name, const char *value)
{
	if (h->n < MAX_HEADERS - 1)
		h->list[h->n++] = (struct http_header){name, value};
}

static void add_owned(struct headers *h, const char *name, char *value)
{
	if (h->n_owned < MAX_HEADERS)
		h->owned[h->n_owned++] = value;
	add(h, name, value);
}

static void headers_done(struct headers *h)
{
	for (size_t i = 0; i < h->n_owned; i++)
		free(h->owned[i]);
}

/* 299 - "text", with quotes and backslashes escaped. */
static char *warning_value(const char *text)
{
	struct buf b = BUF_INIT;
	buf_adds(&b, "299 - \"");
	for (const char *p = text; *p; p++) {
		if (*p == '"' || *p == '\\')
			buf_addc(&b, '\\');
		buf_addc(&b, (unsigned char)*p < 0x20 ? ' ' : *p);
	}
	buf_addc(&b, '"');
	return buf_steal(&b);
}

static void common_headers(struct request *r, struct headers *h, const char *type)
{
	size_t i;
	json_t *w;
	add(h, "Content-Type", type);
	add(h, "Cache-Control", "no-cache, private");
	json_array_foreach(r->warnings, i, w) add_owned(h, "Warning", warning_value(json_string_value(w)));
	if (r->result.etag)
		add(h, "Etag", r->result.etag);
	if (r->err.retry_after_s) {
		char *s = xasprintf("%d", r->err.retry_after_s);
		add_owned(h, "Retry-After", s);
	}
}

static void send_buf(struct request *r, int status, const char *type, struct buf *b)
{
	struct headers h = {0};
	common_headers(r, &h, type);
	http_respond_buf(STEAL(r->http), status, h.list, b);
	headers_done(&h);
}

/* Compact unless asked for otherwise; YAML if accepted. */
static void send_tree(struct request *r, int status, const json_t *tree)
{
	struct buf b = BUF_INIT;
	if (r->answer_yaml) {
		yaml_write(&b, tree);
		send_buf(r, status, "application/yaml", &b);
		return;
	}
	if (r->options.pretty)
		json_write_pretty(&b, tree, 2);
	else
		json_write(&b, tree);
	buf_addc(&b, '\n');
	send_buf(r, status, "application/json", &b);
}

static void send_error(struct request *r)
{
	_cleanup_json_ json_t *status = status_from_err(&r->err);
	r->answer_yaml = false;
	send_tree(r, err_http(&r->err), status);
}

static void send_object(struct request *r)
{
	struct object *o = r->result.obj;
	struct buf b = BUF_INIT;
	if (r->answer_yaml || r->options.pretty) {
		_cleanup_json_ json_t *tree = object_tree(o);
		send_tree(r, r->result.http_status, tree);
		return;
	}
	encode_object(r->server, r->res, o->bytes, o->rv, r->format, r->table_include, &b);
	buf_addc(&b, '\n');
	send_buf(r, r->result.http_status, "application/json", &b);
}

/* ---- lists: written in pieces as the client takes them ---- */

struct list_answer {
	struct request *r;
	size_t next;
	struct env_post again;
};

/* One piece, appended. True: that was all of it. */
static bool list_piece(struct list_answer *l, struct buf *out)
{
	struct request *r = l->r;
	struct result *res = &r->result;
	size_t rows = r->format == FORMAT_JSON ? SIZE_MAX : ROWS_A_PIECE;
	if (l->next == 0)
		encode_list_head(r->res, r->format, res->list_rv, res->continue_token, res->remaining, out);
	while (l->next < res->n_items && out->len < PIECE_BYTES && rows-- > 0) {
		struct item *it = &res->items[l->next];
		if (l->next++ > 0)
			buf_addc(out, ',');
		encode_item(r->server, r->res, it->bytes, it->rv, r->format, r->table_include, out);
	}
	if (l->next < res->n_items)
		return false;
	encode_list_tail(out);
	return true;
}

static void list_pump(struct list_answer *l);

static void list_drained(void *arg, struct http_request *hr)
{
	(void)hr;
	list_pump(arg);
}

static void list_again(struct env_post *p)
{
	list_pump(CONTAINER_OF(p, struct list_answer, again));
}

static void list_pump(struct list_answer *l)
{
	struct request *r = l->r;
	_cleanup_buf_ struct buf b = BUF_INIT;
	bool last = list_piece(l, &b);
	http_write(r->http, b.data, b.len);
	if (last) {
		http_end(STEAL(r->http));
		request_finish(r);
	} else if (http_unsent(r->http) > UNSENT_MAX) {
		http_on_drain(r->http, list_drained, l);
	} else {
		env_post(r->server->env, &l->again);
	}
}

static bool send_list(struct request *r)
{
	struct list_answer *l = NEW(struct list_answer);
	struct buf b = BUF_INIT;
	l->r = r;
	l->again.fn = list_again;
	r->door_data = l;
	if (r->result.n_items)
		buf_reserve(&b, MIN(r->result.n_items * (r->result.items[0].bytes->len + 64u), PIECE_BYTES + 4096u));
	bool whole = list_piece(l, &b);
	while (!whole && r->answer_yaml) { /* YAML is made of the whole tree */
		_cleanup_buf_ struct buf piece = BUF_INIT;
		whole = list_piece(l, &piece);
		buf_add(&b, piece.data, piece.len);
	}
	if (whole) {
		if (r->answer_yaml) {
			_cleanup_json_ json_t *tree = NULL;
			json_parse(b.data, b.len, &tree, NULL);
			buf_done(&b);
			b = BUF_INIT;
			send_tree(r, 200, tree);
		} else {
			send_buf(r, 200, "application/json", &b);
		}
		return true;
	}
	struct headers h = {0};
	common_headers(r, &h, "application/json");
	http_respond_start(r->http, 200, h.list);
	headers_done(&h);
	http_write(r->http, b.data, b.len);
	buf_done(&b);
	env_post(r->server->env, &l->again);
	return false;
}

static bool http_answer(struct request *r)
{
	if (r->err.code) {
		send_error(r);
		return true;
	}
	switch (r->result.type) {
	case RESULT_OBJECT:
		send_object(r);
		return true;
	case RESULT_LIST:
		return send_list(r);
	case RESULT_BYTES:
		send_buf(r, r->result.http_status, r->result.content_type, &r->result.bytes);
		return true;
	case RESULT_TREE:
		send_tree(r, r->result.http_status, r->result.tree);
		return true;
	case RESULT_NONE:
		break;
	}
	err_status(&r->err, ERR_INTERNAL_ERROR, "the request has no answer");
	send_error(r);
	return true;
}

static void http_free(struct request *r)
{
	struct list_answer *l = r->door_data;
	if (!l)
		return;
	env_post_cancel(r->server->env, &l->again);
	free(l);
}

const struct door http_door = {http_answer, http_free};
