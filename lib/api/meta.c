/* Readers of metadata. */
#include "lib/api/object.h"

static const char *meta_str(const json_t *obj, const char *key)
{
	return json_get_str(json_object_get(obj, "metadata"), key, "");
}

const char *meta_name(const json_t *obj)
{
	return meta_str(obj, "name");
}

const char *meta_ns(const json_t *obj)
{
	return meta_str(obj, "namespace");
}

const char *meta_uid(const json_t *obj)
{
	return meta_str(obj, "uid");
}

const char *meta_label(const json_t *obj, const char *key)
{
	return json_get_str(json_path(obj, "metadata", "labels", NULL), key, NULL);
}

const char *meta_annotation(const json_t *obj, const char *key)
{
	return json_get_str(json_path(obj, "metadata", "annotations", NULL), key, NULL);
}

bool meta_deleting(const json_t *obj)
{
	return *meta_str(obj, "deletionTimestamp") != '\0';
}

int64_t meta_generation(const json_t *obj)
{
	return json_get_int(json_object_get(obj, "metadata"), "generation", 0);
}

json_t *meta_controller(const json_t *obj)
{
	size_t i;
	json_t *ref;

	json_array_foreach(json_path(obj, "metadata", "ownerReferences", NULL), i, ref)
	{
		if (json_get_bool(ref, "controller", false))
			return ref;
	}
	return NULL;
}

json_t *meta_owned_by(struct object *owner)
{
	_cleanup_free_ char *version = NULL;
	const char *kind;
	_cleanup_json_ json_t *tree = NULL;

	if (owner->kind) {
		version = kind_api_version(owner->kind);
		kind = owner->kind->kind;
	} else {
		tree = object_tree(owner);
		version = xstrdup(json_get_str(tree, "apiVersion", ""));
		kind = json_get_str(tree, "kind", "");
	}
	return json_make("[{s:s, s:s, s:s, s:s, s:b, s:b}]", "apiVersion", version, "kind", kind, "name", owner->name,
			 "uid", owner->uid, "controller", 1, "blockOwnerDeletion", 1);
}
