/* PID 1 of a pod's sandbox: holds its namespaces, reaps orphans, ends on SIGTERM or SIGINT. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	sigset_t wanted;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	/* Blocked before the first wait, so that no signal falls between a check and the sleep. */
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	for (;;) {
		int sig = sigwaitinfo(&wanted, NULL);
		if (sig == SIGTERM || sig == SIGINT)
			return 0;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
