/* /portForward: TCP connections into a pod's network, from a client's pairs of streams: one for data, one for an error's
 * text. A connection is to 127.0.0.1 as the pod sees it.
 *
 *   both streams -> socket of the pod's network -> connecting -> copying both ways -> each side ends -> closed
 */
#include <netinet/in.h>

#include "nodeagent/remote.h"

#define PORTS_MAGIC     0x706f7274u
#define CONNECTIONS_MAX 256          /* of one client at once */
#define REQUEST_MAX     64           /* bytes of the name that joins two streams */
#define ENOUGH          (128 * 1024) /* waiting for the pod to take it */
#define LITTLE          (32 * 1024)

struct ports_session {
	uint32_t magic;
	struct node_server *s;
	struct remote *remote;
	char *sandbox_id, *pod_name, *pod_uid;
	struct list forwards;
	unsigned n, n_full; /* connections; those that take nothing more */
	bool full;          /* the client takes nothing more */
};

struct forward {
	struct list node;
	struct ports_session *session; /* NULL: closing */
	char *request;
	uint16_t port;
	uint32_t data_id, error_id; /* 0: not there yet */
	struct env_post begin;
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_shutdown_t shutdown;
	struct buf waiting; /* what came before it was connected */
	bool has_handle, connected, full;
	bool client_ended, flushed, pod_ended; /* flushed: the pod has all of it, and knows that it was all */
};

struct write_req {
	uv_write_t req;
	struct forward *f;
	char data[];
};

static struct ports_session *session_of(void *arg)
{
	struct ports_session *x = arg;
	MAGIC_CHECK(x, PORTS_MAGIC);
	return x;
}

/* ---- the end of a connection ---- */

static void forward_free(struct forward *f)
{
	buf_done(&f->waiting);
	free(f->request);
	free(f);
}

static void on_handle_closed(uv_handle_t *h)
{
	forward_free(CONTAINER_OF((uv_tcp_t *)h, struct forward, tcp));
}

static void set_full(struct forward *f, bool full)
{
	struct ports_session *x = f->session;
	if (f->full == full)
		return;
	f->full = full;
	x->n_full += full ? 1 : -1u;
	remote_pause(x->remote, x->n_full > 0);
}

/* The streams are left as they are. */
static void drop(struct forward *f)
{
	struct ports_session *x = f->session;
	env_post_cancel(x->s->n->env, &f->begin);
	list_del(&f->node);
	f->session = NULL;
	x->n--;
	if (f->has_handle)
		uv_close((uv_handle_t *)&f->tcp, on_handle_closed);
	else
		forward_free(f);
}

static void forward_close(struct forward *f)
{
	struct remote *m = f->session->remote;
	set_full(f, false);
	if (f->data_id && !f->pod_ended)
		remote_end(m, f->data_id);
	if (f->error_id)
		remote_end(m, f->error_id);
	drop(f);
}

static void forward_fail(struct forward *f, const char *why)
{
	struct ports_session *x = f->session;
	char text[512];
	int n = snprintf(text, sizeof(text), "error forwarding port %u to pod %s, uid %s: %.300s", f->port, x->pod_name,
			 x->pod_uid, why);
	remote_send(x->remote, f->error_id, text, MIN((size_t)n, sizeof(text) - 1));
	forward_close(f);
}

/* ---- to the pod ---- */

static void on_written(uv_write_t *req, int status)
{
	struct write_req *w = CONTAINER_OF(req, struct write_req, req);
	struct forward *f = w->f;
	free(w);
	(void)status; /* who does not read any more says so on the other way, too */
	if (f->session && uv_stream_get_write_queue_size((uv_stream_t *)&f->tcp) < LITTLE)
		set_full(f, false);
}

static void write_pod(struct forward *f, const void *data, size_t len)
{
	struct write_req *w = xmalloc(sizeof(*w) + len);
	w->f = f;
	memcpy(w->data, data, len);
	uv_buf_t b = uv_buf_init(w->data, (unsigned)len);
	if (uv_write(&w->req, (uv_stream_t *)&f->tcp, &b, 1, on_written) != 0)
		free(w);
	if (uv_stream_get_write_queue_size((uv_stream_t *)&f->tcp) > ENOUGH)
		set_full(f, true);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct forward *f = CONTAINER_OF(req, struct forward, shutdown);
	(void)status;
	if (!f->session)
		return;
	f->flushed = true;
	if (f->pod_ended)
		forward_close(f);
}

static void end_pod(struct forward *f)
{
	if (f->connected && uv_shutdown(&f->shutdown, (uv_stream_t *)&f->tcp, on_shutdown) != 0)
		forward_close(f);
}

/* ---- from the pod ---- */

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *ret)
{
	static char bytes[65536]; /* copied before the next read */
	(void)h, (void)size;
	*ret = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf);

static void read_pods(struct ports_session *x)
{
	LIST_EACH (&x->forwards, f, struct forward, node) {
		uv_stream_t *st = (uv_stream_t *)&f->tcp;
		if (f->connected && x->full)
			uv_read_stop(st);
		else if (f->connected && !f->pod_ended)
			uv_read_start(st, on_alloc, on_read);
	}
}

static void on_read(uv_stream_t *st, ssize_t n, const uv_buf_t *buf)
{
	struct forward *f = CONTAINER_OF((uv_tcp_t *)st, struct forward, tcp);
	struct ports_session *x = f->session;
	if (n > 0 && !remote_send(x->remote, f->data_id, buf->base, (size_t)n)) {
		x->full = true;
		read_pods(x);
	}
	if (n >= 0)
		return;
	uv_read_stop(st);
	f->pod_ended = true;
	remote_end(x->remote, f->data_id);
	/* with an error nothing can be sent to it either */
	if (f->flushed || n != UV_EOF)
		forward_close(f);
}

