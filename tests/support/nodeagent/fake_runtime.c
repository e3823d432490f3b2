#include "tests/support/nodeagent/fake_runtime.h"

#include <errno.h>
#include <sys/socket.h>

#include "lib/core/buf.h"
#include "lib/core/list.h"
#include "lib/core/map.h"

#define ANSWER_US 1000

struct script {
	uint64_t exit_after_us, term_us;
	int code, exec_code;
	char *exec_output, *config;
};

struct fake {
	struct runtime base;
	struct env *env;
	struct map things;  /* id -> struct thing */
	struct map images;  /* ref -> id text */
	struct map scripts; /* name -> struct script */
	struct list answers;
	struct buf journal;
	int pull_code;
	int pids;
};

struct thing {
	struct fake *f;
	struct runtime_container c;
	char name[64];
	struct env_timer exit_timer, kill_timer;
	int exit_code;
};

struct answer {
	struct fake *f;
	struct list node;
	struct env_timer timer;
	struct err err;
	runtime_cb cb;
	runtime_list_cb list_cb;
	runtime_image_cb image_cb;
	void *arg;
	char *id, *ref;
	bool stop_wait; /* answered only when it has exited */
};

struct runtime_exec {
	struct fake *f;
	struct list node;
	struct env_timer timer;
	const struct runtime_exec_ops *ops;
	void *arg;
	char *name;
};

static struct fake *fake(struct runtime *r)
{
	return CONTAINER_OF(r, struct fake, base);
}

static void note(struct fake *f, const char *verb, const char *what)
{
	buf_addf(&f->journal, "%llu %s %s\n", (unsigned long long)env_now_ms(f->env), verb, what);
}

static void name_of(const char *id, char ret[64])
{
	const char *a = strchr(id, '_'), *b = strrchr(id, '_');
	if (a && b && b > a)
		snprintf(ret, 64, "%.*s", (int)(b - a - 1), a + 1);
	else
		snprintf(ret, 64, "%s", id);
}

static struct script *script(struct fake *f, const char *name)
{
	struct script *s = map_get(&f->scripts, name);
	if (!s) {
		s = NEW(struct script);
		s->term_us = 10000;
		map_set(&f->scripts, name, s);
	}
	return s;
}

/* ---- answers ---- */

static void answer_free(struct answer *a)
{
	env_timer_stop(a->f->env, &a->timer);
	list_del(&a->node);
	err_done(&a->err);
	free(a->id);
	free(a->ref);
	free(a);
}

static void give_list(struct answer *a)
{
	struct runtime_container *v = NEW_N(struct runtime_container, a->f->things.count + 1);
	size_t n = 0;
	MAP_EACH (&a->f->things, e) {
		struct thing *t = e->value;
		if (!a->id || streq(a->id, t->c.id))
			v[n++] = t->c;
	}
	a->list_cb(a->arg, &a->err, v, n);
	free(v);
}

static void give_image(struct answer *a)
{
	const char *id = map_get(&a->f->images, a->ref);
	struct runtime_image image = {.size_bytes = 1000, .digest = "", .user_name = ""};
	if (id && !a->err.code)
		snprintf(image.id, sizeof(image.id), "%s", id);
	a->image_cb(a->arg, &a->err, id && !a->err.code ? &image : NULL);
}

static void on_answer(struct env_timer *t)
{
	struct answer *a = CONTAINER_OF(t, struct answer, timer);
	if (a->cb)
		a->cb(a->arg, &a->err);
	else if (a->list_cb)
		give_list(a);
	else
		give_image(a);
	answer_free(a);
}

static struct answer *answer(struct fake *f, const char *id, void *arg)
{
	struct answer *a = NEW(struct answer);
	a->f = f;
	a->arg = arg;
	a->id = id ? xstrdup(id) : NULL;
	a->timer.fn = on_answer;
	list_push(&f->answers, &a->node);
	return a;
}

static void answer_soon(struct fake *f, runtime_cb cb, void *arg, int code, const char *message)
{
	struct answer *a = answer(f, NULL, arg);
	a->cb = cb;
	if (code)
		err_set(&a->err, code, "%s", message);
	env_timer_start(f->env, &a->timer, ANSWER_US);
}

/* ---- exits ---- */

