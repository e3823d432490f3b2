#include "controllers/internal.h"

void controller_enqueue(void *arg, struct informer *inf, struct object *old_obj, struct object *new_obj)
{
	struct controller *c = arg;
	(void)inf;
	reconciler_add_object(c->queue, new_obj ? new_obj : old_obj);
}

void key_split(const char *key, char *buf, size_t size, const char **ret_ns, const char **ret_name)
{
	snprintf(buf, size, "%s", key);
	char *slash = strchr(buf, '/');
	if (slash)
		*slash = '\0';
	*ret_ns = slash ? buf : "";
	*ret_name = slash ? slash + 1 : buf;
}

struct client_request request_for(enum client_verb verb, struct object *obj)
{
	return (struct client_request){
		.verb = verb, .kind = obj->kind, .ns = obj->ns, .name = obj->name, .grace_period_s = -1};
}

bool labels_equal(const json_t *a, const json_t *b)
{
	size_t n = json_object_size(a), m = json_object_size(b);
	return n == m && (n == 0 || json_equal(a, b));
}

int64_t json_time_s(const json_t *obj, const char *key)
{
	int64_t us;
	const char *s = json_get_str(obj, key, "");
	return *s && time_parse_us(s, &us) == 0 ? us / 1000000 : 0;
}
