/* The tables say nothing twice and nothing that can't be. */
#include "tests/lib/api/kinds/support.h"

#include "lib/core/map.h"

/* Every schema that can be reached, once. */
struct reached {
	struct map seen;
};

static void reach(struct reached *r, const struct schema *s)
{
	if (map_has(&r->seen, s->name)) {
		if (map_get(&r->seen, s->name) != s)
			fail_msg("two tables are called %s", s->name);
		return;
	}
	map_set(&r->seen, s->name, (void *)s);
	for (const struct schema_field *f = s->fields; f->name; f++)
		if (f->type == SCHEMA_OBJECT) {
			assert_non_null(f->of);
			reach(r, f->of);
		}
}

static int setup(void **state)
{
	static const struct schema *const alone[] = {
		&schema_object_meta, &schema_delete_options,    &schema_scale,          &schema_binding,
		&schema_status,      &schema_pod_template_spec, &schema_label_selector, &schema_token_request,
		&schema_eviction,    &schema_list_meta,
	};
	struct reached *r = NEW(struct reached);

	for (size_t i = 0; kinds_all[i]; i++)
		reach(r, kinds_all[i]->schema);
	for (size_t i = 0; i < ARRAY_LEN(alone); i++)
		reach(r, alone[i]);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct reached *r = *state;
	map_done(&r->seen);
	free(r);
	return 0;
}

static void each_schema(void **state, void (*f)(const struct schema *))
{
	struct reached *r = *state;
	MAP_EACH (&r->seen, e)
		f(e->value);
}

static void names_once(const struct schema *s)
{
	for (const struct schema_field *f = s->fields; f->name; f++)
		for (const struct schema_field *g = f + 1; g->name; g++) {
			if (streq(f->name, g->name))
				fail_msg("%s has %s twice", s->name, f->name);
			if (f->pb && f->pb == g->pb)
				fail_msg("%s has number %u twice: %s, %s", s->name, f->pb, f->name, g->name);
		}
}

static void names_and_numbers_are_unique(void **state)
{
	each_schema(state, names_once);
}

static void has_member(const struct schema *s, const struct schema_field *f, const char *key)
{
	if (!key || f->type != SCHEMA_OBJECT)
		return;
	_cleanup_free_ char *keys = xstrdup(key);
	for (char *save = NULL, *k = strtok_r(keys, " ", &save); k; k = strtok_r(NULL, " ", &save))
		if (!schema_field(f->of, k))
			fail_msg("%s.%s: its elements have no %s", s->name, f->name, k);
}

static void keys_exist(const struct schema *s)
{
	for (const struct schema_field *f = s->fields; f->name; f++) {
		has_member(s, f, f->merge_key);
		has_member(s, f, f->keys);
		if (f->flags & (SCHEMA_MERGE | SCHEMA_LIST_MAP | SCHEMA_SET) && f->shape != SCHEMA_LIST)
			fail_msg("%s.%s is no list", s->name, f->name);
		if (f->flags & SCHEMA_LIST_MAP && !f->keys)
			fail_msg("%s.%s has no keys", s->name, f->name);
		if (f->flags & SCHEMA_MERGE && f->type == SCHEMA_OBJECT && !f->merge_key)
			fail_msg("%s.%s has no merge key", s->name, f->name);
		if (f->flags & SCHEMA_INLINE && f->flags != SCHEMA_INLINE)
			fail_msg("%s.%s is inlined and more", s->name, f->name);
	}
}

static void merge_keys_exist(void **state)
{
	each_schema(state, keys_exist);
}

static void defaults_fit_type(const struct schema *s)
{
	for (const struct schema_field *f = s->fields; f->name; f++) {
		json_t *v = NULL, *obj;
		if (!f->dflt)
			continue;
		if (json_parse(f->dflt, strlen(f->dflt), &v, NULL))
			fail_msg("%s.%s: %s is not JSON", s->name, f->name, f->dflt);
		obj = json_object();
		json_object_set_new(obj, f->name, v);
		_cleanup_err_ struct err err = ERR_INIT;
		json_t *unknown = json_array();
		if (schema_decode(s, obj, unknown, &err))
			fail_msg("%s.%s: %s", s->name, f->name, err.message);
		assert_int_equal(json_array_size(unknown), 0);
		if (f->one_of && f->shape == SCHEMA_ONE && json_is_string(v)) {
			bool found = false;
			for (size_t i = 0; f->one_of[i]; i++)
				found = found || streq(f->one_of[i], json_string_value(v));
			if (!found)
				fail_msg("%s.%s: %s is not allowed", s->name, f->name, f->dflt);
		}
		json_decref(unknown);
		json_decref(obj);
	}
}

static void defaults_parse(void **state)
{
	each_schema(state, defaults_fit_type);
}

/* Everything but what never travels in protobuf has its number. */
static void numbers_there(const struct schema *s)
{
	for (const struct schema_field *f = s->fields; f->name; f++) {
		bool type_meta = streq(f->name, "apiVersion") || streq(f->name, "kind");
		if (!f->pb && !type_meta && !streq(f->name, "extra"))
			fail_msg("%s.%s has no number", s->name, f->name);
	}
}

static void numbers_are_there(void **state)
{
	each_schema(state, numbers_there);
}

static void kinds_are_complete(_unused_ void **state)
{
	json_t *empty = json_object();

	for (size_t i = 0; kinds_all[i]; i++) {
		const struct kind *k = kinds_all[i];
		size_t n = 0;
		json_t *cells = json_array();

		if (!k->kind || !k->plural || !k->singular || !k->list_kind || !k->schema || !k->columns || !k->cells)
			fail_msg("%s is incomplete", k->kind ? k->kind : "a kind");
		k->cells(empty, 0, cells);
		while (k->columns[n].name)
			assert_non_null(k->columns[n++].type);
		if (n != json_array_size(cells))
			fail_msg("%s: %zu columns, %zu cells", k->kind, n, json_array_size(cells));
		assert_ptr_equal(kind_by_resource(k->group, k->version, k->plural), k);
		if (k->verbs & VERB_GET)
			assert_true(schema_field(k->schema, "metadata") != NULL);
		json_decref(cells);
	}
	json_decref(empty);
}

/* Numbers that were read in upstream's generated.proto by eye. */
static void spot_checks(_unused_ void **state)
{
	static const struct {
		const char *kind, *field;
		unsigned pb;
	} known[] = {{"Pod", "ephemeralContainers", 34},
		     {"Pod", "nodeName", 10},
		     {"Pod", "containers", 2},
		     {"Service", "clusterIP", 3},
		     {"Service", "clusterIPs", 18},
		     {"Service", "trafficDistribution", 23},
		     {"Deployment", "selector", 2},
		     {"Deployment", "progressDeadlineSeconds", 9},
		     {"ReplicaSet", "minReadySeconds", 4},
		     {"Node", "taints", 5},
		     {"Lease", "leaseTransitions", 5}};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		const struct kind *k = kind_by_word(known[i].kind);
		assert_non_null(k);
		const struct schema_field *spec = schema_field(k->schema, "spec");
		const struct schema_field *f = schema_field(spec->of, known[i].field);
		assert_non_null(f);
		assert_int_equal(f->pb, known[i].pb);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_numbers_are_unique),
		cmocka_unit_test(merge_keys_exist),
		cmocka_unit_test(defaults_parse),
		cmocka_unit_test(numbers_are_there),
		cmocka_unit_test(kinds_are_complete),
		cmocka_unit_test(spot_checks),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
