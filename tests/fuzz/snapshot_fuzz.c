/* A snapshot's header and the stream after it: files an operator or another member hands over. */
#include "lib/core/snapshot_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int whole(const uint8_t *data, size_t size, size_t piece, struct snapshot_file_info *ret)
{
	struct snapshot_check *c = snapshot_check_new();
	for (size_t at = 0; at < size; at += piece)
		snapshot_check_add(c, data + at, MIN(piece, size - at), NULL);
	return snapshot_check_end(c, ret, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct snapshot_file_info a, b;
	uint8_t again[SNAPSHOT_FILE_HEADER];
	int rc = whole(data, size, size + 1, &a);
	MUST(whole(data, size, 7, &b) == rc);
	if (rc == 0)
		MUST(snapshot_file_bytes(&a) == size);
	if (size < SNAPSHOT_FILE_HEADER || snapshot_file_get_header(data, &a, NULL))
		return 0;
	snapshot_file_put_header(&a, again); /* what was understood is what is said */
	MUST(snapshot_file_get_header(again, &b, NULL) == 0);
	MUST(a.cluster == b.cluster && a.data_bytes == b.data_bytes && strcmp(a.program, b.program) == 0);
	return 0;
}
