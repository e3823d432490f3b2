/* Kinds as static tables, and the walkers that use them to default, validate, prune, merge, decode and publish.
 *
 * One row per kind (`struct kind`), one per Go struct of upstream (`struct schema`), one per field. Field names,
 * types, defaults, enums, merge keys and protobuf numbers are upstream's v1.32. What tables can't say (rules across
 * fields, generated values) is one function per kind. Adding a kind is adding a table. Tables are never changed while
 * in use; those compiled from CustomResourceDefinitions are reference-counted (later).
 */
#ifndef MINI_API_SCHEMA_H
#define MINI_API_SCHEMA_H

#include "lib/api/json.h"

enum schema_type {
	SCHEMA_STRING,
	SCHEMA_INT32,
	SCHEMA_INT64,
	SCHEMA_BOOL,
	SCHEMA_DOUBLE,
	SCHEMA_QUANTITY,      /* string (or number) in canonical form; protobuf: message {1: string} */
	SCHEMA_INT_OR_STRING, /* protobuf: message {1: type, 2: int, 3: string} */
	SCHEMA_TIME,          /* RFC 3339, seconds; protobuf: message {1: seconds, 2: nanos} */
	SCHEMA_MICRO_TIME,    /* RFC 3339, microseconds; the same message */
	SCHEMA_BYTES,         /* base64 in JSON; bytes in protobuf */
	SCHEMA_OBJECT,        /* of `of` */
	SCHEMA_ANY,           /* any JSON: RawExtension, FieldsV1 (protobuf: message {1: raw bytes}) */
	SCHEMA_DURATION,      /* "1m30s"; protobuf: message {1: nanoseconds} */
};

enum schema_shape { SCHEMA_ONE, SCHEMA_LIST, SCHEMA_MAP /* string keys */ };

enum schema_flags {
	SCHEMA_REQUIRED = 1 << 0,     /* must be present and not empty/null */
	SCHEMA_IMMUTABLE = 1 << 1,    /* may not change on update (once set) */
	SCHEMA_SET = 1 << 2,          /* list: unordered, no duplicates (x-kubernetes-list-type: set) */
	SCHEMA_LIST_MAP = 1 << 3,     /* list: entries are known by `keys` (list-type: map) */
	SCHEMA_MERGE = 1 << 4,        /* patchStrategy merge, by `merge_key` (or by value for scalars) */
	SCHEMA_REPLACE_KEYS = 1 << 5, /* patchStrategy retainKeys (may go with MERGE) */
	SCHEMA_INLINE = 1 << 6,       /* Go-embedded: the members of `of` appear here; protobuf nests them under `pb` */
	SCHEMA_NON_EMPTY = 1 << 7,    /* list/map/string given must not be empty */
	SCHEMA_ATOMIC = 1 << 8,       /* map/object replaced as a whole by apply */
	SCHEMA_STATUS_ONLY = 1 << 9,  /* reserved */
	/* A scalar that upstream holds by pointer, or writes even when empty: a zero, "" or false that was given was meant.
	 * Of other optional scalars, lists and maps the empty value means absent, and goes when decoded. */
	SCHEMA_POINTER = 1 << 10,
};

/* What a string must look like; the message is upstream's for that format. */
enum schema_format {
	FMT_NONE,
	FMT_DNS_LABEL,      /* RFC 1123 label, 63 */
	FMT_DNS_SUBDOMAIN,  /* RFC 1123 subdomain, 253 */
	FMT_DNS1035_LABEL,  /* RFC 1035 label (services) */
	FMT_QUALIFIED_NAME, /* prefix/name (label and annotation keys) */
	FMT_LABEL_VALUE,
	FMT_IP,
	FMT_CIDR,
	FMT_PORT_NAME, /* IANA_SVC_NAME */
	FMT_ENV_NAME,
	FMT_CONFIG_KEY,   /* [-._a-zA-Z0-9]+ */
	FMT_PATH_SEGMENT, /* names of RBAC objects: no '/', no '%', not . or .. */
	FMT_ABSOLUTE_PATH,
	FMT_PORT_NUMBER, /* 1..65535, ints and int-or-strings */
};

