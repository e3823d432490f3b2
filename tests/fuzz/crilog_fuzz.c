/* A container's log file, line by line: its bytes are the container's. */
#include "nodeagent/cri_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t one(const char *line, size_t len)
{
	struct cri_line l;
	int64_t us = -1;
	if (!cri_line_parse(line, len, &l))
		return len;
	MUST(l.time == line && l.time_len + l.text_len < len && l.text + l.text_len == line + len);
	MUST(!memchr(l.time, ' ', l.time_len));
	if (cri_line_time(&l, &us)) {
		char again[32];
		int64_t back;
		if (us >= 0 && us < 253402300800000000) /* years of four digits */
			MUST(time_parse_us(time_format_us(us, again), &back) == 0 && back == us);
	}
	return l.text_len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* on the heap, exactly, so that a byte too many is seen */
	char *text = xmalloc(size ? size : 1);
	if (size)
		memcpy(text, data, size);
	for (size_t at = 0; at < size;) {
		const char *nl = memchr(text + at, '\n', size - at);
		size_t len = nl ? (size_t)(nl - (text + at)) : size - at;
		char *line = xmalloc(len ? len : 1);
		memcpy(line, text + at, len);
		one(line, len);
		free(line);
		at += len + 1;
	}
	free(text);
	return 0;
}
