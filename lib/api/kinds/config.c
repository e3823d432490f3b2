/* ConfigMap, Secret and ServiceAccount. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field config_map_fields[] = {
	OBJECT_HEAD,
	BOOLP("immutable", 4, DOC("Once true, the data cannot change.")),
	MAP_STR("data", 2, IS(CONFIG_KEY), DOC("Texts by key.")),
	MAP_BYTES("binaryData", 3, IS(CONFIG_KEY), DOC("Bytes by key, in base64.")),
	END,
};
SCHEMA(config_map, "api.core.v1.ConfigMap", .doc = "Configuration that pods read.", .check = config_map__check);

static const struct schema_field secret_fields[] = {
	OBJECT_HEAD,
	BOOLP("immutable", 5, DOC("Once true, the data cannot change.")),
	MAP_BYTES("data", 2, IS(CONFIG_KEY), DOC("Bytes by key, in base64.")),
	MAP_STR("stringData", 4, IS(CONFIG_KEY), DOC("Texts by key, for writing only; they end up in data.")),
	STR("type", 3, DFLT_STR("Opaque"), FLAGS(SCHEMA_IMMUTABLE), DOC("What the data must hold.")),
	END,
};
SCHEMA(secret, "api.core.v1.Secret", .doc = "Data for few eyes: passwords, keys, tokens.", .dflt = secret__default,
       .check = secret__check);

static const struct schema_field service_account_fields[] = {
	OBJECT_HEAD,
	LIST_OBJ("secrets", 2, &schema_object_reference, MERGED("name")),
	LIST_OBJ("imagePullSecrets", 3, &schema_local_object_reference, ATOMIC),
	BOOLP("automountServiceAccountToken", 4),
	END,
};
SCHEMA(service_account, "api.core.v1.ServiceAccount", .doc = "An identity for pods.");