static void on_connect(uv_connect_t *req, int status)
{
	struct forward *f = CONTAINER_OF(req, struct forward, connect);
	char text[128];
	if (!f->session)
		return;
	if (status != 0) {
		snprintf(text, sizeof(text), "failed to connect to localhost:%u inside the pod: %s", f->port,
			 uv_strerror(status));
		forward_fail(f, text);
		return;
	}
	f->connected = true;
	uv_tcp_nodelay(&f->tcp, 1);
	set_full(f, false);
	if (f->waiting.len)
		write_pod(f, f->waiting.data, f->waiting.len);
	buf_done(&f->waiting);
	read_pods(f->session);
	if (f->client_ended)
		end_pod(f);
}

static void on_begin(struct env_post *p)
{
	struct forward *f = CONTAINER_OF(p, struct forward, begin);
	struct nodeagent *n = f->session->s->n;
	_cleanup_err_ struct err err = ERR_INIT;
	_cleanup_close_ int fd = -1;
	const struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(f->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (n->runtime->ops->sandbox_socket(n->runtime, f->session->sandbox_id, &fd, &err) < 0) {
		forward_fail(f, err.message);
		return;
	}
	uv_tcp_init(n->loop, &f->tcp);
	f->has_handle = true;
	int rc = uv_tcp_open(&f->tcp, fd);
	if (rc == 0) {
		fd = -1;
		rc = uv_tcp_connect(&f->connect, &f->tcp, (const struct sockaddr *)&to, on_connect);
	}
	if (rc < 0)
		forward_fail(f, uv_strerror(rc));
}

/* ---- what the client says ---- */

static struct forward *forward_of(struct ports_session *x, const char *request, uint16_t port)
{
	LIST_EACH (&x->forwards, f, struct forward, node) {
		if (f->port == port && streq(f->request, request))
			return f;
	}
	if (x->n == CONNECTIONS_MAX)
		return NULL;
	struct forward *f = NEW(struct forward);
	f->session = x;
	f->request = xstrdup(request);
	f->port = port;
	f->begin.fn = on_begin;
	list_push(&x->forwards, &f->node);
	x->n++;
	return f;
}

static bool on_stream(void *arg, uint32_t id, const struct http_header *headers)
{
	struct ports_session *x = session_of(arg);
	const char *type = remote_header(headers, "streamtype"), *request = remote_header(headers, "requestid");
	uint64_t port;
	if (id == 0 || !*request || strlen(request) > REQUEST_MAX ||
	    parse_u64(remote_header(headers, "port"), &port) < 0 || port < 1 || port > 65535 ||
	    (!streq(type, "error") && !streq(type, "data")))
		return false;
	struct forward *f = forward_of(x, request, (uint16_t)port);
	uint32_t *slot = !f ? NULL : streq(type, "data") ? &f->data_id : &f->error_id;
	if (!slot || *slot)
		return false;
	*slot = id;
	if (f->data_id && f->error_id)
		env_post(x->s->n->env, &f->begin);
	return true;
}

static struct forward *find(struct ports_session *x, uint32_t id)
{
	LIST_EACH (&x->forwards, f, struct forward, node) {
		if (f->data_id == id || f->error_id == id)
			return f;
	}
	return NULL;
}

static void on_data(void *arg, uint32_t id, const void *data, size_t len)
{
	struct forward *f = find(session_of(arg), id);
	if (!f || id != f->data_id || f->client_ended)
		return;
	if (f->connected) {
		write_pod(f, data, len);
		return;
	}
	buf_add(&f->waiting, data, len);
	if (f->waiting.len > ENOUGH)
		set_full(f, true);
}

static void on_end(void *arg, uint32_t id, bool reset)
{
	struct forward *f = find(session_of(arg), id);
	if (f && reset) {
		forward_close(f);
	} else if (f && id == f->data_id && !f->client_ended) {
		f->client_ended = true;
		end_pod(f);
	}
}

static void on_drain(void *arg)
{
	struct ports_session *x = session_of(arg);
	x->full = false;
	read_pods(x);
}

static void session_free(struct ports_session *x)
{
	LIST_EACH (&x->forwards, f, struct forward, node)
		drop(f);
	free(x->sandbox_id);
	free(x->pod_name);
	free(x->pod_uid);
	x->magic = 0;
	free(x);
}

static void on_close(void *arg)
{
	session_free(session_of(arg));
}

void server_ports(struct node_server *s, struct http_request *r, struct pod *p)
{
	static const struct remote_ops ops = {.on_stream = on_stream,
					      .on_data = on_data,
					      .on_end = on_end,
					      .on_drain = on_drain,
					      .on_close = on_close};
	if (p->sandbox != SANDBOX_READY) {
		server_text(r, 404, "pod \"%s_%s\" has no running sandbox\n", p->name, p->ns);
		return;
	}
	struct ports_session *x = NEW(struct ports_session);
	*x = (struct ports_session){.magic = PORTS_MAGIC,
				    .s = s,
				    .sandbox_id = xstrdup(p->sandbox_id),
				    .pod_name = xstrdup(p->name),
				    .pod_uid = xstrdup(p->uid)};
	list_init(&x->forwards);
	x->remote = remote_accept(s, r, REMOTE_PORTS, &ops, x);
	if (!x->remote)
		session_free(x);
}
