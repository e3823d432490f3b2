/* Label and field selectors: text and LabelSelector objects parsed once, matched many times. Pure.
 * Source: kubernetes.io/docs/concepts/overview/working-with-objects/labels and .../field-selectors. */
#ifndef MINI_API_SELECTOR_H
#define MINI_API_SELECTOR_H

#include "lib/api/json.h"

struct selector; /* NULL matches everything */

/* "app=web,tier in (a,b),!x,y!=z" — bounded to 64 requirements. */
int selector_parse(const char *text, struct selector **ret, struct err *err);
/* {matchLabels, matchExpressions}; null matches nothing, {} everything (upstream's rule for most fields). */
int selector_from_json(const json_t *label_selector, struct selector **ret, struct err *err);
/* A plain map, as in Service.spec.selector and ReplicationController: an empty or missing map gives one that matches nothing. */
struct selector *selector_from_map(const json_t *map);
bool selector_matches(const struct selector *s, const json_t *labels /* object or NULL */);
void selector_free(struct selector *s);
static inline void selector_freep(struct selector **s)
{
	selector_free(*s);
}
#define _cleanup_selector_ __attribute__((cleanup(selector_freep)))
/* Text form, canonical (for scale.status.selector and for requests). Caller frees. */
char *selector_str(const struct selector *s);

/* "spec.nodeName=a,status.phase!=Running": paths are read from the object tree; a missing field is "". */
struct field_selector;
int field_selector_parse(const char *text, struct field_selector **ret, struct err *err);
bool field_selector_matches(const struct field_selector *s, const json_t *obj);
void field_selector_free(struct field_selector *s);
/* If the selector requires path=value exactly, that value; else NULL. */
const char *field_selector_requires(const struct field_selector *s, const char *path);
/* Number of requirements, and the path of each: for checking against the kind's list. */
unsigned field_selector_count(const struct field_selector *s);
const char *field_selector_path(const struct field_selector *s, unsigned i);

#endif
