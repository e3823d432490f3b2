/* Columns of kinds that have none of their own. */

#include "lib/api/kinds/kinds.h"

const struct kind_column plain_columns[] = {
	{"Name", "string", "name", "Name must be unique within a namespace.", 0},
	{"Created At", "date", "", "When the object was created.", 0},
	{NULL, NULL, NULL, NULL, 0},
};

void plain__cells(const json_t *obj, _unused_ int64_t now_s, json_t *cells)
{
	const json_t *meta = json_object_get(obj, "metadata");
	json_array_append_new(cells, json_string(json_get_str(meta, "name", "")));
	json_array_append_new(cells, json_string(json_get_str(meta, "creationTimestamp", "")));
}
