/* Errors in kubectl's words. */
#define MINI_MINICTL_FAIL_C
#include <errno.h>

#include "cli/minictl/ctl.h"

int ctl_usage(struct err *err, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = err_setv(err, -EINVAL, fmt, ap);
	va_end(ap);
	return rc;
}

static bool from_server(const struct err *err)
{
	return err->reason != ERR_NONE;
}

/* kind.group in details.kind is the resource; Invalid is told with the kind's name. */
static void print_invalid(const struct err *err)
{
	fprintf(stderr, "The %s \"%s\" is invalid", err->kind, err->name);
	int n = MIN(err->n_causes, ERR_CAUSES_MAX);
	if (n == 0 || !err->causes) {
		fprintf(stderr, ": %s\n", err->message);
		return;
	}
	if (n == 1) {
		fprintf(stderr, ": %s: %s\n", err->causes[0].field, err->causes[0].message);
		return;
	}
	fputs(": \n", stderr);
	for (int i = 0; i < n; i++)
		fprintf(stderr, "* %s: %s\n", err->causes[i].field, err->causes[i].message);
	if (err->n_causes > n)
		fprintf(stderr, "* and %d more\n", err->n_causes - n);
}

static void print_unreachable(struct ctl *c, const struct err *err)
{
	const char *server = c->config.server ? c->config.server : "";
	const char *host = strstr(server, "://");
	host = host ? host + 3 : server;
	if (err->code == -ECONNREFUSED)
		fprintf(stderr,
			"The connection to the server %s was refused - did you specify the right host or port?\n",
			host);
	else
		fprintf(stderr, "Unable to connect to the server: %s\n", err->message);
}

static bool is_network(int code)
{
	return code == -ECONNREFUSED || code == -EHOSTUNREACH || code == -ENETUNREACH || code == -ECONNRESET ||
	       code == -EPIPE || code == -ECONNABORTED;
}

void ctl_fail(struct ctl *c, const struct err *err, const char *context)
{
	fflush(stdout);
	c->failures++;
	const char *sep = context ? ": " : "";
	context = context ? context : "";
	if (!from_server(err) && is_network(err->code) && c->client)
		print_unreachable(c, err);
	else if (!from_server(err))
		fprintf(stderr, "error: %s%s%s\n", context, sep, err->message);
	else if (err->reason == ERR_UNAUTHORIZED)
		fprintf(stderr, "error: You must be logged in to the server (Unauthorized)\n");
	else if (err->reason == ERR_INVALID && *err->kind)
		print_invalid(err);
	else
		fprintf(stderr, "Error from server (%s): %s%s%s\n", err_reason_str(err->reason), context, sep,
			err->message);
}
