/* The terminal we were started from, lent to a program elsewhere: raw, and given back whatever ends us but SIGKILL. */
#ifndef MINI_MINICTL_TERMINAL_H
#define MINI_MINICTL_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

/* With -t: false when there is nothing to lend (standard input is none), after saying so as kubectl does. */
bool terminal_usable(void);
void terminal_raw(void);
void terminal_restore(void); /* also when it was never raw */
bool terminal_size(uint16_t *ret_columns, uint16_t *ret_rows);

#endif
