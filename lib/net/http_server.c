#include "lib/net/http_server.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { BACKLOG = 1024 };

static void maybe_free(struct http_server *s)
{
	if (s->closing && !s->freeing && s->n_conns == 0 && s->n_listeners == 0) {
		s->freeing = true;
		env_timer_stop(s->group.env, &s->grace);
		conn_group_close(&s->group);
	}
}

static void group_closed(struct conn_group *g)
{
	struct http_server *s = CONTAINER_OF(g, struct http_server, group);
	void (*done)(void *arg) = s->done;
	void *arg = s->done_arg;
	while (s->listeners) {
		struct listener *l = s->listeners;
		s->listeners = l->next;
		free(l);
	}
	tls_context_unref(s->tls);
	s->magic = 0;
	free(s);
	if (done)
		done(arg);
}

struct http_server *http_server_new(struct env *env, uv_loop_t *loop, struct tls_context *tls,
				    const struct http_limits *limits, const struct http_server_ops *ops, void *arg)
{
	struct http_server *s = NEW(struct http_server);
	s->magic = SERVER_MAGIC;
	conn_group_init(&s->group, env, loop, group_closed);
	s->tls = tls_context_ref(tls);
	s->limits = limits ? *limits : (struct http_limits){0};
	s->limits.header_bytes = s->limits.header_bytes ? s->limits.header_bytes : 64 * 1024;
	s->limits.body_bytes = s->limits.body_bytes ? s->limits.body_bytes : 3 * 1024 * 1024 + 4096;
	s->limits.bodies_bytes = s->limits.bodies_bytes ? s->limits.bodies_bytes : 256 * 1024 * 1024;
	s->limits.connections = s->limits.connections ? s->limits.connections : 4096;
	s->limits.idle_s = s->limits.idle_s ? s->limits.idle_s : 120;
	s->limits.header_s = s->limits.header_s ? s->limits.header_s : 10;
	s->limits.body_s = s->limits.body_s ? s->limits.body_s : 60;
	s->limits.out_bytes = s->limits.out_bytes ? s->limits.out_bytes : 16 * 1024 * 1024;
	s->ops = *ops;
	s->arg = arg;
	http_server_set_refusal(s, NULL, NULL);
	list_init(&s->conns);
	list_init(&s->idle);
	return s;
}

/* Room for one more: true when there is. If not, the connection that was idle longest has to go; it counts until its
 * handle is closed, then server__conn_gone() accepts. */
static bool make_room(struct http_server *s)
{
	if (s->n_conns < s->limits.connections)
		return true;
	LIST_EACH (&s->idle, c, struct sconn, idle_node)
		if (conn_unsent(&c->conn) == 0) {
			sconn__close(c);
			break;
		}
	return false;
}

bool server__crowded(const struct http_server *s)
{
	if (s->n_conns < s->limits.connections)
		return false;
	for (const struct listener *l = s->listeners; l; l = l->next)
		if (l->waiting)
			return true;
	return false;
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct listener *l = CONTAINER_OF(stream, struct listener, u.stream);
	if (status < 0 || l->server->closing)
		return;
	/* As long as it is not accepted, libuv does not look for more. */
	if (!make_room(l->server))
		l->waiting = true;
	else
		sconn__accept(l->server, l);
}

void server__conn_gone(struct http_server *s)
{
	s->n_conns--;
	for (struct listener *l = s->listeners; l && !s->closing; l = l->next)
		if (l->waiting && s->n_conns < s->limits.connections) {
			l->waiting = false;
			sconn__accept(s, l);
		}
	maybe_free(s);
}

static void listener_closed(uv_handle_t *h)
{
	struct listener *l = CONTAINER_OF(h, struct listener, u.handle);
	l->server->n_listeners--;
	maybe_free(l->server);
}

static struct listener *listener_new(struct http_server *s, bool pipe)
{
	struct listener *l = NEW(struct listener);
	l->server = s;
	l->pipe = pipe;
	l->next = s->listeners;
	s->listeners = l;
	s->n_listeners++;
	if (pipe)
		MUST(uv_pipe_init(s->group.loop, &l->u.pipe, 0) == 0);
	else
		MUST(uv_tcp_init(s->group.loop, &l->u.tcp) == 0);
	return l;
}

static int listen_failed(struct listener *l, struct err *err, int rc, const char *where)
{
	uv_close(&l->u.handle, listener_closed);
	return err_set(err, rc, "cannot listen on %s: %s", where, uv_strerror(rc));
}