static void thing_exited(struct thing *t, int code, bool oom)
{
	struct fake *f = t->f;
	t->c.status = RUNTIME_EXITED;
	t->c.exit_code = code;
	t->c.oom_killed = oom;
	t->c.finished_us = env_wall_us(f->env);
	t->c.pid = 0;
	env_timer_stop(f->env, &t->exit_timer);
	env_timer_stop(f->env, &t->kill_timer);
	note(f, "exited", t->c.id);
	LIST_EACH (&f->answers, a, struct answer, node) {
		if (a->stop_wait && streq(a->id, t->c.id)) {
			a->stop_wait = false;
			env_timer_start(f->env, &a->timer, ANSWER_US);
		}
	}
	if (f->base.on_event)
		f->base.on_event(f->base.on_event_arg, t->c.id);
}

static void on_exit_timer(struct env_timer *timer)
{
	struct thing *t = CONTAINER_OF(timer, struct thing, exit_timer);
	thing_exited(t, t->exit_code, false);
}

static void on_kill_timer(struct env_timer *timer)
{
	thing_exited(CONTAINER_OF(timer, struct thing, kill_timer), 137, false);
}

static struct thing *thing_new(struct fake *f, const char *id, bool sandbox)
{
	struct thing *t = map_get(&f->things, id);
	if (t)
		return t;
	t = NEW(struct thing);
	t->f = f;
	snprintf(t->c.id, sizeof(t->c.id), "%s", id);
	name_of(id, t->name);
	t->c.is_sandbox = sandbox;
	t->c.status = RUNTIME_CREATED;
	t->c.created_us = env_wall_us(f->env);
	t->exit_timer.fn = on_exit_timer;
	t->kill_timer.fn = on_kill_timer;
	map_set(&f->things, id, t);
	return t;
}

static void thing_drop(struct fake *f, const char *id)
{
	struct thing *t = map_del(&f->things, id);
	if (!t)
		return;
	env_timer_stop(f->env, &t->exit_timer);
	env_timer_stop(f->env, &t->kill_timer);
	free(t);
}

/* ---- verbs ---- */

static void run_sandbox(struct runtime *r, const struct runtime_sandbox_config *k, runtime_cb cb, void *arg)
{
	struct fake *f = fake(r);
	note(f, "run", k->id);
	struct thing *t = thing_new(f, k->id, true);
	t->c.status = RUNTIME_RUNNING;
	t->c.started_us = env_wall_us(f->env);
	t->c.pid = ++f->pids;
	answer_soon(f, cb, arg, 0, NULL);
}

static void stop_sandbox(struct runtime *r, const char *id, runtime_cb cb, void *arg)
{
	struct fake *f = fake(r);
	note(f, "stopsandbox", id);
	struct thing *t = map_get(&f->things, id);
	if (t && t->c.status == RUNTIME_RUNNING)
		thing_exited(t, 137, false);
	answer_soon(f, cb, arg, 0, NULL);
}

static void remove_any(struct runtime *r, const char *id, runtime_cb cb, void *arg)
{
	note(fake(r), "remove", id);
	thing_drop(fake(r), id);
	answer_soon(fake(r), cb, arg, 0, NULL);
}

static char *config_text(const struct runtime_container_config *k)
{
	struct buf b = BUF_INIT;
	for (const struct runtime_env_var *v = k->env; v && v->name; v++)
		buf_addf(&b, "env %s=%s\n", v->name, v->value);
	for (size_t i = 0; i < k->n_mounts; i++)
		buf_addf(&b, "mount %s:%s:%s\n", k->mounts[i].host_path, k->mounts[i].container_path,
			 k->mounts[i].read_only ? "ro" : "rw");
	for (const char *const *s = k->command; s && *s; s++)
		buf_addf(&b, "command %s\n", *s);
	for (const char *const *s = k->args; s && *s; s++)
		buf_addf(&b, "arg %s\n", *s);
	buf_addf(&b, "cgroup %s\nmemory %lld\nshares %lld\n", k->cgroup_parent,
		 (long long)k->resources.memory_limit_bytes, (long long)k->resources.cpu_shares);
	return buf_steal(&b);
}

static void create_container(struct runtime *r, const struct runtime_container_config *k, runtime_cb cb, void *arg)
{
	struct fake *f = fake(r);
	note(f, "create", k->id);
	struct thing *t = thing_new(f, k->id, false);
	struct script *s = script(f, t->name);
	free(s->config);
	s->config = config_text(k);
	answer_soon(f, cb, arg, 0, NULL);
}

