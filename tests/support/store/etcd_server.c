#include "tests/support/store/etcd_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/core/file.h"
#include "lib/core/util.h"

bool etcd_server_installed(void)
{
	return access("/usr/bin/etcd", X_OK) == 0;
}

static uint16_t free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	MUST(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	     getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return ntohs(a.sin_port);
}

static void write_file(const struct etcd_server *s, const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", s->dir, name);
	MUST(file_write_atomic(path, text, strlen(text), 0600, NULL) == 0);
}

static void make_certs(struct etcd_server *s)
{
	static const char *const ips[] = {"127.0.0.1", NULL}, *const names[] = {"localhost", NULL};
	int64_t now = time(NULL);
	struct pki_request req = {.common_name = "etcd",
				  .dns_names = names,
				  .ips = ips,
				  .server = true,
				  .client = true,
				  .not_before_s = now - 3600,
				  .not_after_s = now + 3600};
	MUST(pki_make_ca("test", now - 3600, now + 3600, &s->ca, NULL) == 0);
	MUST(pki_issue(&s->ca, &req, &s->cert, NULL) == 0);
	write_file(s, "ca.pem", s->ca.cert_pem);
	write_file(s, "cert.pem", s->cert.cert_pem);
	write_file(s, "key.pem", s->cert.key_pem);
}

static void run(struct etcd_server *s)
{
	_cleanup_free_ char *data = xasprintf("%s/data", s->dir), *ca = xasprintf("%s/ca.pem", s->dir),
			    *cert = xasprintf("%s/cert.pem", s->dir), *key = xasprintf("%s/key.pem", s->dir),
			    *cluster = xasprintf("default=%s", s->peer), *log = xasprintf("%s/log", s->dir);
	const char *argv[32] = {"etcd",
				"--data-dir",
				data,
				"--listen-client-urls",
				s->url,
				"--advertise-client-urls",
				s->url,
				"--listen-peer-urls",
				s->peer,
				"--initial-advertise-peer-urls",
				s->peer,
				"--initial-cluster",
				cluster,
				"--max-request-bytes=8388608",
				"--experimental-watch-progress-notify-interval=100ms"};
	const char *const tls[] = {
		"--client-cert-auth", "--trusted-ca-file", ca, "--cert-file", cert, "--key-file", key};
	for (size_t i = 0, n = 15; s->tls && i < ARRAY_LEN(tls); i++)
		argv[n++] = tls[i];
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	execv("/usr/bin/etcd", (char *const *)(const void *)argv);
	_exit(127);
}

/* It listens when it is ready to serve. */
static void await_port(const struct etcd_server *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct timespec pause = {.tv_nsec = 20000000};
	a.sin_port = htons((uint16_t)atoi(strrchr(s->url, ':') + 1));
	for (int i = 0; i < 1000; i++) {
		_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			return;
		nanosleep(&pause, NULL);
	}
	must_fail("etcd listens", __FILE__, __LINE__);
}

void etcd_server_start(struct etcd_server *s)
{
	s->pid = fork();
	MUST(s->pid >= 0);
	if (s->pid == 0)
		run(s);
	await_port(s);
}

void etcd_server_init(struct etcd_server *s, bool tls)
{
	*s = (struct etcd_server){.tls = tls};
	snprintf(s->dir, sizeof(s->dir), "/tmp/mini-etcd-XXXXXX");
	MUST(mkdtemp(s->dir));
	snprintf(s->url, sizeof(s->url), "%s://127.0.0.1:%u", tls ? "https" : "http", free_port());
	snprintf(s->peer, sizeof(s->peer), "http://127.0.0.1:%u", free_port());
	if (tls)
		make_certs(s);
	etcd_server_start(s);
}

void etcd_server_kill(struct etcd_server *s, int signal)
{
	if (s->pid <= 0)
		return;
	kill(s->pid, signal);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

void etcd_server_done(struct etcd_server *s)
{
	etcd_server_kill(s, SIGKILL);
	rm_rf(s->dir, NULL);
	pki_pair_done(&s->ca);
	pki_pair_done(&s->cert);
}
