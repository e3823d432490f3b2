/* What an external etcd answers: the same messages in any pieces say the same. */
#include "store/etcd_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A hash of all messages; with what the reader says in the end. */
static uint64_t read_all(const char *data, size_t size, size_t piece)
{
	struct etcd_msg m;
	uint64_t sum = 0;
	etcd_msg_init(&m, "/mini");
	while (size) {
		size_t len = MIN(piece, size);
		ssize_t n = etcd_msg_feed(&m, data, len);
		if (n < 0)
			break;
		MUST(n > 0 && (size_t)n <= len);
		data += n;
		size -= (size_t)n;
		if (!m.whole)
			continue;
		sum = sum * 31 + m.rev + m.count * 7 + m.error_code + m.n_items;
		for (size_t i = 0; i < m.n_items; i++) {
			const struct store_kv *kv = &m.items[i].kv;
			sum = sum * 31 + hash64(kv->key, strlen(kv->key)) + kv->mod_rev;
			sum += kv->value ? hash64(kv->value->data, kv->value->len) : 0;
		}
		etcd_msg_clear(&m);
	}
	etcd_msg_done(&m);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole = read_all((const char *)data, size, SIZE_MAX);
	MUST(read_all((const char *)data, size, 1) == whole);
	MUST(read_all((const char *)data, size, 7) == whole);
	return 0;
}
