#include "lib/client/join_token.h"

#include <errno.h>

#include "lib/net/pki.h"

#define ID_LEN     6u
#define SECRET_LEN 16u
#define HASH_MARK  "@sha256:"

/* Evenly among 36 characters: bytes beyond the last whole multiple are thrown away. */
static void random_text(char *ret, size_t n)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	for (size_t i = 0; i < n;) {
		uint8_t b;
		pki_random(&b, 1);
		if (b < 252)
			ret[i++] = alphabet[b % 36];
	}
	ret[n] = 0;
}

int join_token_make(const char *ca_pem, struct join_token *ret, struct err *err)
{
	struct join_token t;
	int r = pki_cert_key_hash(ca_pem, t.ca, err);
	if (r < 0)
		return r;
	random_text(t.id, ID_LEN);
	random_text(t.secret, SECRET_LEN);
	*ret = t;
	return 0;
}

void join_token_text(const struct join_token *t, char ret[JOIN_TOKEN_TEXT_MAX])
{
	char hex[65];
	hex_encode(t->ca, sizeof(t->ca), hex);
	snprintf(ret, JOIN_TOKEN_TEXT_MAX, "%s.%s" HASH_MARK "%s", t->id, t->secret, hex);
}

static bool all_of(const char *s, size_t n, const char *alphabet)
{
	return strspn(s, alphabet) >= n;
}

bool join_token_is_bearer(const char *text, char ret_id[7], char ret_secret[17])
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	if (strlen(text) != ID_LEN + 1 + SECRET_LEN || !all_of(text, ID_LEN, alphabet) || text[ID_LEN] != '.' ||
	    !all_of(text + ID_LEN + 1, SECRET_LEN, alphabet))
		return false;
	memcpy(ret_id, text, ID_LEN);
	ret_id[ID_LEN] = 0;
	memcpy(ret_secret, text + ID_LEN + 1, SECRET_LEN + 1);
	return true;
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hash(const char *hex, uint8_t ret[32])
{
	if (strlen(hex) != 64)
		return false;
	for (size_t i = 0; i < 32; i++) {
		int hi = nibble(hex[2 * i]), lo = nibble(hex[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		ret[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

int join_token_parse(const char *text, struct join_token *ret, struct err *err)
{
	struct join_token t;
	const char *mark = strstr(text, HASH_MARK);
	_cleanup_free_ char *bearer = mark ? xstrndup(text, (size_t)(mark - text)) : NULL;
	if (!mark || !join_token_is_bearer(bearer, t.id, t.secret) || !read_hash(mark + strlen(HASH_MARK), t.ca))
		return err_set(err, -EINVAL,
			       "the token is not one of `minid token create`, or not whole: it reads "
			       "xxxxxx.xxxxxxxxxxxxxxxx" HASH_MARK "... with 64 hex digits behind it");
	*ret = t;
	return 0;
}

static void put(json_t *data, const char *key, const char *value)
{
	_cleanup_free_ char *text = value ? base64_encode(value, strlen(value)) : NULL;
	json_put_str(data, key, text);
}

json_t *join_token_object(const struct join_token *t, const struct join_token_grant *g)
{
	char expires[24];
	bool server = streq(g->role, "server");
	_cleanup_free_ char *name = xasprintf(JOIN_TOKEN_PREFIX "%s", t->id);
	json_t *data = json_object();
	put(data, "token-id", t->id);
	put(data, "token-secret", t->secret);
	put(data, "usage-bootstrap-authentication", "true");
	put(data, "auth-extra-groups", server ? JOIN_GROUP_SERVERS : JOIN_GROUP_AGENTS);
	put(data, "description", server ? "lets servers join" : "lets agents join");
	put(data, "expiration", g->expires_s ? time_format_s(g->expires_s, expires) : NULL);
	put(data, "mini-name", g->name);
	put(data, "mini-wish", g->wish);
	return json_make("{s:s, s:s, s:{s:s, s:s}, s:s, s:o}", "apiVersion", "v1", "kind", "Secret", "metadata", "name",
			 name, "namespace", JOIN_TOKEN_NS, "type", JOIN_TOKEN_TYPE, "data", data);
}

char *join_token_field(const json_t *secret, const char *key)
{
	const char *text = json_get_str(json_object_get(secret, "data"), key, NULL);
	uint8_t *bytes = NULL;
	size_t len;
	if (!text || base64_decode(text, strlen(text), &bytes, &len) < 0)
		return NULL;
	char *value = memchr(bytes, 0, len) ? NULL : xstrndup((const char *)bytes, len);
	free(bytes);
	return value;
}

int64_t join_token_expiry(const json_t *secret)
{
	int64_t us;
	if (!json_object_get(json_object_get(secret, "data"), "expiration"))
		return 0;
	_cleanup_free_ char *time = join_token_field(secret, "expiration");
	return !time || time_parse_us(time, &us) < 0 ? -1 : us / 1000000;
}
