/* What a verb works on: objects from files, or resources named by words. */
#ifndef MINI_MINICTL_INPUT_H
#define MINI_MINICTL_INPUT_H

#include "cli/minictl/args.h"

/* One object or name. Kept for the run. */
struct item {
	const struct kind *kind;
	const char *ns, *name; /* ns "" for cluster-scoped kinds; name NULL: all of the kind (words only) */
	json_t *obj;           /* from a file, with metadata.namespace filled in; NULL when named by words */
	const char *source;    /* the file's name, "STDIN" */
};
struct items {
	struct item *v;
	size_t n, cap;
};
void items_add(struct items *s, struct item item);
void items_done(struct items *s);
#define _cleanup_items_ __attribute__((cleanup(items_done)))

struct input_opts {
	struct strings files; /* -f */
	bool recursive;       /* -R */
};
#define INPUT_OPTS(o)                                                                                                  \
	{"filename", 'f', OPT_LIST, &(o)->files, NULL, "file, directory or - with objects"},                           \
		{"recursive", 'R', OPT_BOOL, &(o)->recursive, NULL, "also the directories below"},                     \
	{                                                                                                              \
		"kustomize", 'k', OPT_REFUSE, NULL, NULL, "render it first and give the result with -f"                \
	}

/* Every object of the files, lists taken apart. Faults are printed, one by one; the good objects are returned all the
 * same, and -EINVAL (with nothing more to print) is not: c->failures tells. */
int input_read(struct ctl *c, const struct input_opts *o, struct items *ret, struct err *err);
/* Words: TYPE[,TYPE] [NAME...], or TYPE/NAME...; name NULL for whole kinds. */
int input_words(struct ctl *c, const struct strings *words, struct items *ret, struct err *err);
/* Exactly one TYPE NAME or TYPE/NAME. */
int input_one(struct ctl *c, const struct strings *words, size_t *ret_used, struct item *ret, struct err *err);
/* One word for a kind, or kubectl's error. */
int input_kind(const char *word, const struct kind **ret, struct err *err);

/* "deployment.apps/web", "pod/x"; and "deployment.apps". Kept. */
const char *kind_word(const struct kind *k);
const char *item_word(const struct kind *k, const char *name);

#endif
