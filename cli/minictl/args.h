/* Options as pflag reads them: --name value, --name=value, -n value, -nvalue, -n=value, bundles of one-letter switches,
 * anywhere between the arguments; `--` ends them. Results point into argv. */
#ifndef MINI_MINICTL_ARGS_H
#define MINI_MINICTL_ARGS_H

#include "cli/minictl/ctl.h"

enum opt_type {
	OPT_BOOL,   /* bool */
	OPT_STR,    /* const char * */
	OPT_INT,    /* int64_t */
	OPT_LIST,   /* struct strings: given several times, commas separate */
	OPT_ARRAY,  /* struct strings: given several times, commas do not */
	OPT_REFUSE, /* known to kubectl, not to mini: an error that says so (in `doc`) */
};

struct strings {
	const char **items;
	size_t n, cap;
};
void strings_add(struct strings *s, const char *item);

struct opt {
	const char *name; /* NULL ends */
	char letter;      /* or 0 */
	enum opt_type type;
	void *to;
	const char *bare; /* OPT_STR: the value of the option alone; it then takes a value only by `=` */
	const char *doc;
};

/* Arguments left over, and what followed `--`. */
struct args {
	struct strings pos, after;
	bool dashes; /* there was a -- */
};

/* opts: the verb's own, NULL: none; the global ones are always known too. With --help, prints it and returns 1. */
int args_parse(struct ctl *c, const struct opt *opts, int argc, char **argv, struct args *ret, struct err *err);
/* The same for a verb that takes just so many words: any other number says how it is used. */
int args_words(struct ctl *c, const struct opt *opts, int argc, char **argv, size_t words, struct args *ret,
	       struct err *err);
/* The global options up to the first word that is none of them: *ret_used words. */
int args_globals(struct ctl *c, int argc, char **argv, int *ret_used, struct err *err);
/* Comma-separated text, split. */
void strings_split(struct strings *s, const char *text);
/* "1h2m3s", "500ms", "90" (seconds) to milliseconds. */
int duration_parse(const char *s, int64_t *ret_ms);

#endif
