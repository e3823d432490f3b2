/* What every test program begins with: cmocka, TAP on stdout. */
#ifndef MINI_TESTS_SUPPORT_TAP_H
#define MINI_TESTS_SUPPORT_TAP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RUN_TESTS(tests)                                                                                               \
	int main(void)                                                                                                 \
	{                                                                                                              \
		cmocka_set_message_output(CM_OUTPUT_TAP);                                                              \
		return cmocka_run_group_tests(tests, NULL, NULL);                                                      \
	}

/* The same with what all of them share. */
#define RUN_TESTS_WITH(tests, setup, teardown)                                                                         \
	int main(void)                                                                                                 \
	{                                                                                                              \
		cmocka_set_message_output(CM_OUTPUT_TAP);                                                              \
		return cmocka_run_group_tests(tests, setup, teardown);                                                 \
	}

#endif
