#include "nodeagent/runtime_local.h"

#include <errno.h>

#include "lib/core/file.h"
#include "nodeagent/runtime_local_priv.h"

struct runtime_local *runtime_local__of(struct runtime *r)
{
	struct runtime_local *rl = CONTAINER_OF(r, struct runtime_local, base);
	MAGIC_CHECK(rl, RUNTIME_LOCAL_MAGIC);
	return rl;
}

/* ---- verbs under way ---- */

static void op_work(struct env_work *w)
{
	struct local_op *op = CONTAINER_OF(w, struct local_op, work);
	struct err err = ERR_INIT;
	int r = op->run(op, &err);
	if (r < 0 && err.code == 0)
		err_set(&err, r, "%s", strerror(-r));
	if (r < 0)
		op->err = err;
	else
		err_done(&err);
}

static void op_done(struct env_work *w)
{
	struct local_op *op = CONTAINER_OF(w, struct local_op, work);
	struct runtime_local *rl = op->rl;
	list_del(&op->node);
	op->answer(op);
	json_decref(op->request);
	closep(&op->watch_fd);
	err_done(&op->err);
	free(op);
	runtime_local__maybe_closed(rl);
}

struct local_op *local_op_new(struct runtime_local *rl, const char *id, int (*run)(struct local_op *, struct err *err))
{
	struct local_op *op = NEW(struct local_op);
	op->rl = rl;
	op->run = run;
	op->watch_fd = -1;
	op->work.work = op_work;
	op->work.done = op_done;
	op->work.lane = ENV_LANE_POOL;
	snprintf(op->id, sizeof(op->id), "%s", id);
	list_init(&op->node);
	return op;
}

void local_op_submit(struct local_op *op)
{
	list_push(&op->rl->ops, &op->node);
	env_submit(op->rl->env, &op->work);
}

static void answer_plain(struct local_op *op)
{
	local_watch(op->rl, op->id, STEAL_FD(op->watch_fd));
	op->cb(op->arg, &op->err);
}

static int refuse_id(struct local_op *op, struct err *err)
{
	return err_set(err, -EINVAL, "container id %.100s is not valid", op->id);
}

static void submit(struct runtime *r, const char *id, json_t *request, int (*run)(struct local_op *, struct err *),
		   runtime_cb cb, void *arg)
{
	struct local_op *op = local_op_new(runtime_local__of(r), id, oci_id_valid(id) ? run : refuse_id);
	op->request = request;
	op->answer = answer_plain;
	op->cb = cb;
	op->arg = arg;
	local_op_submit(op);
}

static void run_sandbox(struct runtime *r, const struct runtime_sandbox_config *c, runtime_cb cb, void *arg)
{
	submit(r, c->id, local_request_sandbox(c), local_run_sandbox, cb, arg);
}

static void stop_sandbox(struct runtime *r, const char *id, runtime_cb cb, void *arg)
{
	submit(r, id, NULL, local_stop_sandbox, cb, arg);
}

static void remove_sandbox(struct runtime *r, const char *id, runtime_cb cb, void *arg)
{
	submit(r, id, NULL, local_remove_sandbox, cb, arg);
}

static void create_container(struct runtime *r, const struct runtime_container_config *c, runtime_cb cb, void *arg)
{
	submit(r, c->id, local_request_container(c), local_create_container, cb, arg);
}

static void start_container(struct runtime *r, const char *id, runtime_cb cb, void *arg)
{
	submit(r, id, NULL, local_start_container, cb, arg);
}

static void remove_container(struct runtime *r, const char *id, runtime_cb cb, void *arg)
{
	submit(r, id, NULL, local_remove_container, cb, arg);
}

/* ---- list ---- */

