#include "cli/certs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <time.h>

#include "cli/rotate.h"
#include "lib/core/file.h"

#define DAY_S     86400
#define CA_DAYS   3650
#define LEAF_DAYS 365
#define PEM_MAX   65536u
#define NAMES_MAX 60u

struct wanted {
	const char *file; /* "apiserver": DIR/pki/apiserver.crt and .key */
	const char *common_name;
	const char *const *organizations;
	const char *const *names; /* NULL: a client certificate */
	bool both;                /* a server's among servers: it listens and it dials */
};

void certs_done(struct certs *c)
{
	pki_pair_done(&c->ca);
	pki_pair_done(&c->apiserver);
	pki_pair_done(&c->kubelet_client);
	pki_pair_done(&c->admin);
	free(c->sa_key);
	*c = (struct certs){0};
}

static int read_text(const char *dir, const char *file, const char *suffix, char **ret, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/pki/%s%s", dir, file, suffix);
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r = file_read(path, PEM_MAX, &b, err);
	if (r == 0)
		*ret = buf_steal(&b);
	return r;
}

static int write_text(const char *dir, const char *file, const char *suffix, const char *text, mode_t mode,
		      struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/pki/%s%s", dir, file, suffix);
	return file_write_atomic(path, text, strlen(text), mode, err);
}

static int read_pair(const char *dir, const char *file, struct pki_pair *ret, struct err *err)
{
	struct pki_pair p = {0};
	int r = read_text(dir, file, ".crt", &p.cert_pem, err);
	if (r == 0)
		r = read_text(dir, file, ".key", &p.key_pem, err);
	if (r < 0)
		pki_pair_done(&p);
	else
		*ret = p;
	return r;
}

/* The key first: a certificate without its key is of no use, a key without certificate gets one. */
static int write_pair(const char *dir, const char *file, const struct pki_pair *p, struct err *err)
{
	int r = write_text(dir, file, ".key", p->key_pem, 0600, err);
	return r < 0 ? r : write_text(dir, file, ".crt", p->cert_pem, 0644, err);
}

static bool has_name(const struct pki_cert_info *i, const char *name)
{
	for (int k = 0; k < i->n_names; k++)
		if (streq(i->names[k], name))
			return true;
	return false;
}

/* Good for at least a third of its life, and for every name asked for. */
static bool still_good(const char *cert_pem, const struct wanted *w)
{
	struct pki_cert_info i = {0};
	if (pki_cert_info(cert_pem, &i, NULL) < 0)
		return false;
	bool good = streq(i.common_name, w->common_name) && !pki_due(&i, time(NULL));
	for (const char *const *n = w->names; good && n && *n; n++)
		good = has_name(&i, *n);
	pki_cert_info_done(&i);
	return good;
}

/* Where it cannot be renewed: as long as it lasts. */
static bool not_over(const char *cert_pem, const struct wanted *w)
{
	struct pki_cert_info i = {0};
	if (pki_cert_info(cert_pem, &i, NULL) < 0)
		return false;
	bool good = streq(i.common_name, w->common_name) && i.not_after_s > time(NULL);
	pki_cert_info_done(&i);
	return good;
}

/* A crash may have left a key without its certificate. */
static bool belong_together(const struct pki_pair *p)
{
	uint8_t a[32], b[32];
	return pki_cert_key_hash(p->cert_pem, a, NULL) == 0 && pki_key_hash(p->key_pem, b, NULL) == 0 &&
	       memcmp(a, b, sizeof(a)) == 0;
}

/* A crash may have left a new certificate whose key is not in its place yet. */
static int read_settled(const char *dir, const char *file, struct pki_pair *ret)
{
	int r = read_pair(dir, file, ret, NULL);
	if (r < 0 || belong_together(ret) || !rotate_settle(dir, file, ret->cert_pem))
		return r;
	pki_pair_done(ret);
	return read_pair(dir, file, ret, NULL);
}

