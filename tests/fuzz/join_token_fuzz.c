/* A join token as somebody typed or sent it: what is taken reads the same again. */
#include "lib/client/join_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	struct join_token t, again;
	char back[JOIN_TOKEN_TEXT_MAX], id[7], secret[17];
	join_token_is_bearer(text, id, secret);
	if (join_token_parse(text, &t, NULL) < 0)
		return 0;
	join_token_text(&t, back);
	MUST(join_token_parse(back, &again, NULL) == 0);
	MUST(streq(t.id, again.id) && streq(t.secret, again.secret) && memcmp(t.ca, again.ca, 32) == 0);
	MUST(strlen(back) == strlen(text));
	return 0;
}
