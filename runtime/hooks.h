/* OCI hooks: programs the caller wants run at points of a container's life, with its state on stdin.
 * Source: OCI config.md#posix-platform-hooks. */
#ifndef MINI_RUNTIME_HOOKS_H
#define MINI_RUNTIME_HOOKS_H

#include "lib/core/oci_state.h"
#include "runtime/spec.h"

/* kind: "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop". The first that fails
 * or outlives its timeout ends it. */
int hooks_run(const struct spec *s, const char *kind, const struct oci_state *st, struct err *err);
bool hooks_any(const struct spec *s, const char *kind);
/* The state as OCI defines it (runtime.md#state); annotations from the spec, which may be NULL. */
json_t *hooks_state_json(const struct spec *s, const struct oci_state *st);

#endif
