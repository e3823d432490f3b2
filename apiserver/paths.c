/* URL paths: which resource, namespace, name and subresource they name. */
#include "apiserver/request.h"

#define MAX_PARTS 64

/* Split at slashes in place; empty parts are skipped. */
static size_t split(char *s, char *parts[MAX_PARTS])
{
	size_t n = 0;
	for (char *save = NULL, *p = strtok_r(s, "/", &save); p && n < MAX_PARTS; p = strtok_r(NULL, "/", &save))
		parts[n++] = p;
	return n;
}

/* namespaces/NS[/RESOURCE...]: status and finalize belong to the namespace itself. */
static size_t take_namespace(struct route *r, char **parts, size_t n)
{
	if (n < 2 || !streq(parts[0], "namespaces"))
		return 0;
	r->ns = parts[1];
	bool own = n == 2 || streq(parts[2], "status") || streq(parts[2], "finalize");
	return own ? 0 : 2;
}

void route_parse(const char *path, struct route *ret)
{
	size_t len = strlen(path);
	*ret = (struct route){.memory = xmalloc(2 * len + 2)};
	memcpy(ret->memory, path, len + 1);
	ret->path = ret->memory;
	ret->group = ret->version = ret->plural = ret->ns = ret->name = ret->subresource = "";
	char *text = ret->memory + len + 1, *parts[MAX_PARTS];
	memcpy(text, path, len + 1);
	size_t n = split(text, parts), at;
	if (n >= 3 && streq(parts[0], "api")) {
		ret->version = parts[1];
		at = 2;
	} else if (n >= 4 && streq(parts[0], "apis")) {
		ret->group = parts[1];
		ret->version = parts[2];
		at = 3;
	} else {
		return;
	}
	ret->is_resource = true;
	if (streq(parts[at], "watch") && n > at + 1) {
		ret->legacy_watch = true;
		at++;
	}
	at += take_namespace(ret, parts + at, n - at);
	ret->plural = parts[at];
	if (n > at + 1)
		ret->name = parts[at + 1];
	if (n > at + 2)
		ret->subresource = parts[at + 2];
	if (n > at + 3) /* deeper than anything served */
		ret->subresource = "*unknown*";
}

void route_done(struct route *r)
{
	free(r->memory);
	*r = (struct route){0};
}
