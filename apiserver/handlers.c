/* Which handler serves which verb on which resource or subresource. */
#include "apiserver/delete.h"
#include "apiserver/discovery.h"
#include "apiserver/node_proxy.h"
#include "apiserver/nonresource.h"
#include "apiserver/read.h"
#include "apiserver/request.h"
#include "apiserver/subresource.h"
#include "apiserver/watch.h"
#include "apiserver/write.h"

static const struct {
	enum verb verb;
	unsigned kind_verb;
	const struct handler *handler;
} plain[] = {
	{V_GET, VERB_GET, &handler_get},
	{V_LIST, VERB_LIST, &handler_list},
	{V_WATCH, VERB_WATCH, &handler_watch},
	{V_CREATE, VERB_CREATE, &handler_create},
	{V_UPDATE, VERB_UPDATE, &handler_update},
	{V_PATCH, VERB_PATCH, &handler_patch},
	{V_DELETE, VERB_DELETE, &handler_delete},
	{V_DELETECOLLECTION, VERB_DELETECOLLECTION, &handler_deletecollection},
};

static const struct {
	const char *name;
	unsigned flag;
	enum verb verb;
	const struct handler *handler;
} subs[] = {
	{"status", KIND_SUB_STATUS, V_GET, &handler_get},
	{"status", KIND_SUB_STATUS, V_UPDATE, &handler_update_status},
	{"status", KIND_SUB_STATUS, V_PATCH, &handler_patch_status},
	{"scale", KIND_SUB_SCALE, V_GET, &handler_get_scale},
	{"scale", KIND_SUB_SCALE, V_UPDATE, &handler_update_scale},
	{"scale", KIND_SUB_SCALE, V_PATCH, &handler_patch_scale},
	{"binding", KIND_SUB_BINDING, V_CREATE, &handler_binding},
	{"eviction", KIND_SUB_EVICTION, V_CREATE, &handler_eviction},
	{"finalize", KIND_SUB_FINALIZE, V_UPDATE, &handler_finalize},
	{"token", KIND_SUB_TOKEN, V_CREATE, &handler_token},
	{"log", KIND_SUB_LOG, V_GET, &handler_log},
	{"exec", KIND_SUB_EXEC, V_CONNECT, &handler_exec},
	{"attach", KIND_SUB_ATTACH, V_CONNECT, &handler_exec},
	{"portforward", KIND_SUB_PORTFORWARD, V_CONNECT, &handler_exec},
};

static const struct handler *no_such(struct request *r)
{
	err_status(&r->err, ERR_NOT_FOUND, "the server could not find the requested resource");
	return NULL;
}

static const struct handler *sub_handler(struct request *r)
{
	bool known = false;
	for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
		if (!streq(subs[i].name, r->route.subresource) || !(r->kind->subresources & subs[i].flag))
			continue;
		if (subs[i].verb == r->verb)
			return subs[i].handler;
		known = true;
	}
	return known ? NULL : no_such(r);
}

const struct handler *handler_find(struct request *r)
{
	if (!r->route.is_resource)
		return nonresource_handler(r);
	if (*r->route.subresource)
		return sub_handler(r);
	/* objects in a namespace are named with it */
	if (r->kind->namespaced && !*r->route.ns &&
	    (r->verb == V_GET || r->verb == V_CREATE || r->verb == V_UPDATE || r->verb == V_PATCH ||
	     r->verb == V_DELETE))
		return r->verb == V_CREATE ? NULL : no_such(r);
	if (!r->kind->namespaced && *r->route.ns && !streq(r->kind->plural, "namespaces"))
		return no_such(r);
	if (!r->res->stored)
		return r->verb == V_CREATE ? review_handler(r->kind) : NULL;
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (plain[i].verb == r->verb && (r->kind->verbs & plain[i].kind_verb))
			return plain[i].handler;
	return NULL;
}
