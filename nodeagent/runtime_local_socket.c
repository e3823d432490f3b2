/* Sockets of a sandbox's network. The namespace is a thread's, so a thread goes there, opens the socket, and ends: none that
 * does anything else ever leaves the host's network. */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>

#include "nodeagent/runtime_local_priv.h"

struct visit {
	int pidfd, fd; /* whose network; the socket, or a negative errno */
};

static void *visit(void *arg)
{
	struct visit *v = arg;
	v->fd = setns(v->pidfd, CLONE_NEWNET) < 0 ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (v->fd < 0)
		v->fd = -errno;
	return NULL;
}

int local_sandbox_socket(struct runtime *r, const char *id, int *ret_fd, struct err *err)
{
	struct runtime_local *rl = runtime_local__of(r);
	_cleanup_(oci_state_done) struct oci_state st = {0};
	_cleanup_close_ int pidfd = -1;
	pthread_t thread;
	int rc = oci_state_read(rl->root, id, &st, err);
	if (rc < 0)
		return rc;
	if (st.status != OCI_RUNNING || (rc = proc_open(&st.init, &pidfd, err)) < 0)
		return err_set(err, -ESRCH, "sandbox %s is not running", id);
	struct visit v = {.pidfd = pidfd};
	rc = pthread_create(&thread, NULL, visit, &v);
	if (rc != 0)
		return err_set(err, -rc, "a thread for the network of sandbox %s: %s", id, strerror(rc));
	pthread_join(thread, NULL);
	if (v.fd < 0)
		return err_set(err, v.fd, "the network of sandbox %s: %s", id, strerror(-v.fd));
	*ret_fd = v.fd;
	return 0;
}