int http_server_listen(struct http_server *s, const char *host, uint16_t port, struct err *err)
{
	MAGIC_CHECK(s, SERVER_MAGIC);
	struct sockaddr_storage addr = {0};
	char where[128];
	snprintf(where, sizeof(where), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
	if (uv_ip4_addr(host, port, (struct sockaddr_in *)&addr) &&
	    uv_ip6_addr(host, port, (struct sockaddr_in6 *)&addr))
		return err_set(err, -EINVAL, "not an IP address to listen on: %s", host);
	struct listener *l = listener_new(s, false);
	int rc = uv_tcp_bind(&l->u.tcp, (struct sockaddr *)&addr, 0);
	if (rc == 0)
		rc = uv_listen(&l->u.stream, BACKLOG, on_connection);
	int len = sizeof(addr);
	if (rc == 0)
		rc = uv_tcp_getsockname(&l->u.tcp, (struct sockaddr *)&addr, &len);
	if (rc)
		return listen_failed(l, err, rc, where);
	s->port = ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
						   : ((struct sockaddr_in *)&addr)->sin_port);
	return 0;
}

/* A socket nobody listens on any more (its owner was killed) is in the way; a living one is not ours to take. */
static int clear_stale(const char *path, struct err *err)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct stat st;
	if (strlen(path) >= sizeof(un.sun_path))
		return err_set(err, -ENAMETOOLONG, "socket path is longer than %zu bytes: %s", sizeof(un.sun_path) - 1,
			       path);
	if (lstat(path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "%s exists and is not a socket", path);
	memcpy(un.sun_path, path, strlen(path) + 1);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, "socket");
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0 || errno == EAGAIN)
		return err_set(err, -EADDRINUSE, "another process listens on %s", path);
	if (unlink(path) && errno != ENOENT)
		return err_errno(err, "cannot remove %s", path);
	return 0;
}

int http_server_listen_unix(struct http_server *s, const char *path, unsigned mode, struct err *err)
{
	MAGIC_CHECK(s, SERVER_MAGIC);
	int rc = clear_stale(path, err);
	if (rc)
		return rc;
	struct listener *l = listener_new(s, true);
	/* The mode is set before anyone can connect: connecting works from listen() on. */
	if ((rc = uv_pipe_bind(&l->u.pipe, path)) || (rc = chmod(path, mode) ? -errno : 0) ||
	    (rc = uv_listen(&l->u.stream, BACKLOG, on_connection)))
		return listen_failed(l, err, rc, path);
	return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
	return s->port;
}

static void refusal_text(int status, const char *reason, struct buf *body)
{
	buf_addf(body, "%d %s: %s\n", status, http_status_text(status), reason);
}

void http_server_set_refusal(struct http_server *s, const char *content_type,
			     void (*render)(int status, const char *reason, struct buf *body))
{
	s->refusal_type = render ? content_type : "text/plain; charset=utf-8";
	s->refusal = render ? render : refusal_text;
}

void http_server_set_tls(struct http_server *s, struct tls_context *tls)
{
	struct tls_context *old = s->tls;
	s->tls = tls_context_ref(tls);
	tls_context_unref(old);
}

static void on_grace(struct env_timer *t)
{
	struct http_server *s = CONTAINER_OF(t, struct http_server, grace);
	LIST_EACH (&s->conns, c, struct sconn, node)
		sconn__close(c);
}

void http_server_close(struct http_server *s, unsigned grace_ms, void (*done)(void *arg), void *arg)
{
	MAGIC_CHECK(s, SERVER_MAGIC);
	MUST(!s->closing);
	s->closing = true;
	s->done = done;
	s->done_arg = arg;
	for (struct listener *l = s->listeners; l; l = l->next)
		if (!uv_is_closing(&l->u.handle))
			uv_close(&l->u.handle, listener_closed);
	/* Idle and half-begun connections have nothing to lose; nobody's callback is involved in ending them. */
	LIST_EACH (&s->conns, c, struct sconn, node)
		if (c->state == SCONN_SHAKING || c->state == SCONN_READING ||
		    (c->state == SCONN_IDLE && conn_unsent(&c->conn) == 0))
			sconn__close(c);
		else
			conn_mark(&c->conn);
	s->grace.fn = on_grace;
	env_timer_start(s->group.env, &s->grace, (uint64_t)grace_ms * 1000);
	if (s->n_listeners == 0)
		maybe_free(s);
}
