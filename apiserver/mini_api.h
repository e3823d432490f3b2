/* What mini serves besides Kubernetes' API, under /mini/v1/: joining, the members of the cluster, copies of its state.
 *
 * JSON, bounded; every answer has "version": 1. Ids of clusters and members are 16 hex digits. Who may is decided by
 * RBAC, on paths, and where it says so by who the caller is.
 *
 *   GET    /mini/v1/ca             anyone: {ca, time, cluster}; to be checked against the hash in a join token
 *   POST   /mini/v1/join           a bearer of a join token: becomes a server or a node (join.c)
 *   GET    /mini/v1/keys           a server: the cluster's keys
 *   POST   /mini/v1/replace        a server that lost its state: comes back as another member
 *   POST   /mini/v1/renew          a node or a server, with its certificate: the same names anew (join.c)
 *   GET    /mini/v1/servers        a node or a server: {servers}, the URLs of all that serve the API (cluster_api.c)
 *   GET    /mini/v1/cluster        members, leader, alarms (cluster_api.c)
 *   GET    /mini/v1/status         this server's own figures
 *   DELETE /mini/v1/members/ID     ID: the member's id or name
 *   POST   /mini/v1/members/ID/promote, .../demote
 *   POST   /mini/v1/move-leader    {"to": ID}, or {} to whoever is furthest
 *   GET    /mini/v1/snapshot       a copy of the state (snapshot_api.c)
 */
#ifndef MINI_APISERVER_MINI_API_H
#define MINI_APISERVER_MINI_API_H

#include "apiserver/request.h"
#include "store/cluster.h"

#define MINI_PATH          "/mini/v1/"
#define MINI_VERSION       1
#define MINI_SERVERS_GROUP "mini:servers"
#define MINI_SERVER_PREFIX "mini:server:"
#define MINI_CERT_LIFE_S   ((int64_t)365 * 86400)

/* The handler of r->route.path, or NULL with r->err set or not (405). */
const struct handler *mini_handler(struct request *r);

/* The body as a JSON object of at most 64 KiB; none at all is an empty one. */
int mini_body(struct request *r, json_t **ret);
void mini_id_text(uint64_t id, char ret[17]);
bool mini_id_parse(const char *text, uint64_t *ret);
/* The member that a server's certificate names; 0: the caller is no server. */
uint64_t mini_caller(const struct request *r);
/* By id or by name; NULL: there is none. Members that are out do not count. */
const struct store_member *mini_member(const struct store_members *m, const char *id_or_name);
const struct store_member *mini_member_id(const struct store_members *m, uint64_t id);
const char *mini_role_text(enum store_role role);
bool mini_role_parse(const char *text, enum store_role *ret);
/* [{id, name, peer, api, ...}] */
json_t *mini_members_tree(const struct store_members *m);
/* Where the API is served: ["https://HOST:PORT", ...]. m NULL: the store is an external etcd. */
json_t *mini_api_urls(const struct apiserver *a, const struct store_members *m);

extern const struct handler mini_handler_ca, mini_handler_join, mini_handler_keys, mini_handler_replace;
extern const struct handler mini_handler_renew, mini_handler_servers;
extern const struct handler mini_handler_cluster, mini_handler_status, mini_handler_member, mini_handler_move_leader;
extern const struct handler mini_handler_snapshot;

#endif
