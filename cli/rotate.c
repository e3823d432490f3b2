#include "cli/rotate.h"

#include <errno.h>

#include "lib/core/file.h"

#define PEM_MAX 65536u

const struct rotate_file rotate_node[] = {
	{"kubelet-client", "csr", "certificate"},
	{"kubelet", "servingCsr", "servingCertificate"},
	{"kube-proxy", "proxyCsr", "proxyCertificate"},
	{NULL, NULL, NULL},
};
const struct rotate_file rotate_member[] = {{"server", "csr", "certificate"}, {NULL, NULL, NULL}};

static char *path_of(const char *dir, const char *file, const char *suffix)
{
	return xasprintf("%s/pki/%s%s", dir, file, suffix);
}

static int read_pem(const char *dir, const char *file, const char *suffix, char **ret, struct err *err)
{
	_cleanup_free_ char *path = path_of(dir, file, suffix);
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r = file_read(path, PEM_MAX, &b, err);
	if (r == 0)
		*ret = buf_steal(&b);
	return r;
}

/* From 70 to 80 % of its life on: each certificate has a moment of its own. */
static bool is_due(const char *cert_pem, int64_t now_s)
{
	struct pki_cert_info i = {0};
	if (pki_cert_info(cert_pem, &i, NULL) < 0)
		return false;
	int64_t tenth_s = MAX(i.not_after_s - i.not_before_s, (int64_t)0) / 10;
	int64_t at_s = 7 * tenth_s + (int64_t)(hash64(cert_pem, strlen(cert_pem)) % (uint64_t)(tenth_s + 1));
	bool due = now_s >= i.not_before_s + at_s;
	pki_cert_info_done(&i);
	return due;
}

bool rotate_due(const char *dir, const struct rotate_file *files, int64_t now_s)
{
	_cleanup_free_ char *ca_key = path_of(dir, "ca", ".key");
	bool due = false;
	if (file_exists(ca_key))
		return false;
	for (const struct rotate_file *f = files; f->file; f++) {
		_cleanup_free_ char *pem = NULL;
		if (read_pem(dir, f->file, ".crt", &pem, NULL) < 0 || !pem)
			return false;
		due |= is_due(pem, now_s);
	}
	return due;
}

/* Made once; asked with again until it is answered. */
static int next_key(const char *dir, const char *file, char **ret, struct err *err)
{
	_cleanup_free_ char *path = path_of(dir, file, "-next.key"), *key = NULL;
	if (file_exists(path))
		return read_pem(dir, file, "-next.key", ret, err);
	int r = pki_make_key(&key, err);
	if (r == 0)
		r = file_write_atomic(path, key, strlen(key), 0600, err);
	if (r == 0)
		*ret = STEAL(key);
	return r;
}

int rotate_make(const char *dir, const struct rotate_file *files, json_t *body, struct err *err)
{
	const struct pki_request req = {.common_name = "renew"}; /* the server decides */
	for (const struct rotate_file *f = files; f->file; f++) {
		_cleanup_free_ char *key = NULL, *csr = NULL;
		int r = next_key(dir, f->file, &key, err);
		if (r == 0)
			r = pki_make_csr(key, &req, &csr, err);
		if (r < 0)
			return r;
		json_put_str(body, f->csr, csr);
	}
	return 0;
}

static bool same_key(const char *cert_pem, const char *key_pem)
{
	uint8_t a[32], b[32];
	return pki_cert_key_hash(cert_pem, a, NULL) == 0 && pki_key_hash(key_pem, b, NULL) == 0 &&
	       memcmp(a, b, sizeof(a)) == 0;
}

/* Of the name that the present one has, of the new key, and good now. */
static int check(const char *dir, const struct rotate_file *f, const char *cert, int64_t now_s, struct err *err)
{
	_cleanup_free_ char *key = NULL, *present = NULL;
	struct pki_cert_info is = {0}, was = {0};
	int r = read_pem(dir, f->file, "-next.key", &key, err);
	if (r == 0)
		r = read_pem(dir, f->file, ".crt", &present, err);
	if (r == 0)
		r = pki_cert_info(present, &was, err);
	if (r == 0)
		r = pki_cert_info(cert, &is, err);
	bool good = r == 0 && streq(is.common_name, was.common_name) && same_key(cert, key) &&
		    now_s >= is.not_before_s && now_s < is.not_after_s;
	if (r == 0 && !good)
		r = err_set(err, -EPROTO,
			    "the certificate for %s that was answered is not what was asked for, or of another time",
			    f->file);
	pki_cert_info_done(&is);
	pki_cert_info_done(&was);
	return r;
}

bool rotate_settle(const char *dir, const char *file, const char *cert_pem)
{
	_cleanup_free_ char *next = path_of(dir, file, "-next.key"), *key = path_of(dir, file, ".key"), *pem = NULL;
	return read_pem(dir, file, "-next.key", &pem, NULL) == 0 && same_key(cert_pem, pem) && rename(next, key) == 0;
}

int rotate_take(const char *dir, const struct rotate_file *files, const json_t *answer, int64_t now_s, struct err *err)
{
	for (const struct rotate_file *f = files; f->file; f++) {
		int r = check(dir, f, json_get_str(answer, f->cert, ""), now_s, err);
		if (r < 0)
			return r;
	}
	for (const struct rotate_file *f = files; f->file; f++) {
		const char *cert = json_get_str(answer, f->cert, "");
		_cleanup_free_ char *path = path_of(dir, f->file, ".crt");
		int r = file_write_atomic(path, cert, strlen(cert), 0644, err);
		if (r < 0)
			return r;
		if (!rotate_settle(dir, f->file, cert))
			return err_set(err, -EIO, "the new key of %s did not get into its place", path);
	}
	return 0;
}
