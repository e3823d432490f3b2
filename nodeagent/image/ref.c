/* Image references as people write them. Source: the grammar of distribution/reference. */
#include <ctype.h>
#include <errno.h>

#include "lib/core/buf.h"
#include "nodeagent/image/image.h"

static bool host_part(const char *s, size_t n)
{
	if (n == 0 || !isalnum((unsigned char)s[0]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr(".-:", s[i]))
			return false;
	return true;
}

/* a-z0-9 with single separators . _ __ - between, components split by '/'. */
static bool path_part(const char *s, size_t n)
{
	if (n == 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool edge = i == 0 || i == n - 1 || s[i - 1] == '/' || s[i + 1] == '/';
		if (islower((unsigned char)s[i]) || isdigit((unsigned char)s[i]))
			continue;
		if (s[i] == '/' ? (i == 0 || i == n - 1 || s[i - 1] == '/') : (edge || !strchr("._-", s[i])))
			return false;
	}
	return true;
}

static bool tag_part(const char *s, size_t n)
{
	if (n == 0 || n > 128 || s[0] == '.' || s[0] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("._-", s[i]))
			return false;
	return true;
}

static bool digest_part(const char *s)
{
	return str_starts(s, "sha256:") && strlen(s) == 71 && strspn(s + 7, "0123456789abcdef") == 64;
}

int image_normalize(const char *ref, char **ret, struct err *err)
{
	size_t len = strlen(ref);
	const char *at = strchr(ref, '@'), *end = at ? at : ref + len;
	if (len == 0 || len > 512 || (at && !digest_part(at + 1)))
		return err_set(err, -EINVAL, "couldn't parse image reference \"%.200s\": invalid reference format",
			       ref);
	const char *slash = memchr(ref, '/', (size_t)(end - ref));
	/* The first component is a registry when it looks like a host. */
	bool has_host = slash && (memchr(ref, '.', (size_t)(slash - ref)) || memchr(ref, ':', (size_t)(slash - ref)) ||
				  (slash - ref == 9 && memcmp(ref, "localhost", 9) == 0));
	const char *path = has_host ? slash + 1 : ref, *colon = NULL;
	for (const char *p = path; p < end; p++)
		if (*p == ':')
			colon = p;
	const char *path_end = colon ? colon : end;
	if ((has_host && !host_part(ref, (size_t)(slash - ref))) || !path_part(path, (size_t)(path_end - path)) ||
	    (colon && !tag_part(colon + 1, (size_t)(end - colon - 1))))
		return err_set(err, -EINVAL, "couldn't parse image reference \"%.200s\": invalid reference format",
			       ref);
	_cleanup_buf_ struct buf b = BUF_INIT;
	if (!has_host)
		buf_adds(&b, memchr(path, '/', (size_t)(path_end - path)) ? "docker.io/" : "docker.io/library/");
	buf_add(&b, ref, (size_t)(end - ref));
	if (!colon && !at)
		buf_adds(&b, ":latest");
	if (at)
		buf_adds(&b, at);
	*ret = buf_steal(&b);
	return 0;
}
