/* What /version answers. */
#ifndef MINI_APISERVER_VERSION_INFO_H
#define MINI_APISERVER_VERSION_INFO_H

#include "lib/api/json.h"

json_t *version_info(void);

#endif