struct schema;

struct schema_field {
	const char *name; /* NULL ends the table */
	enum schema_type type;
	enum schema_shape shape;
	const struct schema *of; /* SCHEMA_OBJECT */
	unsigned flags;
	uint16_t pb;               /* protobuf field number, 0 when not on the wire */
	enum schema_format format; /* of the string, or of each element; for maps of the keys */
	const char *dflt;          /* JSON text, or NULL */
	const char *const *one_of; /* allowed strings, NULL-terminated */
	const char *merge_key;     /* SCHEMA_MERGE */
	const char *keys;          /* SCHEMA_LIST_MAP: space-separated */
	bool has_min, has_max;
	int64_t min, max; /* numbers */
	const char *doc;  /* one line for explain; our own words; may be NULL */
};

struct schema {
	const char *name; /* upstream's definition name without "io.k8s.": "api.core.v1.PodSpec" */
	const struct schema_field *fields;
	const char *doc;
	/* Defaults that depend on other fields; runs after the tables' defaults of this object. May be NULL. */
	void (*dflt)(json_t *obj);
	/* Rules across fields; path is that of obj ("" at the top). Adds causes to err. `old` is NULL on create. */
	void (*check)(const json_t *obj, const json_t *old, const char *path, struct err *err);
};

/* One printer column, as Table answers give it. */
struct kind_column {
	const char *name, *type, *format, *doc;
	int priority; /* > 0: only with -o wide */
};

struct kind;
struct object;

enum kind_subresources {
	KIND_SUB_STATUS = 1 << 0,
	KIND_SUB_SCALE = 1 << 1,
	KIND_SUB_LOG = 1 << 2,
	KIND_SUB_EXEC = 1 << 3,
	KIND_SUB_BINDING = 1 << 4,
	KIND_SUB_EVICTION = 1 << 5,
	KIND_SUB_TOKEN = 1 << 6,    /* serviceaccounts/token */
	KIND_SUB_FINALIZE = 1 << 7, /* namespaces/finalize */
	KIND_SUB_ATTACH = 1 << 8,
	KIND_SUB_PORTFORWARD = 1 << 9,
};

enum kind_verbs {
	VERB_GET = 1 << 0,
	VERB_LIST = 1 << 1,
	VERB_WATCH = 1 << 2,
	VERB_CREATE = 1 << 3,
	VERB_UPDATE = 1 << 4,
	VERB_PATCH = 1 << 5,
	VERB_DELETE = 1 << 6,
	VERB_DELETECOLLECTION = 1 << 7,
	VERB_ALL = 0xff,
};

struct kind {
	const char *group;              /* "" for core */
	const char *version;            /* "v1" */
	const char *kind;               /* "Deployment" */
	const char *plural;             /* "deployments" */
	const char *singular;           /* "deployment" */
	const char *list_kind;          /* "DeploymentList" */
	const char *const *short_names; /* NULL-terminated or NULL */
	const char *const *categories;  /* {"all", NULL} */
	bool namespaced;
	unsigned subresources; /* enum kind_subresources */
	unsigned verbs; /* enum kind_verbs; reviews (SubjectAccessReview) have VERB_CREATE only and are not stored */
	const char *storage_prefix; /* upstream's under /registry: "services/specs"; the plural where NULL */
	enum schema_format name_format;
	const struct schema *schema;       /* of the whole object: apiVersion, kind, metadata, spec, status */
	const struct kind_column *columns; /* name NULL ends; the first is Name */
	/* Append this object's cells (JSON values) in the order of columns. now_s: for ages. */
	void (*cells)(const json_t *obj, int64_t now_s, json_t *cells);
	/* Before the object is stored on create or update: set what the server owns (generation rules, cluster IPs are
	 * the API server's job, not this one's), drop what users may not set. `old` NULL on create. May be NULL. */
	void (*prepare)(json_t *obj, const json_t *old);
	/* Field selectors beyond metadata.name and metadata.namespace: NULL-terminated paths, e.g. "spec.nodeName". */
	const char *const *field_selectors;
};

