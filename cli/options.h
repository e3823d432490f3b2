/* Flags of minid, parsed once into one struct. `--flag VALUE` and `--flag=VALUE`. */
#ifndef MINI_CLI_OPTIONS_H
#define MINI_CLI_OPTIONS_H

#include "lib/core/err.h"
#include "lib/core/util.h"

struct options {
	const char *dir;       /* --dir: absolute, made so by options_parse (heap, lives as long as the process) */
	uint16_t port;         /* --port: API */
	const char *listen;    /* --listen HOST: NULL: server 0.0.0.0; demo 127.0.0.1 and the bridge */
	uint16_t node_port;    /* --node-port: node API */
	const char *node_name; /* --node-name: NULL: the host name */
	const char *node_ip;   /* --node-ip: NULL: source of the default route; in a demo the bridge's */
	const char *cluster_cidr, *service_cidr; /* --cluster-cidr, --service-cidr */
	const char *server;                      /* --server URL: for an agent; NULL: https://127.0.0.1:PORT */
	bool reset;                              /* --reset */
	bool detach;                             /* --detach */
	bool verbose, log_json;                  /* -v, --log-format=json */
	char instance[9];                        /* "" for the default directory, else four hex digits made from it */
};

/* argv behind the subcommand. -EINVAL with a message that names the flag. */
int options_parse(int argc, char **argv, struct options *ret, struct err *err);

#endif
