/* Objects as bytes for a client: as they are, as a Table, or as metadata only. Sources: the API's "Receiving resources
 * as Tables" and "metadata-only" representations. */
#ifndef MINI_APISERVER_ENCODE_H
#define MINI_APISERVER_ENCODE_H

#include "apiserver/request.h"
#include "lib/client/client.h"

/* One object as a whole answer. */
void encode_object(struct apiserver *a, const struct resource *res, struct blob *b, uint64_t rv,
		   enum answer_format format, int include, struct buf *out);
/* One entry of a list in that format: an item or a row (no comma). */
void encode_item(struct apiserver *a, const struct resource *res, struct blob *b, uint64_t rv,
		 enum answer_format format, int include, struct buf *out);
/* What stands before and after the entries. continue_token may be NULL; remaining -1: not said. */
void encode_list_head(const struct resource *res, enum answer_format format, uint64_t rv, const char *continue_token,
		      int64_t remaining, struct buf *out);
void encode_list_tail(struct buf *out);
/* {"type":...,"object":...}\n */
void encode_event(struct apiserver *a, const struct resource *res, enum watch_type type, struct blob *b, uint64_t rv,
		  enum answer_format format, int include, struct buf *out);
/* initial_end: the bookmark that ends the initial events. */
void encode_bookmark(const struct resource *res, uint64_t rv, enum answer_format format, bool initial_end,
		     struct buf *out);
void encode_error_event(const struct err *err, struct buf *out);

#endif
