/* Finding kinds by their names. A few dozen rows: a walk is fine. */
#include <strings.h>

#include "lib/api/schema.h"

#define KIND_EACH(k) for (const struct kind *const *k##_at = kinds_all, *k; (k = *k##_at); k##_at++)

const struct kind *kind_by_resource(const char *group, const char *version, const char *plural)
{
	KIND_EACH(k)
	{
		if (streq(k->plural, plural) && streq(k->version, version) && streq(k->group, group))
			return k;
	}
	return NULL;
}

const struct kind *kind_by_kind(const char *group, const char *version, const char *kind)
{
	KIND_EACH(k)
	{
		if (streq(k->kind, kind) && streq(k->version, version) && streq(k->group, group))
			return k;
	}
	return NULL;
}

const struct kind *kind_by_api_version(const char *api_version, const char *kind)
{
	const char *slash = strchr(api_version, '/');
	const char *version = slash ? slash + 1 : api_version;
	size_t group_len = slash ? (size_t)(slash - api_version) : 0;

	KIND_EACH(k)
	{
		if (streq(k->kind, kind) && streq(k->version, version) && strlen(k->group) == group_len &&
		    memcmp(k->group, api_version, group_len) == 0)
			return k;
	}
	return NULL;
}

static bool word_is(const char *word, size_t len, const char *name)
{
	return name && strlen(name) == len && strncasecmp(word, name, len) == 0;
}

static bool names_kind(const struct kind *k, const char *word, size_t len)
{
	if (word_is(word, len, k->plural) || word_is(word, len, k->singular) || word_is(word, len, k->kind))
		return true;
	for (const char *const *s = k->short_names; s && *s; s++) {
		if (word_is(word, len, *s))
			return true;
	}
	return false;
}

/* rest: "group" or "version.group". */
static bool names_group(const struct kind *k, const char *rest)
{
	if (strcasecmp(rest, k->group) == 0)
		return true;
	size_t n = strlen(k->version);
	if (strncasecmp(rest, k->version, n) != 0)
		return false;
	return (rest[n] == '.' && strcasecmp(rest + n + 1, k->group) == 0) || (rest[n] == '\0' && !*k->group);
}

const struct kind *kind_by_word(const char *word)
{
	const char *dot = strchr(word, '.');
	size_t len = dot ? (size_t)(dot - word) : strlen(word);

	KIND_EACH(k)
	{
		if (names_kind(k, word, len) && (!dot || names_group(k, dot + 1)))
			return k;
	}
	return NULL;
}

char *kind_api_version(const struct kind *k)
{
	return *k->group ? xasprintf("%s/%s", k->group, k->version) : xstrdup(k->version);
}

char *kind_resource(const struct kind *k)
{
	return *k->group ? xasprintf("%s.%s", k->plural, k->group) : xstrdup(k->plural);
}