static void start_container(struct runtime *r, const char *id, runtime_cb cb, void *arg)
{
	struct fake *f = fake(r);
	note(f, "start", id);
	struct thing *t = map_get(&f->things, id);
	if (!t) {
		answer_soon(f, cb, arg, -ENOENT, "no such container");
		return;
	}
	struct script *s = script(f, t->name);
	t->c.status = RUNTIME_RUNNING;
	t->c.started_us = env_wall_us(f->env);
	t->c.pid = ++f->pids;
	t->exit_code = s->code;
	if (s->exit_after_us)
		env_timer_start(f->env, &t->exit_timer, s->exit_after_us);
	answer_soon(f, cb, arg, 0, NULL);
}

static void stop_container(struct runtime *r, const char *id, unsigned grace_s, runtime_cb cb, void *arg)
{
	struct fake *f = fake(r);
	char what[200];
	snprintf(what, sizeof(what), "%s grace=%u", id, grace_s);
	note(f, "stop", what);
	struct thing *t = map_get(&f->things, id);
	if (!t || t->c.status != RUNTIME_RUNNING) {
		answer_soon(f, cb, arg, 0, NULL);
		return;
	}
	struct answer *a = answer(f, id, arg);
	a->cb = cb;
	a->stop_wait = true;
	struct script *s = script(f, t->name);
	if (s->term_us != UINT64_MAX && grace_s > 0) {
		t->exit_code = 143;
		env_timer_start(f->env, &t->exit_timer, s->term_us);
	}
	env_timer_start(f->env, &t->kill_timer, grace_s * 1000000ull + 1);
}

static void list_things(struct runtime *r, const char *id, runtime_list_cb cb, void *arg)
{
	struct answer *a = answer(fake(r), id, arg);
	a->list_cb = cb;
	env_timer_start(fake(r)->env, &a->timer, ANSWER_US);
}

static void on_exec(struct env_timer *t)
{
	struct runtime_exec *x = CONTAINER_OF(t, struct runtime_exec, timer);
	struct script *s = script(x->f, x->name);
	struct err none = ERR_INIT;
	if (s->exec_output)
		x->ops->on_output(x->arg, 1, s->exec_output, strlen(s->exec_output));
	x->ops->on_done(x->arg, &none, s->exec_code);
	free(x->name);
	free(x);
}

static struct runtime_exec *start_exec(struct runtime *r, const char *id, const char *const *argv, unsigned flags,
				       unsigned timeout_s, const struct runtime_exec_ops *ops, void *arg)
{
	(void)flags;
	(void)timeout_s;
	char what[200];
	struct runtime_exec *x = NEW(struct runtime_exec);
	x->f = fake(r);
	x->ops = ops;
	x->arg = arg;
	x->name = xcalloc(1, 64);
	name_of(id, x->name);
	snprintf(what, sizeof(what), "%s %s", id, argv && argv[0] ? argv[0] : "");
	note(x->f, "exec", what);
	x->timer.fn = on_exec;
	env_timer_start(x->f->env, &x->timer, ANSWER_US);
	return x;
}

static struct runtime_exec *start_attach(struct runtime *r, const char *id, unsigned flags,
					 const struct runtime_exec_ops *ops, void *arg)
{
	static const char *const argv[] = {"(attach)", NULL};
	return start_exec(r, id, argv, flags, 0, ops, arg);
}

static bool write_exec(struct runtime_exec *x, const void *data, size_t len)
{
	(void)x, (void)data, (void)len;
	return true;
}

static void resize_exec(struct runtime_exec *x, uint16_t columns, uint16_t rows)
{
	char what[64];
	snprintf(what, sizeof(what), "%ux%u", columns, rows);
	note(x->f, "resize", what);
}

static void pause_exec(struct runtime_exec *x, bool pause)
{
	(void)x, (void)pause;
}

/* Its network is the host's. */
static int open_socket(struct runtime *r, const char *id, int *ret_fd, struct err *err)
{
	note(fake(r), "socket", id);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, "socket");
	*ret_fd = fd;
	return 0;
}

static void cancel_exec(struct runtime_exec *x)
{
	env_timer_stop(x->f->env, &x->timer);
	free(x->name);
	free(x);
}

static void image_status(struct runtime *r, const char *ref, runtime_image_cb cb, void *arg)
{
	struct answer *a = answer(fake(r), NULL, arg);
	a->image_cb = cb;
	a->ref = xstrdup(ref);
	env_timer_start(a->f->env, &a->timer, ANSWER_US);
}