static int list_work(struct local_op *op, struct err *err)
{
	char *one[] = {op->id, NULL}, **ids = op->id[0] ? one : local_ids(op->rl, NULL);
	struct runtime_container *list = NULL;
	size_t n = 0, cap = 0;
	int r = 0;
	for (char **id = ids; *id && r == 0; id++) {
		struct runtime_container c;
		local_note_lost(op->rl, *id);
		r = local_look(op->rl, *id, &c, err);
		/* gone between two looks, or a folder a crash left before it said what it is */
		if (r == -ENOENT) {
			r = 0;
			err_done(err);
			continue;
		}
		GROW(list, cap, n + 1);
		list[n++] = c;
	}
	if (ids != one)
		local_ids_free(ids);
	op->result = list;
	op->n_result = n;
	return r;
}

static void answer_list(struct local_op *op)
{
	bool failed = op->err.code != 0;
	op->list_cb(op->arg, &op->err, failed ? NULL : op->result, failed ? 0 : op->n_result);
	free(op->result);
}

static void list(struct runtime *r, const char *id, runtime_list_cb cb, void *arg)
{
	struct local_op *op =
		local_op_new(runtime_local__of(r), id ? id : "", id && !oci_id_valid(id) ? refuse_id : list_work);
	op->answer = answer_list;
	op->list_cb = cb;
	op->arg = arg;
	local_op_submit(op);
}

/* ---- stats ---- */

static int stats(struct runtime *r, const char *id, struct runtime_stats *ret)
{
	struct runtime_local *rl = runtime_local__of(r);
	const struct cgroup_fs *fs = &rl->fs;
	struct oci_state st = {0};
	struct runtime_stats s = {0};
	uint64_t inactive = 0;
	int e = oci_state_read(rl->root, id, &st, NULL);
	if (e < 0)
		return e;
	const char *g = st.cgroup;
	if (fs->v2) {
		e = cgroup_get_u64(fs, "cpu", g, "cpu.stat", "usage_usec", &s.cpu_ns);
		s.cpu_ns *= 1000;
	} else {
		e = cgroup_get_u64(fs, "cpuacct", g, "cpuacct.usage", NULL, &s.cpu_ns);
	}
	(void)cgroup_get_u64(fs, "memory", g, fs->v2 ? "memory.current" : "memory.usage_in_bytes", NULL,
			     &s.memory_usage_bytes);
	(void)cgroup_get_u64(fs, "memory", g, "memory.stat", fs->v2 ? "inactive_file" : "total_inactive_file",
			     &inactive);
	(void)cgroup_get_u64(fs, "memory", g, "memory.stat", fs->v2 ? "anon" : "total_rss", &s.memory_rss_bytes);
	s.memory_working_set_bytes = s.memory_usage_bytes > inactive ? s.memory_usage_bytes - inactive : 0;
	oci_state_done(&st);
	if (e == 0)
		*ret = s;
	return e;
}

/* ---- close ---- */

static void free_all(struct runtime_local *rl)
{
	free(rl->root);
	free(rl->bundles);
	free(rl->minirun);
	free(rl->pause);
	free(rl->cgroup_shims);
	rl->magic = 0;
	free(rl);
}

static void on_closed(struct env_post *p)
{
	struct runtime_local *rl = CONTAINER_OF(p, struct runtime_local, closed_post);
	void (*done)(void *) = rl->closed;
	void *arg = rl->closed_arg;
	free_all(rl);
	done(arg);
}

void runtime_local__maybe_closed(struct runtime_local *rl)
{
	if (rl->closed && list_empty(&rl->ops) && list_empty(&rl->watches) && list_empty(&rl->stops) &&
	    list_empty(&rl->execs))
		env_post(rl->env, &rl->closed_post);
}

static void close_(struct runtime *r, void (*done)(void *arg), void *arg)
{
	struct runtime_local *rl = runtime_local__of(r);
	rl->closed = done;
	rl->closed_arg = arg;
	rl->closed_post.fn = on_closed;
	local_watch_close_all(rl);
	local_exec_cancel_all(rl);
	runtime_local__maybe_closed(rl);
}

