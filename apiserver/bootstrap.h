/* The objects a cluster cannot do without: written at start where they are missing; the watches the server itself needs
 * are opened on the way. */
#ifndef MINI_APISERVER_BOOTSTRAP_H
#define MINI_APISERVER_BOOTSTRAP_H

#include "apiserver/server.h"

struct bootstrap;
/* Never calls done inside the call. */
struct bootstrap *bootstrap_start(struct apiserver *a, void (*done)(void *arg, const struct err *err), void *arg);

/* Writes again what somebody deleted of the namespaces and the service that a cluster lives on; if that is being done, once
 * more after it. */
void bootstrap_mend(struct apiserver *a);

/* ---- the tables (bootstrap_roles.c) ---- */

/* A rule: space-separated words. Names in resources may have a subresource. */
struct bootstrap_rule {
	const char *verbs;     /* NULL ends the list */
	const char *groups;    /* "core" for "" */
	const char *resources; /* NULL: non-resource */
	const char *names;     /* or NULL */
	const char *urls;      /* or NULL */
};
struct bootstrap_role {
	const char *name;      /* NULL ends the list */
	const char *ns;        /* NULL: a ClusterRole */
	const char *labels;    /* "key=value" or NULL, besides kubernetes.io/bootstrapping */
	const char *aggregate; /* label key whose "true" selects what it aggregates, or NULL */
	const struct bootstrap_rule *rules;
};
struct bootstrap_binding {
	const char *name, *ns, *role;
	bool cluster_role;
	const char *subjects; /* "User:x Group:y ServiceAccount:ns/name" */
};
extern const struct bootstrap_role bootstrap_roles[];
extern const struct bootstrap_binding bootstrap_bindings[];

#endif
