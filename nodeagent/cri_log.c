#include "nodeagent/cri_log.h"

static const char *space(const char *from, const char *end)
{
	return from < end ? memchr(from, ' ', (size_t)(end - from)) : NULL;
}

bool cri_line_parse(const char *line, size_t len, struct cri_line *ret)
{
	const char *end = line + len, *stream = space(line, end);
	const char *tag = stream ? space(stream + 1, end) : NULL, *text = tag ? space(tag + 1, end) : NULL;
	if (!text)
		return false;
	*ret = (struct cri_line){.time = line,
				 .time_len = (size_t)(stream - line),
				 .partial = tag[1] == 'P',
				 .text = text + 1,
				 .text_len = (size_t)(end - text - 1)};
	return true;
}

bool cri_line_time(const struct cri_line *l, int64_t *ret_us)
{
	char text[64];
	if (l->time_len >= sizeof(text))
		return false;
	memcpy(text, l->time, l->time_len);
	text[l->time_len] = '\0';
	return time_parse_us(text, ret_us) == 0;
}
