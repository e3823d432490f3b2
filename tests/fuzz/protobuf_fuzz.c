/* Protobuf request bodies: what comes out is an object that JSON can say, and that decodes as such. */
#include "lib/api/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *tree = NULL, *again = NULL;
	struct buf b = BUF_INIT;

	if (protobuf_decode(data, size, &tree, NULL))
		return 0;
	json_write(&b, tree);
	MUST(json_parse(b.data, b.len, &again, NULL) == 0 && json_equal(tree, again));
	const struct kind *k =
		kind_by_api_version(json_get_str(tree, "apiVersion", ""), json_get_str(tree, "kind", ""));
	if (k && schema_decode(k->schema, tree, NULL, NULL) == 0) {
		schema_default(k->schema, tree);
		struct err err = ERR_INIT;
		schema_validate(k->schema, tree, NULL, &err);
		err_done(&err);
	}
	json_decref(tree);
	json_decref(again);
	buf_done(&b);
	return 0;
}
