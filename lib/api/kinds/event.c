/* Event (core v1). */

#include "lib/api/kinds/tables.h"

/* clang-format off */

static const struct schema_field event_source_fields[] = {
	STR("component", 1),
	STR("host", 2),
	END,
};
static SCHEMA(event_source, "api.core.v1.EventSource");

static const struct schema_field event_series_fields[] = {
	I32("count", 1),
	MICRO_TIME("lastObservedTime", 2),
	END,
};
static SCHEMA(event_series, "api.core.v1.EventSeries");

static const struct schema_field event_fields[] = {
	OBJECT_HEAD,
	OBJ("involvedObject", 2, &schema_object_reference),
	STR("reason", 3),
	STR("message", 4),
	OBJ("source", 5, &schema_event_source, DFLT("{}")),
	TIME("firstTimestamp", 6),
	TIME("lastTimestamp", 7),
	I32("count", 8),
	STR("type", 9),
	MICRO_TIME("eventTime", 10),
	OBJ("series", 11, &schema_event_series),
	STR("action", 12),
	OBJ("related", 13, &schema_object_reference),
	STR("reportingComponent", 14, DFLT_STR("")),
	STR("reportingInstance", 15, DFLT_STR("")),
	END,
};
SCHEMA(event, "api.core.v1.Event", .doc = "A report of something that happened.", .check = event__check);
