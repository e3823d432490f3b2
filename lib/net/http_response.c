#include <errno.h>

#include "lib/net/http_parse.h"

static int add_text(struct http_response_parse *p, const char *at, size_t len)
{
	if (p->head.len + len > p->header_max || memchr(at, 0, len))
		return HPE_USER;
	buf_add(&p->head, at, len);
	return 0;
}

/* Ends what is open and begins the next text in head. */
static int begin_text(struct http_response_parse *p)
{
	if (p->head.len + 1 > p->header_max)
		return HPE_USER;
	if (p->n_offsets)
		buf_addc(&p->head, 0);
	GROW(p->offsets, p->cap_offsets, p->n_offsets + 1);
	p->offsets[p->n_offsets++] = (unsigned)p->head.len;
	return 0;
}

static int on_field(llhttp_t *l, const char *at, size_t len)
{
	struct http_response_parse *p = l->data;
	if (p->head_done)
		return 0;
	/* The first piece of a name comes when the number of texts is even: names and values alternate. */
	if (p->n_offsets % 2 == 0) {
		int rc = begin_text(p);
		if (rc)
			return rc;
	}
	return add_text(p, at, len);
}

static int on_field_complete(llhttp_t *l)
{
	struct http_response_parse *p = l->data;
	return p->head_done ? 0 : begin_text(p);
}

static int on_value(llhttp_t *l, const char *at, size_t len)
{
	struct http_response_parse *p = l->data;
	return p->head_done ? 0 : add_text(p, at, len);
}

static int on_headers_complete(llhttp_t *l)
{
	struct http_response_parse *p = l->data;
	unsigned n = p->n_offsets / 2;
	p->status = l->status_code;
	if (p->status >= 100 && p->status < 200 && p->status != 101) {
		/* An interim answer: forgotten, the real one follows. */
		buf_clear(&p->head);
		p->n_offsets = 0;
		return 0;
	}
	buf_addc(&p->head, 0);
	free(p->headers);
	p->headers = NEW_N(struct http_header, n + 1);
	for (unsigned i = 0; i < n; i++) {
		char *value = p->head.data + p->offsets[2 * i + 1];
		for (size_t k = strlen(value); k && (value[k - 1] == ' ' || value[k - 1] == '\t'); k--)
			value[k - 1] = 0;
		p->headers[i] = (struct http_header){p->head.data + p->offsets[2 * i], value};
	}
	p->head_done = true;
	p->upgraded = p->status == 101;
	p->on_head(p->arg, p->status, p->headers);
	if (p->stopped(p->arg))
		return HPE_USER;
	/* 1: no body whatever the headers say (HEAD). 2: what follows is another protocol. */
	return p->upgraded ? 2 : p->skip_body ? 1 : 0;
}

static int on_body(llhttp_t *l, const char *at, size_t len)
{
	struct http_response_parse *p = l->data;
	p->on_body(p->arg, at, len);
	return p->stopped(p->arg) ? HPE_USER : 0;
}

static int on_message_complete(llhttp_t *l)
{
	struct http_response_parse *p = l->data;
	if (!p->head_done)
		return 0;
	p->complete = true;
	return HPE_PAUSED;
}

static const llhttp_settings_t response_settings = {
	.on_header_field = on_field,
	.on_header_field_complete = on_field_complete,
	.on_header_value = on_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

void http_response_init(struct http_response_parse *p, bool to_head_request, size_t header_max)
{
	*p = (struct http_response_parse){.skip_body = to_head_request, .header_max = header_max};
	llhttp_init(&p->llhttp, HTTP_RESPONSE, &response_settings);
	p->llhttp.data = p;
}

void http_response_done(struct http_response_parse *p)
{
	buf_done(&p->head);
	free(STEAL(p->offsets));
	free(STEAL(p->headers));
}

ssize_t http_response_feed(struct http_response_parse *p, const char *data, size_t len, const char **ret_why)
{
	enum llhttp_errno e = llhttp_execute(&p->llhttp, data, len);
	if (p->stopped(p->arg))
		return -ECANCELED;
	if (e == HPE_OK)
		return (ssize_t)len;
	if (p->complete || (p->upgraded && (e == HPE_PAUSED || e == HPE_PAUSED_UPGRADE))) {
		p->complete = true;
		return llhttp_get_error_pos(&p->llhttp) - data;
	}
	*ret_why = e == HPE_USER ? "response header too large" : llhttp_errno_name(e);
	return -EPROTO;
}

int http_response_eof(struct http_response_parse *p)
{
	if (!p->head_done || !llhttp_message_needs_eof(&p->llhttp))
		return -ECONNRESET;
	llhttp_finish(&p->llhttp);
	return p->complete ? 0 : -ECONNRESET;
}
