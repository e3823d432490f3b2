/* For tests on a loop of their own: it runs until something holds; after a minute the test has failed. */
#ifndef MINI_TESTS_SUPPORT_WAIT_H
#define MINI_TESTS_SUPPORT_WAIT_H

#include <uv.h>

#include "lib/core/env.h"
#include "tests/support/tap.h"

static inline void wait_give_up(struct env_timer *t)
{
	(void)t;
	fail_msg("waited in vain");
}

/* w has an env, and the loop that it is on. */
#define WAIT(w, cond)                                                                                                  \
	do {                                                                                                           \
		struct env_timer guard_ = {.fn = wait_give_up};                                                        \
		env_timer_start((w)->env, &guard_, 60 * 1000 * 1000);                                                  \
		while (!(cond))                                                                                        \
			uv_run(&(w)->loop, UV_RUN_ONCE);                                                               \
		env_timer_stop((w)->env, &guard_);                                                                     \
	} while (0)

#endif
