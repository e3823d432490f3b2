/* env on a libuv loop: the production implementation. */
#ifndef MINI_CORE_ENV_UV_H
#define MINI_CORE_ENV_UV_H

#include <uv.h>

#include "lib/core/env.h"

/* Makes an env on `loop` (which stays the caller's). Must be destroyed before the loop is closed. */
struct env *env_uv_new(uv_loop_t *loop);
/* Waits for the lanes to finish, runs their `done`, and closes the handles (runs the loop until they are closed). */
void env_uv_free(struct env *e);
uv_loop_t *env_uv_loop(struct env *e);
/* Longest time one turn held the loop since the last call, in microseconds. */
uint64_t env_uv_lag_us(struct env *e);

#endif
