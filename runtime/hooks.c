#include "runtime/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

bool hooks_any(const struct spec *s, const char *kind)
{
	return json_array_size(json_object_get(json_object_get(s->json, "hooks"), kind)) > 0;
}

json_t *hooks_state_json(const struct spec *s, const struct oci_state *st)
{
	json_t *j = json_pack("{s:s,s:s,s:s,s:i,s:s}", "ociVersion", "1.0.2", "id", st->id, "status",
			      oci_status_str(st->status), "pid", st->status == OCI_STOPPED ? 0 : (int)st->init.pid,
			      "bundle", st->bundle ? st->bundle : "");
	json_t *a = s ? json_object_get(s->json, "annotations") : NULL;
	if (j && json_object_size(a))
		json_object_set(j, "annotations", a);
	return j;
}

static void run_child(const char *path, const char **args, const char **env, int in)
{
	static const char *const none[] = {NULL};
	const char *const self[] = {path, NULL};
	dup2(in, 0);
	execve(path, (char *const *)(uintptr_t)(args && args[0] ? (const void *)args : (const void *)self),
	       (char *const *)(uintptr_t)(env ? (const void *)env : (const void *)none));
	dprintf(2, "hook %s: %s\n", path, strerror(errno));
	_exit(127);
}

static int wait_child(pid_t pid, int timeout_s, const char *path, struct err *err)
{
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int status, r = pidfd < 0 || timeout_s <= 0 ? 1 : poll(&p, 1, timeout_s * 1000);
	if (r == 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(err, "hook %s", path);
	if (r == 0)
		return err_set(err, -ETIMEDOUT, "hook %s did not end within %d s", path, timeout_s);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(err, -EIO, "hook %s failed (%s %d)", path, WIFEXITED(status) ? "exit code" : "signal",
			       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return 0;
}

static int run_one(json_t *hook, const char *state, struct err *err)
{
	const char *path = json_str_at(hook, "path");
	_cleanup_free_ const char **args = NULL, **env = NULL;
	int r, in[2];
	if (!path || path[0] != '/')
		return err_set(err, -EINVAL, "config.json: a hook's path is not absolute");
	if ((r = json_strv(json_object_get(hook, "args"), "hook args", &args, err)) < 0 ||
	    (r = json_strv(json_object_get(hook, "env"), "hook env", &env, err)) < 0)
		return r;
	if (pipe2(in, O_CLOEXEC) < 0)
		return err_errno(err, "hook %s", path);
	pid_t pid = fork();
	if (pid == 0)
		run_child(path, args, env, in[0]);
	close(in[0]);
	if (pid < 0) {
		close(in[1]);
		return err_errno(err, "hook %s", path);
	}
	/* A state fits a pipe; a hook that doesn't read it must not end us by SIGPIPE (ignored in main). */
	(void)!write(in[1], state, strlen(state));
	close(in[1]);
	return wait_child(pid, (int)json_integer_value(json_object_get(hook, "timeout")), path, err);
}

int hooks_run(const struct spec *s, const char *kind, const struct oci_state *st, struct err *err)
{
	if (!hooks_any(s, kind))
		return 0;
	json_t *j = hooks_state_json(s, st), *hook;
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	int r = text ? 0 : err_set(err, -EINVAL, "hooks: the state is not valid UTF-8");
	size_t i;
	json_array_foreach(json_object_get(json_object_get(s->json, "hooks"), kind), i, hook)
	{
		if (r < 0)
			break;
		r = run_one(hook, text, err);
		if (r < 0)
			err_prefix(err, "%s hook %zu", kind, i);
	}
	free(text);
	return r;
}
