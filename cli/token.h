/* minid token create | list | delete: join tokens, through the API of the server that DIR/admin.kubeconfig names. */
#ifndef MINI_CLI_TOKEN_H
#define MINI_CLI_TOKEN_H

#include "cli/options.h"

/* Are its words and flags such a command? Before anybody is asked. */
int token_check(const struct options *o, struct err *err);
/* The process's exit code. */
int token_main(const struct options *o);

#endif
