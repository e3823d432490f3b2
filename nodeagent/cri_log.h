/* A line of a container's log as CRI has it: "<time> <stream> <P|F> <text>", P: the line goes on in the next one.
 * Source: kubernetes design proposal "CRI: Dealing with Logs"; k8s.io/cri-client pkg/logs. */
#ifndef MINI_NODEAGENT_CRI_LOG_H
#define MINI_NODEAGENT_CRI_LOG_H

#include "lib/core/util.h"

/* Points into the line. */
struct cri_line {
	const char *time, *text;
	size_t time_len, text_len;
	bool partial;
};
/* `line` without its newline; any bytes, also none. False: it is not framed. */
bool cri_line_parse(const char *line, size_t len, struct cri_line *ret);
/* When it was written, in microseconds since the epoch; false: that cannot be read. */
bool cri_line_time(const struct cri_line *l, int64_t *ret_us);

#endif
