#include "apiserver/encode.h"

#include "apiserver/tag.h"

static const char partial_head[] =
	"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":";

static void add_json_str(struct buf *out, const char *s)
{
	_cleanup_json_ json_t *j = json_string(s ? s : "");
	json_write(out, j);
}

static void encode_partial(const json_t *tree, struct buf *out)
{
	buf_adds(out, partial_head);
	json_write(out, json_object_get(tree, "metadata"));
	buf_addc(out, '}');
}

static json_t *tree_of(struct apiserver *a, const struct resource *res, struct blob *b, uint64_t rv)
{
	_cleanup_object_ struct object *o = recent_object(a, res, b, rv);
	return o ? object_tree(o) : json_object();
}

static void encode_row(struct apiserver *a, const struct resource *res, struct blob *b, uint64_t rv, int include,
		       struct buf *out)
{
	_cleanup_json_ json_t *tree = tree_of(a, res, b, rv);
	_cleanup_json_ json_t *cells = json_array();
	res->kind->cells(tree, env_wall_s(a->env), cells);
	buf_adds(out, "{\"cells\":");
	json_write(out, cells);
	if (include != INCLUDE_NONE)
		buf_adds(out, ",\"object\":");
	if (include == INCLUDE_METADATA)
		encode_partial(tree, out);
	else if (include == INCLUDE_OBJECT)
		tag_write(res, b, rv, out);
	buf_addc(out, '}');
}

static void add_columns(const struct resource *res, struct buf *out)
{
	buf_adds(out, "\"columnDefinitions\":[");
	for (const struct kind_column *c = res->kind->columns; c && c->name; c++) {
		buf_adds(out, c == res->kind->columns ? "{\"name\":" : ",{\"name\":");
		add_json_str(out, c->name);
		buf_adds(out, ",\"type\":");
		add_json_str(out, c->type);
		buf_adds(out, ",\"format\":");
		add_json_str(out, c->format);
		buf_adds(out, ",\"description\":");
		add_json_str(out, c->doc);
		buf_addf(out, ",\"priority\":%d}", c->priority);
	}
	buf_adds(out, "],\"rows\":[");
}

void encode_list_head(const struct resource *res, enum answer_format format, uint64_t rv, const char *continue_token,
		      int64_t remaining, struct buf *out)
{
	const struct kind *k = res->kind;
	if (format == FORMAT_TABLE)
		buf_adds(out, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{");
	else if (format == FORMAT_PARTIAL)
		buf_adds(out,
			 "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{");
	else
		buf_addf(out, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{", k->list_kind, res->api_version);
	buf_addf(out, "\"resourceVersion\":\"%llu\"", (unsigned long long)rv);
	if (continue_token)
		buf_addf(out, ",\"continue\":\"%s\"", continue_token);
	if (remaining > 0)
		buf_addf(out, ",\"remainingItemCount\":%lld", (long long)remaining);
	buf_adds(out, "},");
	if (format == FORMAT_TABLE)
		add_columns(res, out);
	else
		buf_adds(out, "\"items\":[");
}

void encode_list_tail(struct buf *out)
{
	buf_adds(out, "]}\n");
}

void encode_item(struct apiserver *a, const struct resource *res, struct blob *b, uint64_t rv,
		 enum answer_format format, int include, struct buf *out)
{
	if (format == FORMAT_JSON) {
		tag_write(res, b, rv, out);
	} else if (format == FORMAT_TABLE) {
		encode_row(a, res, b, rv, include, out);
	} else {
		_cleanup_json_ json_t *tree = tree_of(a, res, b, rv);
		encode_partial(tree, out);
	}
}

void encode_object(struct apiserver *a, const struct resource *res, struct blob *b, uint64_t rv,
		   enum answer_format format, int include, struct buf *out)
{
	if (format == FORMAT_TABLE)
		encode_list_head(res, format, rv, NULL, -1, out);
	encode_item(a, res, b, rv, format, include, out);
	if (format == FORMAT_TABLE)
		buf_adds(out, "]}");
}

static const char *const event_names[] = {[WATCH_ADDED] = "ADDED",
					  [WATCH_MODIFIED] = "MODIFIED",
					  [WATCH_DELETED] = "DELETED",
					  [WATCH_BOOKMARK] = "BOOKMARK"};

void encode_event(struct apiserver *a, const struct resource *res, enum watch_type type, struct blob *b, uint64_t rv,
		  enum answer_format format, int include, struct buf *out)
{
	buf_addf(out, "{\"type\":\"%s\",\"object\":", event_names[type]);
	encode_object(a, res, b, rv, format, include, out);
	buf_adds(out, "}\n");
}

void encode_bookmark(const struct resource *res, uint64_t rv, enum answer_format format, bool initial_end,
		     struct buf *out)
{
	const char *kind = format == FORMAT_TABLE     ? "Table"
			   : format == FORMAT_PARTIAL ? "PartialObjectMetadata"
						      : res->kind->kind;
	buf_addf(out,
		 "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{"
		 "\"resourceVersion\":\"%llu\",\"creationTimestamp\":null%s}%s}}\n",
		 kind, format == FORMAT_JSON ? res->api_version : "meta.k8s.io/v1", (unsigned long long)rv,
		 initial_end ? ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" : "",
		 format == FORMAT_TABLE ? ",\"columnDefinitions\":[],\"rows\":[]" : "");
}

void encode_error_event(const struct err *err, struct buf *out)
{
	_cleanup_json_ json_t *status = status_from_err(err);
	buf_adds(out, "{\"type\":\"ERROR\",\"object\":");
	json_write(out, status);
	buf_adds(out, "}\n");
}
