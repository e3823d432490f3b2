/* The HTTP door: requests in, answers out in the format asked for. */
#ifndef MINI_APISERVER_HTTP_FRONT_H
#define MINI_APISERVER_HTTP_FRONT_H

#include "apiserver/request.h"

/* How an answer should look, from an Accept header (NULL: JSON). */
struct accept {
	enum answer_format format;
	bool yaml;
};
/* False: nothing of it can be made (406). */
bool accept_parse(const char *header, struct accept *ret);
/* The body's format from a Content-Type (NULL: JSON). False: unknown (415). */
bool content_type_parse(const char *header, enum body_format *ret);

#endif
