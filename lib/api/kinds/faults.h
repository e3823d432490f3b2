/* Faults of an object as upstream words them: where, and what kind of fault. Private to lib/api/kinds. */
#ifndef MINI_API_KINDS_FAULTS_H
#define MINI_API_KINDS_FAULTS_H

#include "lib/api/json.h"
#include "lib/core/map.h"

/* A field path, by value: at(path, "ports[%zu].name", i). Both parts may be empty; the dot between is added. */
struct at {
	char s[200];
};
struct at at(const char *path, const char *fmt, ...) _printf_(2, 3);
struct at at_self(const char *path);

/* `why` may be NULL where upstream gives no detail. Values are quoted here, except in fault_invalid_raw. */
void fault_required(struct err *err, struct at at, const char *why);
void fault_forbidden(struct err *err, struct at at, const char *why);
void fault_invalid(struct err *err, struct at at, const char *value, const char *why);
void fault_invalid_int(struct err *err, struct at at, int64_t value, const char *why);
void fault_invalid_raw(struct err *err, struct at at, const char *value, const char *why);
void fault_duplicate(struct err *err, struct at at, const char *value);
void fault_not_found(struct err *err, struct at at, const char *value);
/* `supported` as it is to appear: "\"A\", \"B\"". */
void fault_unsupported(struct err *err, struct at at, const char *value, const char *supported);

/* Values as Go prints them, which is what clients see: map[string]string{"a":"b"}, v1.LabelSelector{...}. Fresh. */
char *go_string_map(const json_t *map);
char *go_label_selector(const json_t *selector);
char *go_string_list(const json_t *list);

/* Remember the name; whether it was there before. Lists come from strangers: nothing here may cost their square. */
bool seen_twice(struct map *seen, const char *name);

/* Both missing, or equal. */
bool member_same(const json_t *a, const json_t *b, const char *name);
/* The member is there and not null. */
bool member_set(const json_t *obj, const char *name);

#endif
