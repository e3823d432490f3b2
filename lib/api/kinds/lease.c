/* Lease: who leads, and whose heart beats. */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field lease_spec_fields[] = {
	STRP("holderIdentity", 1),
	I32P("leaseDurationSeconds", 2),
	MICRO_TIME("acquireTime", 3),
	MICRO_TIME("renewTime", 4),
	I32P("leaseTransitions", 5),
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
SCHEMA(lease, "api.coordination.v1.Lease");
