/* Lease: who leads, and whose heart beats. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field lease_spec_fields[] = {
	STRP("holderIdentity", 1, DOC("Who holds it.")),
	I32P("leaseDurationSeconds", 2, DOC("Seconds after the last renewal when others may take it.")),
	MICRO_TIME("acquireTime", 3, DOC("When its holder got it.")),
	MICRO_TIME("renewTime", 4, DOC("When it was renewed last.")),
	I32P("leaseTransitions", 5, DOC("How often it changed hands.")),
	STRP("strategy", 6),
	STRP("preferredHolder", 7),
	END,
};
static SCHEMA(lease_spec, "api.coordination.v1.LeaseSpec", .check = lease__check_spec);

static const struct schema_field lease_fields[] = {
	OBJECT_HEAD,
	OBJ("spec", 2, &schema_lease_spec),
	END,
};
SCHEMA(lease, "api.coordination.v1.Lease", .doc = "A claim on a role, renewed by its holder.");
