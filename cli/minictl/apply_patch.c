#include "cli/minictl/apply.h"
#include "cli/minictl/verbs.h"

json_t *apply_modified(const json_t *wanted)
{
	json_t *modified = json_clone(wanted);
	json_object_del(modified, "status");
	json_t *annotations = json_need_object(json_need_object(modified, "metadata"), "annotations");
	json_object_del(annotations, LAST_APPLIED);
	_cleanup_json_ json_t *sorted = json_sorted(modified);
	_cleanup_buf_ struct buf text = BUF_INIT;
	json_write(&text, sorted);
	buf_addc(&text, '\n');
	json_put_str(annotations, LAST_APPLIED, buf_str(&text));
	return modified;
}

int apply_patch(const struct schema *s, const json_t *modified, const json_t *current, json_t **ret_patch,
		bool *ret_recorded, struct err *err)
{
	const char *recorded = meta_annotation(current, LAST_APPLIED);
	_cleanup_json_ json_t *original = NULL;
	if (recorded && json_parse(recorded, strlen(recorded), &original, err) < 0)
		return err_prefix(err, "the annotation %s", LAST_APPLIED);
	if (!original)
		original = json_object();
	*ret_recorded = recorded != NULL;
	return patch_three_way(s, original, modified, current, ret_patch, err);
}
