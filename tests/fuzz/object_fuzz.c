/* Objects as strangers send them: JSON and YAML through decode, default, validate, store form and back, patches. */
#include "lib/api/object.h"
#include "lib/api/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(json_t *tree)
{
	const struct kind *k =
		kind_by_api_version(json_get_str(tree, "apiVersion", ""), json_get_str(tree, "kind", ""));
	struct err err = ERR_INIT;
	json_t *unknown = json_array();

	if (k && schema_decode(k->schema, tree, unknown, &err) == 0) {
		schema_default(k->schema, tree);
		/* what a decoder took, validators can read; against itself nothing has changed */
		schema_validate(k->schema, tree, NULL, &err);
		schema_validate(k->schema, tree, tree, &err);
		if (k->prepare)
			k->prepare(tree, NULL);
		meta_validate(k, tree, NULL, &err);
		schema_invalid_message(&err, k, "x");
		json_decref(status_from_err(&err));
		if (k->cells) {
			json_t *cells = json_array();
			k->cells(tree, 1700000000, cells);
			json_decref(cells);
		}
		json_t *patch = NULL, *again = NULL, *empty = json_object();
		if (patch_three_way(k->schema, empty, tree, empty, &patch, NULL) == 0 &&
		    patch_strategic(k->schema, empty, patch, &again, NULL) == 0)
			json_decref(again);
		json_decref(patch);
		json_decref(empty);
	}
	json_decref(unknown);
	err_done(&err);
}

static void store(json_t *tree)
{
	struct object *o = object_from_tree(NULL, tree), *back = NULL;
	struct buf b = BUF_INIT;

	MUST(object_from_bytes(NULL, o->bytes, 7, &back, NULL) == 0);
	MUST(streq(back->name, o->name) && streq(back->ns, o->ns) && streq(back->uid, o->uid));
	object_write(&b, back);
	json_t *sent = NULL, *seen = object_tree(back);
	MUST(json_parse(b.data, b.len, &sent, NULL) == 0 && json_equal(sent, seen));
	json_decref(sent);
	json_decref(seen);
	object_unref(o);
	object_unref(back);
	buf_done(&b);
}

static void one(json_t *tree)
{
	struct buf b = BUF_INIT;
	json_t *again = NULL;

	json_write(&b, tree);
	MUST(json_parse(b.data, b.len, &again, NULL) == 0 && json_equal(tree, again));
	json_decref(again);
	buf_clear(&b);
	yaml_write(&b, tree);
	if (yaml_parse_all(b.data, b.len, NULL, &again, NULL) == 0)
		json_decref(again);
	buf_done(&b);
	if (!json_is_object(tree))
		return;
	json_t *copy = json_clone(tree);
	store(copy);
	json_decref(copy);
	walk(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	json_t *tree = NULL, *dups = json_array(), *docs = NULL;

	if (json_parse_dups(text, size, &tree, dups, NULL) == 0) {
		json_t *patched = NULL;
		if (json_is_array(tree) && json_array_size(tree) == 2) {
			const json_t *doc = json_array_get(tree, 0), *patch = json_array_get(tree, 1);
			if (patch_json(doc, patch, &patched, NULL) == 0)
				json_decref(patched);
			if (patch_merge(doc, patch, &patched, NULL) == 0)
				json_decref(patched);
			if (json_is_object(doc) &&
			    patch_strategic(&schema_pod_template_spec, doc, patch, &patched, NULL) == 0)
				json_decref(patched);
			if (json_is_object(doc) && json_is_object(patch) &&
			    patch_three_way(&schema_pod_template_spec, doc, patch, doc, &patched, NULL) == 0)
				json_decref(patched);
		}
		one(tree);
		json_decref(tree);
	}
	if (yaml_parse_all(text, size, "f", &docs, NULL) == 0) {
		for (size_t i = 0; i < json_array_size(docs) && i < 4; i++)
			one(json_array_get(docs, i));
		json_decref(docs);
	}
	json_decref(dups);
	return 0;
}
