#include "controllers/claim.h"

/* Gone, or another object under that name: nothing to claim; the copy will say so. */
static bool on_claimed(void *arg, const struct client_response *resp)
{
	(void)arg;
	return resp->err->code == -ENOENT || resp->err->reason == ERR_INVALID;
}

static void patch(struct reconcile *r, struct object *obj, struct informer *inf, json_t *body_new)
{
	_cleanup_json_ json_t *body = body_new;
	struct client_request req = request_for(CLIENT_PATCH, obj);
	req.patch = CLIENT_PATCH_STRATEGIC;
	req.body = body;
	reconcile_do(r, &req, inf, on_claimed, NULL);
}

void claim_adopt(struct reconcile *r, struct object *obj, struct object *owner, struct informer *inf)
{
	/* The uid in the patch makes it fail on a namesake. */
	patch(r, obj, inf,
	      json_make("{s:{s:o, s:s}}", "metadata", "ownerReferences", meta_owned_by(owner), "uid", obj->uid));
}

void claim_release(struct reconcile *r, struct object *obj, const char *owner_uid, struct informer *inf)
{
	patch(r, obj, inf,
	      json_make("{s:{s:[{s:s, s:s}], s:s}}", "metadata", "ownerReferences", "$patch", "delete", "uid",
			owner_uid, "uid", obj->uid));
}
