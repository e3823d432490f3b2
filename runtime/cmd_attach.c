/* attach: our stdio is the container's, from now until it ends; it is the shim that has it. What the window's size becomes
 * is read from --control-fd. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sys/socket.h>

#include "runtime/cmd.h"
#include "runtime/relay.h"
#include "runtime/shim_attach.h"

struct attachment {
	int fd, control_fd;
	bool with_stdin, ended;
	struct pump in, out; /* packets: the first byte says what */
	char error[200];
};

static int parse_options(int argc, char **argv, struct attachment *a, const char **ret_id, struct err *err)
{
	static const struct option opts[] = {
		{"stdin", no_argument, NULL, 'i'}, {"control-fd", required_argument, NULL, 'C'}, {0}};
	int c, r;
	while ((c = getopt_long(argc, argv, "+i", opts, NULL)) != -1) {
		if (c == 'i')
			a->with_stdin = true;
		else if (c != 'C')
			return cmd_usage(err, "attach");
		else if ((r = cmd_parse_count(optarg, &a->control_fd, err)) < 0)
			return r;
	}
	if ((r = cmd_one_id(argc, argv, ret_id, err)) < 0)
		return r;
	return oci_id_valid(*ret_id) ? 0 : err_set(err, -EINVAL, "container id %.110s is not valid", *ret_id);
}

static void send_in(struct attachment *a)
{
	ssize_t n = send(a->fd, a->in.data, a->in.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n >= 0 || (errno != EAGAIN && errno != EINTR))
		a->in.len = 0; /* its end, if that is why, is seen where we read */
}

static void read_in(struct attachment *a)
{
	ssize_t n = read(STDIN_FILENO, a->in.data + 1, RELAY_BYTES);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	a->in.data[0] = n > 0 ? 'i' : 'e';
	a->in.len = 1 + (size_t)MAX(n, 0);
	if (n <= 0)
		a->in.from = -1;
	send_in(a);
}

static void read_out(struct attachment *a)
{
	struct pump *out = &a->out;
	ssize_t n = recv(a->fd, out->data, sizeof(out->data), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		out->from = -1;
		a->ended = true;
		return;
	}
	if (out->data[0] == '!') {
		snprintf(a->error, sizeof(a->error), "%.*s", (int)n - 1, out->data + 1);
		return;
	}
	out->to = out->data[0] == 2 ? STDERR_FILENO : STDOUT_FILENO;
	out->off = 1;
	out->len = (size_t)n - 1;
}

static void send_size(struct attachment *a)
{
	char packet[1 + sizeof(struct winsize)] = {'r'};
	struct winsize ws;
	if (!relay_size(&a->control_fd, &ws))
		return;
	memcpy(packet + 1, &ws, sizeof(ws));
	(void)send(a->fd, packet, sizeof(packet), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* False: whoever wanted this is gone. */
static bool step(struct attachment *a)
{
	struct pollfd p[5] = {
		{.fd = STDOUT_FILENO, .events = 0},
		{.fd = a->control_fd, .events = POLLIN},
		{.fd = pump_reads(&a->in) ? a->in.from : -1, .events = POLLIN},
		{.fd = a->ended ? -1 : a->fd, .events = (short)((a->in.len ? POLLOUT : 0) | pump_reads(&a->out))},
		{.fd = a->out.len ? a->out.to : -1, .events = POLLOUT},
	};
	if (poll(p, ARRAY_LEN(p), -1) < 0)
		return errno == EINTR;
	if (p[0].revents & (POLLERR | POLLHUP))
		return false;
	if (p[1].revents)
		send_size(a);
	if (p[2].revents)
		read_in(a);
	if (p[3].revents & POLLOUT)
		send_in(a);
	if (p[3].revents && pump_reads(&a->out))
		read_out(a);
	if (p[4].revents)
		pump_write(&a->out);
	return true;
}

int cmd_attach(const struct runtime_global *g, int argc, char **argv, struct err *err)
{
	struct attachment a = {.control_fd = -1, .in = {.from = -1}, .out = {.from = -1}};
	const char *id;
	int r = parse_options(argc, argv, &a, &id, err);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = attach_connect(g->root, id, err);
	if (fd < 0)
		return fd;
	a.fd = a.out.from = fd;
	if (a.with_stdin) {
		a.in.from = STDIN_FILENO;
		a.in.data[0] = 'i'; /* something will come */
		a.in.len = 1;
		send_in(&a);
	}
	while ((!a.ended || a.out.len) && step(&a))
		;
	return a.error[0] ? err_set(err, -EBUSY, "%s", a.error) : 0;
}
