/* Flags of minid, parsed once into one struct. `--flag VALUE` and `--flag=VALUE`. */
#ifndef MINI_CLI_OPTIONS_H
#define MINI_CLI_OPTIONS_H

#include "lib/core/err.h"
#include "lib/core/util.h"

#define OPTIONS_PEERS_MAX 32u

struct options {
	const char *dir;       /* --dir: absolute, made so by options_parse (heap, lives as long as the process) */
	uint16_t port;         /* --port, or behind --listen: API */
	const char *listen;    /* --listen HOST[:PORT]: the host; NULL: server 0.0.0.0; demo 127.0.0.1 and the bridge */
	uint16_t node_port;    /* --node-port: node API */
	const char *node_name; /* --node-name: NULL: the host name */
	const char *node_ip;   /* --node-ip: NULL: source of the default route; in a demo the bridge's */
	const char *cluster_cidr, *service_cidr; /* --cluster-cidr, --service-cidr */
	const char *server;                      /* --server URL: for an agent; NULL: https://127.0.0.1:PORT */
	bool reset;                              /* --reset */
	bool detach;                             /* --detach */
	bool verbose, log_json;                  /* -v, --log-format=json */
	char instance[9];                        /* "" for the default directory, else four hex digits made from it */

	/* servers of a cluster */
	const char *name;        /* --name: NULL: as it was before, or the host name and the instance */
	const char *peer_listen; /* --peer-listen HOST:PORT: the host; NULL: 0.0.0.0 */
	uint16_t peer_port;      /* 6444 */
	const char *advertise;   /* --advertise HOST: where the others find this server; NULL: cli/settings.h */
	const char *join;        /* --join URL; also of an agent */
	const char *token;       /* --token */
	const char
		*peers[OPTIONS_PEERS_MAX]; /* --peer NAME=HOST[:PORT], again and again: where another server is now */
	unsigned n_peers;
	bool learner, witness;
	bool port_given, peer_given; /* what is not was perhaps said at an earlier start */
	uint64_t history_us;         /* --history: 0: the store's */
	uint64_t history_bytes;      /* --history-bytes */
	uint64_t history_disk_bytes; /* --history-size: 0: no bound */

	/* --etcd-servers ...: the store is an external etcd */
	const char *etcd_servers, *etcd_cafile, *etcd_certfile, *etcd_keyfile, *etcd_prefix;

	/* minid token */
	const char *words[4]; /* what stands between the flags: "create"; "delete", ID */
	unsigned n_words;
	uint64_t ttl_us;  /* --ttl: 24 h; 0: none */
	const char *role; /* --role server|agent */
};

/* argv behind the verb, which must have each of the flags. -EINVAL with a message that names the flag. words: how many arguments that are no flags it
 * may have. */
int options_parse(const char *verb, int argc, char **argv, unsigned words, struct options *ret, struct err *err);
void options_done(struct options *o);
/* "HOST", "HOST:PORT", ":PORT", "[V6]:PORT": *ret_host is NULL, *ret_port untouched for what is not said. Heap. */
int options_address(const char *flag, const char *text, char **ret_host, uint16_t *ret_port, struct err *err);
/* "90s", "10m", "24h", "7d", "1h30m"; "0". */
int options_duration(const char *flag, const char *text, uint64_t *ret_us, struct err *err);
/* "64Mi", "1Gi", "1000000". */
int options_bytes(const char *flag, const char *text, uint64_t *ret, struct err *err);

#endif
