/* Label and field selectors, and quantities: small texts from query strings and objects. */
#include "lib/api/quantity.h"
#include "lib/api/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void labels_of(const char *text)
{
	struct selector *s = NULL, *again = NULL;
	json_t *labels = json_make("{s:s, s:s}", "app", "web", "n", "5");

	if (selector_parse(text, &s, NULL) == 0) {
		/* its own text means the same */
		char *str = selector_str(s);
		MUST(selector_parse(str, &again, NULL) == 0);
		char *str2 = selector_str(again);
		MUST(streq(str, str2));
		MUST(selector_matches(s, labels) == selector_matches(again, labels));
		selector_free(s);
		selector_free(again);
		free(str);
		free(str2);
	}
	json_t *parsed = NULL;
	if (json_parse(text, strlen(text), &parsed, NULL) == 0) {
		if (selector_from_json(parsed, &s, NULL) == 0) {
			selector_matches(s, labels);
			free(selector_str(s));
			selector_free(s);
		}
		s = selector_from_map(parsed);
		selector_matches(s, labels);
		selector_free(s);
		json_decref(parsed);
	}
	json_decref(labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xstrndup((const char *)data, size);
	struct field_selector *f = NULL;
	struct quantity q, again;

	labels_of(text);
	if (field_selector_parse(text, &f, NULL) == 0) {
		json_t *obj = json_make("{s:{s:s}}", "spec", "nodeName", "a");
		field_selector_matches(f, obj);
		field_selector_requires(f, "spec.nodeName");
		json_decref(obj);
		field_selector_free(f);
	}
	if (quantity_parse(text, &q, NULL) == 0) {
		char str[64];
		quantity_str(&q, str);
		MUST(quantity_parse(str, &again, NULL) == 0 && quantity_cmp(&q, &again) == 0);
		quantity_value(&q);
		quantity_milli(&q);
	}
	free(text);
	return 0;
}
