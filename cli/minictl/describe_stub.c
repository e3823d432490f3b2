#include "cli/minictl/verbs.h"
int verb_describe(struct ctl *c, int argc, char **argv, struct err *err)
{
	(void)c;
	(void)argc;
	(void)argv;
	return ctl_usage(err, "describe: not yet");
}