static void image_pull(struct runtime *r, const char *ref, runtime_image_cb cb, void *arg)
{
	struct fake *f = fake(r);
	note(f, "pull", ref);
	struct answer *a = answer(f, NULL, arg);
	a->image_cb = cb;
	a->ref = xstrdup(ref);
	if (f->pull_code)
		err_set(&a->err, f->pull_code, "no registry has it");
	else
		fake_runtime_image(r, ref);
	env_timer_start(f->env, &a->timer, ANSWER_US);
}

static int stats(struct runtime *r, const char *id, struct runtime_stats *ret)
{
	(void)r;
	(void)id;
	*ret = (struct runtime_stats){.cpu_ns = 1, .memory_working_set_bytes = 2};
	return 0;
}

static const struct runtime_ops ops = {
	.run_sandbox = run_sandbox,
	.stop_sandbox = stop_sandbox,
	.remove_sandbox = remove_any,
	.create_container = create_container,
	.start_container = start_container,
	.stop_container = stop_container,
	.remove_container = remove_any,
	.list = list_things,
	.exec = start_exec,
	.attach = start_attach,
	.exec_write = write_exec,
	.exec_resize = resize_exec,
	.exec_pause = pause_exec,
	.exec_cancel = cancel_exec,
	.sandbox_socket = open_socket,
	.stats = stats,
	.image_status = image_status,
	.image_pull = image_pull,
};

/* ---- what tests say and ask ---- */

static void script_free(void *p)
{
	struct script *s = p;
	free(s->exec_output);
	free(s->config);
	free(s);
}

struct runtime *fake_runtime_new(struct env *env)
{
	struct fake *f = NEW(struct fake);
	f->base.ops = &ops;
	f->env = env;
	f->pull_code = -ENOENT;
	f->pids = 1000;
	f->scripts.free_value = script_free;
	f->images.free_value = free;
	list_init(&f->answers);
	return &f->base;
}

void fake_runtime_free(struct runtime *r)
{
	struct fake *f = fake(r);
	LIST_EACH (&f->answers, a, struct answer, node) {
		/* one answer each is owed to whoever asked */
		err_set(&a->err, -ECANCELED, "the runtime is closed");
		if (a->cb)
			a->cb(a->arg, &a->err);
		else if (a->list_cb)
			a->list_cb(a->arg, &a->err, NULL, 0);
		else
			a->image_cb(a->arg, &a->err, NULL);
		answer_free(a);
	}
	MAP_EACH (&f->things, e)
		thing_drop(f, e->key);
	map_done(&f->things);
	map_done(&f->images);
	map_done(&f->scripts);
	buf_done(&f->journal);
	free(f);
}

void fake_runtime_image(struct runtime *r, const char *ref)
{
	map_set(&fake(r)->images, ref, xasprintf("sha256:%064x", fnv32a(ref, strlen(ref))));
}

void fake_runtime_pull(struct runtime *r, int err_code)
{
	fake(r)->pull_code = err_code;
}

void fake_runtime_script(struct runtime *r, const char *name, uint64_t exit_after_us, int code)
{
	struct script *s = script(fake(r), name);
	s->exit_after_us = exit_after_us;
	s->code = code;
}

void fake_runtime_term(struct runtime *r, const char *name, uint64_t after_us)
{
	script(fake(r), name)->term_us = after_us;
}

void fake_runtime_exec(struct runtime *r, const char *name, int code, const char *output)
{
	struct script *s = script(fake(r), name);
	free(s->exec_output);
	s->exec_output = output ? xstrdup(output) : NULL;
	s->exec_code = code;
}

bool fake_runtime_exit(struct runtime *r, const char *id, int code, bool oom)
{
	struct thing *t = map_get(&fake(r)->things, id);
	if (!t || t->c.status != RUNTIME_RUNNING)
		return false;
	thing_exited(t, code, oom);
	return true;
}

void fake_runtime_leave(struct runtime *r, const char *id, enum runtime_status status, int pid)
{
	struct thing *t = map_get(&fake(r)->things, id);
	env_timer_stop(t->f->env, &t->exit_timer);
	env_timer_stop(t->f->env, &t->kill_timer);
	t->c.status = status;
	t->c.pid = pid;
}

const struct runtime_container *fake_runtime_find(struct runtime *r, const char *id)
{
	struct thing *t = map_get(&fake(r)->things, id);
	return t ? &t->c : NULL;
}

unsigned fake_runtime_running(struct runtime *r)
{
	unsigned n = 0;
	MAP_EACH (&fake(r)->things, e) {
		struct thing *t = e->value;
		n += !t->c.is_sandbox && t->c.status == RUNTIME_RUNNING;
	}
	return n;
}

