#include "lib/api/api_internal.h"

void path_add(struct buf *out, const struct path *p)
{
	if (!p)
		return;
	path_add(out, p->up);
	if (p->name) {
		if (out->len)
			buf_addc(out, '.');
		buf_adds(out, p->name);
	} else if (p->key) {
		buf_addf(out, "[%s]", p->key);
	} else if (p->up) {
		buf_addf(out, "[%zu]", p->index);
	}
}

char *path_str(const struct path *p)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	path_add(&b, p);
	return buf_steal(&b);
}

char *value_quoted(const json_t *v)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (!v)
		return xstrdup("null");
	json_write(&b, v);
	size_t cut = 200;
	if (b.len > cut) {
		while (cut > 0 && ((uint8_t)b.data[cut] & 0xc0) == 0x80)
			cut--;
		b.len = cut;
		buf_adds(&b, "...");
	}
	return buf_steal(&b);
}

bool list_keys_equal(const json_t *a, const json_t *b, const char *keys)
{
	while (*keys) {
		size_t n = strcspn(keys, " ");
		const json_t *x = json_object_getn(a, keys, n), *y = json_object_getn(b, keys, n);
		if ((x || y) && !json_equal(x, y))
			return false;
		keys += n;
		keys += strspn(keys, " ");
	}
	return true;
}