int64_t certs_life_s(void)
{
	const char *text = getenv("MINI_TEST_CERT_LIFE_SECONDS");
	uint64_t s;
	return text && parse_u64(text, &s) == 0 && s > 0 && s < (uint64_t)LEAF_DAYS * DAY_S
		       ? (int64_t)s
		       : (int64_t)LEAF_DAYS * DAY_S;
}

static int issue(const struct pki_pair *ca, const struct wanted *w, struct pki_pair *ret, struct err *err)
{
	const char *dns[NAMES_MAX + 1] = {0}, *ips[NAMES_MAX + 1] = {0};
	unsigned n_dns = 0, n_ips = 0;
	uint8_t address[16];
	for (const char *const *n = w->names; n && *n; n++) {
		if (inet_pton(AF_INET, *n, address) == 1 || inet_pton(AF_INET6, *n, address) == 1) {
			MUST(n_ips < NAMES_MAX);
			ips[n_ips++] = *n;
		} else {
			MUST(n_dns < NAMES_MAX);
			dns[n_dns++] = *n;
		}
	}
	int64_t now = time(NULL), life = certs_life_s();
	struct pki_request req = {.common_name = w->common_name,
				  .organizations = w->organizations,
				  .dns_names = dns,
				  .ips = ips,
				  .server = w->both || w->names != NULL,
				  .client = w->both || w->names == NULL,
				  .not_before_s = now - MIN(life / 24, (int64_t)3600),
				  .not_after_s = now + life};
	return pki_issue(ca, &req, ret, err);
}

static int keep(const char *dir, const struct pki_pair *ca, const struct wanted *w, struct pki_pair *ret,
		struct err *err)
{
	struct pki_pair p;
	if (read_settled(dir, w->file, &p) == 0) {
		if (belong_together(&p) && (still_good(p.cert_pem, w) || (!ca->key_pem && not_over(p.cert_pem, w)))) {
			*ret = p;
			return 0;
		}
		pki_pair_done(&p);
	}
	if (!ca->key_pem)
		return err_set(
			err, -EKEYEXPIRED,
			"%s/pki/%s.crt has expired or does not fit, and the CA's key is not here: join again, with --join "
			"and --token%s",
			dir, w->file, w->both ? " and an empty directory" : "");
	int r = issue(ca, w, &p, err);
	if (r < 0)
		return r;
	r = write_pair(dir, w->file, &p, err);
	if (r < 0)
		pki_pair_done(&p);
	else
		*ret = p;
	return r;
}

static int keep_ca(const char *dir, struct pki_pair *ret, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/pki/ca.crt", dir);
	if (file_exists(path)) {
		int r = read_pair(dir, "ca", ret, err);
		return r == -ENOENT && err
			       ? err_prefix(err,
					    "%s/pki has a CA's certificate without its key: a server that was about "
					    "to join (give --join and --token again), or a node's directory",
					    dir)
			       : r;
	}
	int64_t now = time(NULL);
	struct pki_pair p;
	int r = pki_make_ca("kubernetes", now - 3600, now + (int64_t)CA_DAYS * DAY_S, &p, err);
	if (r < 0)
		return r;
	r = write_pair(dir, "ca", &p, err);
	if (r < 0)
		pki_pair_done(&p);
	else
		*ret = p;
	return r;
}

static int keep_sa_key(const char *dir, char **ret, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/pki/sa.key", dir);
	if (file_exists(path))
		return read_text(dir, "sa", ".key", ret, err);
	char *pem;
	int r = pki_make_key(&pem, err);
	if (r < 0)
		return r;
	r = write_text(dir, "sa", ".key", pem, 0600, err);
	if (r < 0)
		free(pem);
	else
		*ret = pem;
	return r;
}

static int make_dir(const char *dir, struct err *err)
{
	_cleanup_free_ char *pki = xasprintf("%s/pki", dir);
	return mkdir_p(pki, 0700, err);
}

