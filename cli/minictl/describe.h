/* What describe writes with: lines of text with tabs, two spaces a level, aligned at the end (tabs.h). */
#ifndef MINI_MINICTL_DESCRIBE_H
#define MINI_MINICTL_DESCRIBE_H

#include "cli/minictl/verbs.h"

struct describer {
	struct ctl *c;
	struct buf out;
	int64_t now_s;
};

void put(struct describer *d, int level, const char *fmt, ...) _printf_(3, 4);
/* "Title:" and a map's members below each other, sorted; "<none>". */
void put_map(struct describer *d, int level, const char *title, const json_t *map, const char *sep);
/* The LabelSelector as text; "<none>". Kept. */
const char *selector_words(const json_t *selector);
const char *join_words(const json_t *list, const char *sep); /* "<none>" for nothing; kept */
const char *time_words(const char *rfc3339);                 /* Mon, 02 Jan 2006 15:04:05 +0000; kept */
const char *value_words(const json_t *v);                    /* kept */
void put_pod_template(struct describer *d, const json_t *template_obj);
void put_volumes(struct describer *d, int level, const json_t *volumes);
void put_containers(struct describer *d, int level, const char *title, const json_t *containers,
		    const json_t *statuses);

void describe_pod(struct describer *d, const json_t *obj);
void describe_node(struct describer *d, const json_t *obj);
void describe_deployment(struct describer *d, const json_t *obj);
void describe_replica_set(struct describer *d, const json_t *obj);
void describe_service(struct describer *d, const json_t *obj);
void describe_config_map(struct describer *d, const json_t *obj);
void describe_secret(struct describer *d, const json_t *obj);
void describe_namespace(struct describer *d, const json_t *obj);
void describe_service_account(struct describer *d, const json_t *obj);
void describe_role(struct describer *d, const json_t *obj);
void describe_binding(struct describer *d, const json_t *obj);
void describe_any(struct describer *d, const json_t *obj);

#endif
