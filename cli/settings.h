/* What a server remembers beside its store, so that a later start needs no flags: DIR/server.json (who it is, where it
 * listens) and DIR/members (who the others are and where they are asked). Both rewritten atomically, mode 0600. */
#ifndef MINI_CLI_SETTINGS_H
#define MINI_CLI_SETTINGS_H

#include "cli/options.h"
#include "lib/api/object.h"
#include "store/cluster.h"

struct settings {
	char *name;
	char *listen; /* NULL: 0.0.0.0 */
	uint16_t port;
	char *peer_listen; /* NULL: 0.0.0.0 */
	uint16_t peer_port;
	char *advertise; /* NULL: found anew at each start */
	uint64_t history_us, history_bytes, history_disk_bytes;
	char *service_cidr, *cluster_cidr; /* the cluster's; NULL: the flags' */
	uint64_t cluster, member;          /* 0: not known yet */
	enum store_role wish;              /* what it is to be */
	bool joining;                      /* added to a cluster, and not yet told all by it */
	struct {
		char *servers, *cafile, *certfile, *keyfile, *prefix;
	} etcd; /* cli/external.h; servers NULL: a store of its own */
};
struct others {
	struct store_member *members;
	size_t n;
};

/* An absent file is no error: zeroed. */
int settings_read(const char *dir, struct settings *ret, struct err *err);
int settings_write(const char *dir, const struct settings *s, struct err *err);
void settings_done(struct settings *s);
/* The flags given now take the place of what was remembered; then defaults: the name from the host's and the instance. */
void settings_apply(struct settings *s, const struct options *o, const char *host_name);

int others_read(const char *dir, struct others *ret, struct err *err);
int others_write(const char *dir, const struct store_member *members, size_t n, struct err *err);
void others_done(struct others *o);
/* --peer: they are there now, and DIR/members says so. This server's own is passed over, so that all may be given the
 * same flags; -ENOENT: nobody is called so. */
int others_move(const char *dir, const struct settings *s, const struct options *o, struct err *err);
/* From the member list of an answer (apiserver/mini_api.h); what cannot be read is left out. */
void others_from_tree(const json_t *list, struct others *ret);

/* Where other servers and nodes find this one: --advertise, the address it listens on when that is one, --node-ip, the
 * source of the default route, any address of this host that is not loopback. */
void settings_address(const struct settings *s, const struct options *o, const char *listen, char ret[256]);
/* "HOST:PORT", the host in brackets where it needs them. Caller frees. */
char *settings_join_address(const char *host, uint16_t port);
/* The source address of the default route, or one of this host; 127.0.0.1 when there is nothing else. */
void settings_default_address(char ret[64]);

#endif