static const struct runtime_ops ops = {
	.run_sandbox = run_sandbox,
	.stop_sandbox = stop_sandbox,
	.remove_sandbox = remove_sandbox,
	.create_container = create_container,
	.start_container = start_container,
	.stop_container = local_stop_container,
	.remove_container = remove_container,
	.list = list,
	.exec = local_exec,
	.attach = local_attach,
	.exec_write = local_exec_write,
	.exec_resize = local_exec_resize,
	.exec_pause = local_exec_pause,
	.exec_cancel = local_exec_cancel,
	.sandbox_socket = local_sandbox_socket,
	.stats = stats,
	.image_status = local_image_status,
	.image_pull = local_image_pull,
	.close = close_,
};

/* ---- new ---- */

static int check_program(const char *path, const char *what, struct err *err)
{
	if (str_empty(path) || access(path, X_OK) < 0)
		return err_set(err, -ENOENT, "%s is not where it should be: %s", what, path ? path : "(no path)");
	return 0;
}

#define CAP_SYS_RESOURCE_BIT 24

/* Below its own value only a holder of CAP_SYS_RESOURCE may set oom_score_adj; inside containers and sandboxes the agent
 * often is none. Then pods get what can be had, as containerd's restrict_oom_score_adj does it. */
static int oom_floor(void)
{
	_cleanup_buf_ struct buf status = BUF_INIT, own = BUF_INIT;
	const char *caps =
		file_read("/proc/self/status", 65536, &status, NULL) == 0 ? strstr(status.data, "CapEff:") : NULL;
	if (!caps || (strtoull(caps + 7, NULL, 16) & (1ull << CAP_SYS_RESOURCE_BIT)))
		return -1000;
	return file_read("/proc/self/oom_score_adj", 64, &own, NULL) == 0 ? (int)strtol(buf_str(&own), NULL, 10)
									  : -1000;
}

/* Containers of an earlier run: their ends are ours to tell. */
static void adopt(struct runtime_local *rl)
{
	char **ids = local_ids(rl, NULL);
	for (char **id = ids; *id; id++) {
		int fd = -1;
		if (local_end_fd(rl, *id, &fd, NULL) == 0)
			local_watch(rl, *id, fd);
	}
	local_ids_free(ids);
}

int runtime_local_new(struct env *env, uv_loop_t *loop, const struct runtime_local_config *config, struct runtime **ret,
		      struct err *err)
{
	int r;
	if ((r = check_program(config->minirun_path, "minirun", err)) < 0 ||
	    (r = check_program(config->pause_path, "the pause program", err)) < 0)
		return r;
	struct runtime_local *rl = NEW(struct runtime_local);
	rl->magic = RUNTIME_LOCAL_MAGIC;
	rl->base.ops = &ops;
	rl->env = env;
	rl->loop = loop;
	_cleanup_free_ char *dir = realpath(config->dir, NULL);
	rl->root = xasprintf("%s/run/containers", dir ? dir : config->dir);
	rl->bundles = xasprintf("%s/containers", dir ? dir : config->dir);
	rl->minirun = xstrdup(config->minirun_path);
	rl->pause = realpath(config->pause_path, NULL);
	rl->cgroup_shims = xstrdup(config->cgroup_shims ? config->cgroup_shims : "/mini-shims");
	rl->images = config->images;
	rl->oom_floor = oom_floor();
	list_init(&rl->ops);
	list_init(&rl->watches);
	list_init(&rl->stops);
	list_init(&rl->execs);
	if ((r = cgroup_fs_open(CGROUP_ROOT, &rl->fs, err)) < 0 || (r = mkdir_p(rl->root, 0700, err)) < 0 ||
	    (r = mkdir_p(rl->bundles, 0700, err)) < 0 ||
	    (config->journal && (r = journal_add(config->journal, JOURNAL_CGROUP, rl->cgroup_shims, NULL, err)) < 0)) {
		free_all(rl);
		return r;
	}
	adopt(rl);
	*ret = &rl->base;
	return 0;
}
