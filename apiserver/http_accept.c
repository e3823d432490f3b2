/* Content negotiation: Accept and Content-Type. */
#include <strings.h>

#include "apiserver/http_front.h"

/* One alternative of an Accept header, e.g. "application/json;as=Table;v=v1;g=meta.k8s.io". */
struct alternative {
	char type[64], as[64], version[32], group[64];
};

static void copy_trimmed(char *to, size_t size, const char *from, size_t len)
{
	while (len && (*from == ' ' || *from == '\t'))
		from++, len--;
	while (len && (from[len - 1] == ' ' || from[len - 1] == '\t'))
		len--;
	if (len >= size)
		len = size - 1;
	memcpy(to, from, len);
	to[len] = 0;
}

static void parameter(struct alternative *a, const char *s, size_t len)
{
	char text[160];
	copy_trimmed(text, sizeof(text), s, len);
	char *eq = strchr(text, '=');
	if (!eq)
		return;
	*eq++ = 0;
	if (streq(text, "as"))
		copy_trimmed(a->as, sizeof(a->as), eq, strlen(eq));
	else if (streq(text, "v"))
		copy_trimmed(a->version, sizeof(a->version), eq, strlen(eq));
	else if (streq(text, "g"))
		copy_trimmed(a->group, sizeof(a->group), eq, strlen(eq));
}

/* Reads one alternative; returns what is behind its comma. */
static const char *alternative_parse(const char *s, struct alternative *ret)
{
	*ret = (struct alternative){0};
	size_t len = strcspn(s, ";,");
	copy_trimmed(ret->type, sizeof(ret->type), s, len);
	s += len;
	while (*s == ';') {
		s++;
		len = strcspn(s, ";,");
		parameter(ret, s, len);
		s += len;
	}
	return *s == ',' ? s + 1 : s;
}

static bool alternative_fits(const struct alternative *a, struct accept *ret)
{
	*ret = (struct accept){.format = FORMAT_JSON};
	bool json = strcasecmp(a->type, "application/json") == 0 || streq(a->type, "*/*") ||
		    strcasecmp(a->type, "application/*") == 0;
	if (strcasecmp(a->type, "application/yaml") == 0)
		ret->yaml = true;
	else if (!json)
		return false;
	if (!*a->as)
		return true;
	/* v1beta1 is the same but for its name: clients that know v1 put it first */
	bool meta = streq(a->group, "meta.k8s.io") && streq(a->version, "v1");
	if (streq(a->as, "Table") && meta)
		ret->format = FORMAT_TABLE;
	else if ((streq(a->as, "PartialObjectMetadata") || streq(a->as, "PartialObjectMetadataList")) && meta)
		ret->format = FORMAT_PARTIAL;
	else
		return str_starts(a->as, "APIGroupDiscovery");
	return true;
}

bool accept_parse(const char *header, struct accept *ret)
{
	*ret = (struct accept){.format = FORMAT_JSON};
	if (str_empty(header))
		return true;
	for (const char *p = header; *p;) {
		struct alternative a;
		p = alternative_parse(p, &a);
		if (alternative_fits(&a, ret))
			return true;
	}
	return false;
}

bool content_type_parse(const char *header, enum body_format *ret)
{
	static const struct {
		const char *type;
		enum body_format format;
	} types[] = {
		{"application/json", BODY_JSON},
		{"application/yaml", BODY_YAML},
		{"application/vnd.kubernetes.protobuf", BODY_PROTOBUF},
		{"application/json-patch+json", BODY_PATCH_JSON},
		{"application/merge-patch+json", BODY_PATCH_MERGE},
		{"application/strategic-merge-patch+json", BODY_PATCH_STRATEGIC},
	};
	*ret = BODY_JSON;
	if (str_empty(header))
		return true;
	char type[80];
	copy_trimmed(type, sizeof(type), header, strcspn(header, ";"));
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (strcasecmp(type, types[i].type) == 0) {
			*ret = types[i].format;
			return true;
		}
	}
	return false;
}
