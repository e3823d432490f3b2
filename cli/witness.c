#include "cli/witness.h"

#include <errno.h>

static size_t urls_of(const struct store_member *members, size_t n, const char *ret[SERVERS_MAX])
{
	size_t found = 0;
	for (size_t i = 0; i < n && found < SERVERS_MAX; i++)
		if (*members[i].api && members[i].wish != STORE_ROLE_NONE)
			ret[found++] = members[i].api;
	return found;
}

int witness_open(struct env *env, uv_loop_t *loop, const char *dir, const struct pki_pair *own, const char *ca_pem,
		 struct witness *w, struct err *err)
{
	struct witness open = {0};
	struct others others = {0};
	const char *urls[SERVERS_MAX];
	int r = others_read(dir, &others, err);
	if (r == 0)
		r = servers_new(env, urls, urls_of(others.members, others.n, urls), &open.servers, err);
	if (r == 0) {
		const struct kubeconfig k = {
			.ca_pem = (char *)ca_pem, .cert_pem = own->cert_pem, .key_pem = own->key_pem};
		r = client_http_new_among(env, loop, open.servers, &k, "minid-witness", &open.client, err);
	}
	others_done(&others);
	if (r < 0)
		witness_close(&open);
	else
		*w = open;
	return r;
}

void witness_follow(struct witness *w, const struct store_member *members, size_t n)
{
	const char *urls[SERVERS_MAX];
	if (w->servers)
		servers_set(w->servers, urls, urls_of(members, n, urls));
}

void witness_close(struct witness *w)
{
	client_free(w->client);
	servers_unref(w->servers);
	*w = (struct witness){0};
}
