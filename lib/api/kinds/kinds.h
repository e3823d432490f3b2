/* What the rows of kinds.c take from the files beside it: columns, cells, and what the server sets before storing.
 *
 * Private to lib/api/kinds. The columns are upstream's kube-apiserver's, their order is that of the cells.
 */
#ifndef MINI_API_KINDS_KINDS_H
#define MINI_API_KINDS_KINDS_H

#include "lib/api/schema.h"

/* Ports are compared with one another; upstream has no bound but the body's. */
#define SERVICE_PORTS_MAX 1000

#define KIND_PRINTER(id)                                                                                               \
	extern const struct kind_column id##_columns[];                                                                \
	void id##__cells(const json_t *obj, int64_t now_s, json_t *cells)

KIND_PRINTER(plain); /* name and time of creation, for kinds without columns of their own */
KIND_PRINTER(pod);
KIND_PRINTER(node);
KIND_PRINTER(namespace);
KIND_PRINTER(service);
KIND_PRINTER(endpoints);
KIND_PRINTER(endpoint_slice);
KIND_PRINTER(config_map);
KIND_PRINTER(secret);
KIND_PRINTER(service_account);
KIND_PRINTER(event);
KIND_PRINTER(deployment);
KIND_PRINTER(replica_set);
KIND_PRINTER(lease);
KIND_PRINTER(role_binding);

#define KIND_PREPARE(id) void id##__prepare(json_t *obj, const json_t *old)

KIND_PREPARE(pod);
KIND_PREPARE(node);
KIND_PREPARE(namespace);
KIND_PREPARE(service);
KIND_PREPARE(deployment);
KIND_PREPARE(replica_set);

#endif