unsigned fake_runtime_count(struct runtime *r)
{
	return fake(r)->things.count;
}

uint64_t fake_runtime_when(struct runtime *r, const char *what, unsigned nth)
{
	const char *text = buf_str(&fake(r)->journal);
	size_t n = strlen(what);
	while (*text) {
		const char *end = strchr(text, '\n'), *verb = strchr(text, ' ') + 1;
		if (strncmp(verb, what, n) == 0 && (verb[n] == '\n' || verb[n] == ' ') && nth-- == 0)
			return strtoull(text, NULL, 10);
		text = end + 1;
	}
	return UINT64_MAX;
}

unsigned fake_runtime_asked(struct runtime *r, const char *what)
{
	unsigned n = 0;
	while (fake_runtime_when(r, what, n) != UINT64_MAX)
		n++;
	return n;
}

const char *fake_runtime_journal(struct runtime *r)
{
	return buf_str(&fake(r)->journal);
}

const char *fake_runtime_config(struct runtime *r, const char *name)
{
	struct script *s = script(fake(r), name);
	return s->config ? s->config : "";
}

/* ---- host ---- */

struct fake_host {
	struct host base;
	struct map cgroups, ips;
	unsigned next, backlog;
};

static struct fake_host *fhost(struct host *h)
{
	return CONTAINER_OF(h, struct fake_host, base);
}

static int h_cgroup_create(struct host *h, const char *path, const struct runtime_resources *limits, struct err *err)
{
	(void)limits;
	(void)err;
	map_set(&fhost(h)->cgroups, path, h);
	return 0;
}

static int h_cgroup_remove(struct host *h, const char *path, struct err *err)
{
	(void)err;
	map_del(&fhost(h)->cgroups, path);
	return 0;
}

static int h_attach(struct host *h, const char *sandbox_id, int pid, char ret_ip[64], struct err *err)
{
	(void)pid;
	(void)err;
	struct fake_host *f = fhost(h);
	if (!map_has(&f->ips, sandbox_id))
		map_set(&f->ips, sandbox_id, xasprintf("10.0.0.%u", ++f->next));
	snprintf(ret_ip, 64, "%s", (char *)map_get(&f->ips, sandbox_id));
	return 0;
}

static int h_detach(struct host *h, const char *sandbox_id, struct err *err)
{
	(void)err;
	map_del(&fhost(h)->ips, sandbox_id);
	return 0;
}

static const char *h_ip(struct host *h, const char *sandbox_id)
{
	return map_get(&fhost(h)->ips, sandbox_id);
}

static bool h_backlog(struct host *h, const char *sandbox_id)
{
	(void)sandbox_id;
	return fhost(h)->backlog && fhost(h)->backlog--;
}

static void h_retain(struct host *h, const char *const *ids)
{
	MAP_EACH (&fhost(h)->ips, e) {
		bool keep = false;
		for (const char *const *id = ids; *id; id++)
			keep = keep || streq(*id, e->key);
		if (!keep)
			map_del(&fhost(h)->ips, e->key);
	}
}

static int h_mount(struct host *h, const char *dir, uint64_t size, struct err *err)
{
	(void)h;
	(void)dir;
	(void)size;
	(void)err;
	return 0;
}

static int h_unmount(struct host *h, const char *dir, struct err *err)
{
	return h_mount(h, dir, 0, err);
}

static void h_free(struct host *h)
{
	map_done(&fhost(h)->cgroups);
	map_done(&fhost(h)->ips);
	free(fhost(h));
}

struct host *fake_host_new(void)
{
	static const struct host_ops host_ops = {
		.cgroup_create = h_cgroup_create,
		.cgroup_remove = h_cgroup_remove,
		.net_attach = h_attach,
		.net_detach = h_detach,
		.net_ip = h_ip,
		.net_backlog = h_backlog,
		.net_retain = h_retain,
		.mount_tmpfs = h_mount,
		.unmount = h_unmount,
		.free = h_free,
	};
	struct fake_host *h = NEW(struct fake_host);
	h->base.ops = &host_ops;
	h->ips.free_value = free;
	return &h->base;
}

void fake_host_backlog(struct host *h, unsigned looks)
{
	fhost(h)->backlog = looks;
}

unsigned fake_host_cgroups(struct host *h)
{
	return fhost(h)->cgroups.count;
}

unsigned fake_host_addresses(struct host *h)
{
	return fhost(h)->ips.count;
}
