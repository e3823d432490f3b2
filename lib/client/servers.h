/* The API servers of a cluster, of which one is spoken to: a list of URLs, shared by the clients of a process
 * (client_http_new_among). The one in use stays in use until it fails; then the next takes its place, for all clients
 * alike: what may be asked twice is asked there at once, watches end there and are resumed here.
 *
 *   refused, cut off without an answer, silent for 10 s -> the next
 *   503 for 3 s in a row (it has no quorum, or no disk) -> the next
 *   all, one after the other                            -> whoever asked has the error, and backs off
 *
 * Loop thread only; reference-counted.
 */
#ifndef MINI_CLIENT_SERVERS_H
#define MINI_CLIENT_SERVERS_H

#include "lib/core/env.h"
#include "lib/core/err.h"

#define SERVERS_MAX 32u

struct servers;

/* urls: http(s)://HOST[:PORT][/PATH], in the order in which they are tried. -EINVAL: none, or one that is no URL. */
int servers_new(struct env *env, const char *const *urls, size_t n, struct servers **ret, struct err *err);
struct servers *servers_ref(struct servers *s);
void servers_unref(struct servers *s);
/* A new list, in which the one in use, if it is there, stays in use. What is no URL, or of another scheme than the first
 * list's, is left out; nothing changes where nothing is left. Did anything change? */
bool servers_set(struct servers *s, const char *const *urls, size_t n);
size_t servers_count(const struct servers *s);
const char *servers_at(const struct servers *s, size_t i); /* valid until the list changes */
const char *servers_current(const struct servers *s);

#endif
