/* Ownership by controllerRef: taking in orphans that match, letting go of what no longer does. */
#ifndef MINI_CONTROLLERS_CLAIM_H
#define MINI_CONTROLLERS_CLAIM_H

#include "controllers/internal.h"

/* Patch `obj` to be controlled by `owner` / no longer by the owner with this uid. */
void claim_adopt(struct reconcile *r, struct object *obj, struct object *owner, struct informer *inf);
void claim_release(struct reconcile *r, struct object *obj, const char *owner_uid, struct informer *inf);

#endif