/* The kinds compiled in, NULL-terminated, in discovery order. */
extern const struct kind *const kinds_all[];
const struct kind *kind_by_resource(const char *group, const char *version, const char *plural);
const struct kind *kind_by_kind(const char *group, const char *version, const char *kind);
/* "v1" or "apps/v1" + kind. */
const struct kind *kind_by_api_version(const char *api_version, const char *kind);
/* What people type: plural, singular, short name, kind (any case), each optionally ".group" or ".version.group". */
const struct kind *kind_by_word(const char *word);
/* "v1", "apps/v1": a static string per kind is not promised; caller frees. */
char *kind_api_version(const struct kind *k);
/* "deployments.apps", "pods": as messages name a resource. Caller frees. */
char *kind_resource(const struct kind *k);

/* ---- walkers: all take the object's tree and its schema ---- */

/* Fill in defaults, in place. */
void schema_default(const struct schema *s, json_t *obj);

enum schema_unknown { UNKNOWN_IGNORE, UNKNOWN_WARN, UNKNOWN_STRICT };
/* Types, as a decoder sees them: a wrong type is BAD_REQUEST with the field path (upstream's message where known).
 * Unknown fields are dropped in place, and listed: `unknown field "spec.foo"`, as strings appended to ret_unknown. */
int schema_decode(const struct schema *s, json_t *obj, json_t *ret_unknown, struct err *err);
/* All faults at once, as causes of err: required, enum, range, format, immutable, duplicates, then `check`. */
int schema_validate(const struct schema *s, const json_t *obj, const json_t *old, struct err *err);
/* After a failed validation: give err upstream's message (`Deployment.apps "x" is invalid: [spec.a: Required value, ...]`)
 * made from its causes, and the details group, kind and name. k may be NULL. */
void schema_invalid_message(struct err *err, const struct kind *k, const char *name);
/* What is wrong with s in that format, in upstream's words (static); NULL when nothing is. */
const char *schema_format_check(enum schema_format format, const char *s);
/* Rules of a label map (keys and values), and of an annotation map: for templates and selectors too. */
void meta_validate_labels(const json_t *labels, const char *path, struct err *err);
void meta_validate_annotations(const json_t *annotations, const char *path, struct err *err);
/* Metadata rules common to all kinds (names, labels, annotations size, finalizers, ownerReferences, immutables). */
int meta_validate(const struct kind *k, const json_t *obj, const json_t *old, struct err *err);

/* Field of an object by name, looking through inlined ones. NULL when unknown. */
const struct schema_field *schema_field(const struct schema *s, const char *name);

/* OpenAPI of the kinds given (all of one group version for v3; all for v2). JSON text. */
void openapi_v3_write(struct buf *out, const char *group, const char *version);
void openapi_v2_write(struct buf *out);
/* The same document as gnostic's protobuf (com.github.proto-openapi.spec.v2@v1.0+protobuf). */
void openapi_v2_write_pb(struct buf *out);

/* application/vnd.kubernetes.protobuf: "k8s\0" + runtime.Unknown {typeMeta, raw}. Decodes into a tree by the kind's
 * table; *ret_kind is what the envelope says. Bounded like JSON. Also used for DeleteOptions ("meta.k8s.io" kinds):
 * those have kinds of their own that are not in kinds_all. */
int protobuf_decode(const uint8_t *data, size_t len, json_t **ret, struct err *err);

/* Schemas that are not kinds of their own. */
extern const struct schema schema_object_meta, schema_delete_options, schema_scale, schema_binding, schema_status,
	schema_pod_template_spec, schema_label_selector, schema_token_request, schema_eviction, schema_list_meta;

#endif
