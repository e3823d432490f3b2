/* The forms of -o: what is printed of an object or a list, when it is not a table of the server's. */
#ifndef MINI_MINICTL_OUTPUT_H
#define MINI_MINICTL_OUTPUT_H

#include "cli/minictl/input.h"

enum output_form { OUT_DEFAULT, OUT_WIDE, OUT_YAML, OUT_JSON, OUT_NAME, OUT_JSONPATH, OUT_COLUMNS };
struct output {
	enum output_form form;
	const char *arg; /* template, columns */
	bool no_headers, managed_fields;
};

/* text: the option's value, NULL: default. */
int output_parse(const char *text, struct output *ret, struct err *err);
/* obj: an object, or a List with items. */
int output_print(const struct output *o, const json_t *obj, struct err *err);
/* A kind: List around items (borrowed). New reference. */
json_t *list_of(json_t *items);
/* For verbs that change an object: "deployment.apps/web scaled" by default, else the object in the form asked for. */
int output_done(const struct output *o, const struct kind *k, const json_t *obj, const char *verb, struct err *err);
/* A deep copy with members sorted by name, as Go writes maps. New reference. */
json_t *json_sorted(const json_t *j);
/* apiVersion and kind first by adding them where a list's items lack them. */
void put_type(const struct kind *k, json_t *obj);

#endif
