/* New certificates for a host that does not have the CA's key: asked for with the ones it has (POST /mini/v1/renew) when
 * 70 to 80 % of their life are over (upstream's kubelet: 70 to 90), so that nodes of one day do not ask in one hour.
 * Blocking, on the pool (renew.c has the other half, on the loop).
 *
 *   FILE-next.key made -> asked -> FILE.crt written -> FILE-next.key takes FILE.key's place
 *
 * A crash before the third step changes nothing; after it, rotate_settle() does the fourth.
 */
#ifndef MINI_CLI_ROTATE_H
#define MINI_CLI_ROTATE_H

#include "lib/api/object.h"
#include "lib/net/pki.h"

/* DIR/pki/FILE.crt and .key; the names of its signing request and of its certificate on the wire. */
struct rotate_file {
	const char *file, *csr, *cert;
};
extern const struct rotate_file rotate_node[], rotate_member[]; /* file NULL: the end */

/* Is one of them due, and the CA's key not here? False too where one cannot be read. */
bool rotate_due(const char *dir, const struct rotate_file *files, int64_t now_s);
/* Into body: a signing request for each. */
int rotate_make(const char *dir, const struct rotate_file *files, json_t *body, struct err *err);
/* What was answered, checked as a whole, then written. */
int rotate_take(const char *dir, const struct rotate_file *files, const json_t *answer, int64_t now_s, struct err *err);
/* The certificate of DIR/pki/FILE is of the key in FILE-next.key: that one takes its place. Did it? */
bool rotate_settle(const char *dir, const char *file, const char *cert_pem);

#endif
