#include "cli/minictl/ctl.h"

#include <errno.h>
#include <time.h>

#include "lib/core/env_uv.h"
#include "lib/core/file.h"

/* ---- memory for the run ---- */

static struct {
	void **items;
	json_t **trees;
	size_t n, cap, n_trees, cap_trees;
} kept;

void *keep(void *p)
{
	GROW(kept.items, kept.cap, kept.n + 1);
	kept.items[kept.n++] = p;
	return p;
}

char *keepf(const char *fmt, ...)
{
	va_list ap;
	char *s;
	va_start(ap, fmt);
	MUST(vasprintf(&s, fmt, ap) >= 0);
	va_end(ap);
	return keep(s);
}

json_t *keep_json(json_t *j)
{
	GROW(kept.trees, kept.cap_trees, kept.n_trees + 1);
	kept.trees[kept.n_trees++] = j;
	return j;
}

void keep_done(void)
{
	for (size_t i = 0; i < kept.n; i++)
		free(kept.items[i]);
	for (size_t i = 0; i < kept.n_trees; i++)
		json_decref(kept.trees[i]);
	free(kept.items);
	free(kept.trees);
	memset(&kept, 0, sizeof(kept));
}

/* ---- which cluster ---- */

static char *dir_config(const struct ctl *c)
{
	char *path = keepf("%s/admin.kubeconfig", c->dir ? c->dir : DEFAULT_DIR);
	return access(path, R_OK) == 0 ? path : NULL;
}

char *ctl_config_path(const struct ctl *c)
{
	if (c->kubeconfig)
		return keepf("%s", c->kubeconfig);
	char *local = dir_config(c);
	if (c->dir && local)
		return local;
	const char *list = getenv("KUBECONFIG");
	for (const char *p = list; p && *p;) {
		size_t n = strcspn(p, ":");
		char *path = keepf("%.*s", (int)n, p);
		if (n && (file_exists(path) || !p[n]))
			return path;
		p += n + (p[n] == ':');
	}
	const char *home = getenv("HOME");
	char *path = keepf("%s/.kube/config", str_empty(home) ? "/root" : home);
	return !file_exists(path) && local ? local : path;
}

static void replace(char **to, const char *with)
{
	free(*to);
	*to = with ? xstrdup(with) : NULL;
}

/* Options win over the file. A token replaces the certificate, as with kubectl. */
static int overrides(struct ctl *c, struct err *err)
{
	if (c->server)
		replace(&c->config.server, c->server);
	if (c->token) {
		replace(&c->config.token, c->token);
		replace(&c->config.cert_pem, NULL);
		replace(&c->config.key_pem, NULL);
	}
	if (c->ca_file) {
		_cleanup_buf_ struct buf pem = BUF_INIT;
		int rc = file_read(c->ca_file, 1 << 20, &pem, err);
		if (rc < 0)
			return rc;
		replace(&c->config.ca_pem, buf_str(&pem));
	}
	if (c->insecure) {
		c->config.insecure = true;
		replace(&c->config.ca_pem, NULL);
	}
	return 0;
}

int ctl_config(struct ctl *c, struct err *err)
{
	if (c->have_config)
		return 0;
	char *path = ctl_config_path(c);
	if (!file_exists(path) && c->server && !c->kubeconfig) {
		c->have_config = true; /* all that is needed came by options */
		return overrides(c, err);
	}
	if (!file_exists(path))
		return ctl_usage(
			err,
			"no kubeconfig: neither %s nor %s/admin.kubeconfig is there; start a cluster (minid demo), or "
			"give --kubeconfig FILE or --dir DIR",
			path, c->dir ? c->dir : DEFAULT_DIR);
	int rc = kubeconfig_load(path, c->context, &c->config, err);
	if (rc < 0 && !(c->server && !c->context)) {
		if (err)
			err->reason = ERR_NONE; /* nothing a server said */
		return rc;
	}
	err_done(err);
	c->have_config = true;
	return overrides(c, err);
}

const char *ctl_ns(struct ctl *c)
{
	if (!str_empty(c->ns))
		return c->ns;
	if (ctl_config(c, NULL) == 0 && !str_empty(c->config.ns))
		return c->config.ns;
	return "default";
}

/* ---- the loop ---- */

void ctl_loop(struct ctl *c)
{
	if (c->env)
		return;
	MUST(uv_loop_init(&c->loop) == 0);
	c->env = env_uv_new(&c->loop);
}

int ctl_connect(struct ctl *c, struct err *err)
{
	if (c->client)
		return 0;
	int rc = ctl_config(c, err);
	if (rc < 0)
		return rc;
	ctl_loop(c);
	return client_http_new(c->env, &c->loop, &c->config, "minictl", &c->client, err);
}

static bool loop_ends(struct ctl *c)
{
	for (int i = 0; i < 100 && uv_loop_close(&c->loop) != 0; i++)
		uv_run(&c->loop, UV_RUN_NOWAIT);
	return true;
}

void ctl_done(struct ctl *c)
{
	client_free(c->client);
	if (c->env) {
		env_uv_free(c->env);
		loop_ends(c);
	}
	kubeconfig_done(&c->config);
	keep_done();
}

uint64_t ctl_now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void on_deadline(struct env_timer *t)
{
	(void)t; /* it was there to wake the loop */
}

int ctl_run(struct ctl *c, const bool *done, uint64_t deadline_ms)
{
	struct env_timer timer = {.fn = on_deadline};
	int rc = 0;
	while (!*done) {
		uint64_t now = ctl_now_ms();
		if (deadline_ms && now >= deadline_ms) {
			rc = -ETIMEDOUT;
			break;
		}
		if (deadline_ms)
			env_timer_start(c->env, &timer, (deadline_ms - now) * 1000 + 500);
		uv_run(&c->loop, UV_RUN_ONCE);
	}
	env_timer_stop(c->env, &timer);
	return rc;
}
