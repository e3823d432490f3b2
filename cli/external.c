#include "cli/external.h"

#include <errno.h>

#include "lib/core/file.h"
#include "store/etcd.h"

#define PEM_MAX (1u << 20)

bool external_wanted(const struct settings *s)
{
	return s->etcd.servers != NULL;
}

static int read_pem(const char *flag, const char *path, struct buf *ret, struct err *err)
{
	if (!path || file_read(path, PEM_MAX, ret, err) == 0)
		return 0;
	return err_prefix(err, "%s", flag);
}

static int check(const struct settings *s, const struct options *o, struct err *err)
{
	_cleanup_free_ char *store = xasprintf("%s/store", o->dir);
	if (o->join || s->wish != STORE_ROLE_VOTER)
		return err_set(err, -EINVAL,
			       "a server of an external etcd joins no other, and has no role among servers");
	if (file_exists(store))
		return err_set(
			err, -EEXIST,
			"%s holds a store of its own: --etcd-servers wants another --dir, or forget that one (minid server "
			"--dir %s --reset)",
			o->dir, o->dir);
	if (!s->etcd.certfile != !s->etcd.keyfile)
		return err_set(err, -EINVAL, "--etcd-certfile and --etcd-keyfile go together");
	return 0;
}

int external_open(struct env *env, uv_loop_t *loop, const struct settings *s, const struct options *o,
		  struct store **ret, struct err *err)
{
	_cleanup_buf_ struct buf ca = BUF_INIT, cert = BUF_INIT, key = BUF_INIT;
	int r = check(s, o, err);
	if (r == 0)
		r = read_pem("--etcd-cafile", s->etcd.cafile, &ca, err);
	if (r == 0)
		r = read_pem("--etcd-certfile", s->etcd.certfile, &cert, err);
	if (r == 0)
		r = read_pem("--etcd-keyfile", s->etcd.keyfile, &key, err);
	if (r < 0)
		return r;
	struct store_etcd_config ec = {.servers = s->etcd.servers,
				       .ca_pem = ca.data,
				       .cert_pem = cert.data,
				       .key_pem = key.data,
				       .prefix = s->etcd.prefix,
				       .history_us = o->history_us};
	return store_etcd_open(env, loop, &ec, ret, err) < 0 ? err_prefix(err, "--etcd-servers") : 0;
}
