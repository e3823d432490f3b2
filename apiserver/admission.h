/* What the server itself does to new objects before they are validated: namespaces, service accounts, pods. */
#ifndef MINI_APISERVER_ADMISSION_H
#define MINI_APISERVER_ADMISSION_H

#include "apiserver/request.h"

/* NamespaceLifecycle: the namespace of a create, known in memory or read; REQUEST_NEXT, REQUEST_WAIT (it resumes at
 * LOOK), or an error. */
int admit_namespace_look(struct request *r);
/* Adds the compare that makes it right with other writers. */
void admit_namespace_plan(struct request *r);
/* The compare did not hold (got: the namespace as it is now): forget what was known. */
void admit_namespace_refused(struct request *r);
/* A namespace may not be deleted when the cluster needs it. */
int admit_namespace_delete(struct request *r);

/* The pod's service account: exists? REQUEST_NEXT, REQUEST_WAIT (resumes at LOOK) or Forbidden. */
int admit_account_look(struct request *r, bool *looked);
/* What upstream's admission adds to every pod, on updates too. */
void admit_pod_update(json_t *pod);
/* A pod's priority and runtime class must be ones there are. */
int admit_pod_classes(struct request *r);
/* Defaults of a new object that only the server can give, in place. */
void admit_new(struct request *r, json_t *tree);
/* PodStatus.qosClass by upstream's rules. */
const char *admit_qos(const json_t *pod_spec);

#endif