int certs_server(const char *dir, const char *const *names, struct certs *ret, struct err *err)
{
	static const char *const masters[] = {"system:masters", NULL};
	struct certs c = {0};
	int r = make_dir(dir, err);
	if (r == 0)
		r = keep_ca(dir, &c.ca, err);
	if (r == 0)
		r = keep_sa_key(dir, &c.sa_key, err);
	struct wanted serving = {.file = "apiserver", .common_name = "kube-apiserver", .names = names};
	if (r == 0)
		r = keep(dir, &c.ca, &serving, &c.apiserver, err);
	struct wanted kubelet = {.file = "apiserver-kubelet-client", .common_name = "kube-apiserver-kubelet-client"};
	if (r == 0)
		r = keep(dir, &c.ca, &kubelet, &c.kubelet_client, err);
	struct wanted admin = {.file = "admin", .common_name = "kubernetes-admin", .organizations = masters};
	if (r == 0)
		r = keep(dir, &c.ca, &admin, &c.admin, err);
	if (r < 0)
		certs_done(&c);
	else
		*ret = c;
	return r;
}

/* The CA; its key only where it is. */
static int read_ca(const char *dir, struct pki_pair *ret, struct err *err)
{
	struct pki_pair ca = {0};
	int r = read_text(dir, "ca", ".crt", &ca.cert_pem, err);
	if (r == 0 && read_text(dir, "ca", ".key", &ca.key_pem, NULL) < 0)
		ca.key_pem = NULL;
	if (r == 0)
		*ret = ca;
	return r;
}

int certs_member(const char *dir, const char *name, struct pki_pair *ret_ca_cert_only, struct pki_pair *ret,
		 struct err *err)
{
	static const char *const servers[] = {"mini:servers", NULL};
	struct pki_pair ca = {0};
	struct wanted w = {.file = "server", .common_name = name, .organizations = servers, .both = true};
	int r = read_ca(dir, &ca, err);
	if (r == 0)
		r = keep(dir, &ca, &w, ret, err);
	if (ca.key_pem)
		explicit_bzero(ca.key_pem, strlen(ca.key_pem));
	free(STEAL(ca.key_pem));
	if (r < 0)
		pki_pair_done(&ca);
	else
		*ret_ca_cert_only = ca;
	return r;
}

int certs_node(const char *dir, const char *node_name, const char *const *names, struct pki_pair *ret_ca_cert_only,
	       struct pki_pair *ret_serving, struct pki_pair *ret_client, struct pki_pair *ret_proxy, struct err *err)
{
	static const char *const nodes[] = {"system:nodes", NULL}, *const proxier[] = {"system:node-proxier", NULL};
	struct pki_pair ca = {0}, serving = {0}, client = {0}, proxy = {0};
	_cleanup_free_ char *user = xasprintf("system:node:%s", node_name);
	int r = read_ca(dir, &ca, err);
	if (r < 0)
		return err ? err_prefix(
				     err,
				     "no cluster in %s: start `minid server --dir %s` first, or join one with --join and --token",
				     dir, dir)
			   : r;
	struct wanted s = {.file = "kubelet", .common_name = user, .organizations = nodes, .names = names};
	r = keep(dir, &ca, &s, &serving, err);
	struct wanted c = {.file = "kubelet-client", .common_name = user, .organizations = nodes};
	if (r == 0)
		r = keep(dir, &ca, &c, &client, err);
	struct wanted p = {.file = "kube-proxy", .common_name = "system:kube-proxy", .organizations = proxier};
	if (r == 0)
		r = keep(dir, &ca, &p, &proxy, err);
	free(ca.key_pem);
	ca.key_pem = NULL;
	if (r < 0) {
		pki_pair_done(&ca);
		pki_pair_done(&serving);
		pki_pair_done(&client);
		pki_pair_done(&proxy);
		return r;
	}
	*ret_ca_cert_only = ca;
	*ret_serving = serving;
	*ret_client = client;
	*ret_proxy = proxy;
	return 0;
}
