/* /version. */
#include "apiserver/version_info.h"

#include "apiserver/nonresource.h"
#include "version.h"

json_t *version_info(void)
{
	return json_make("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "major", "1", "minor", "32", "gitVersion",
			 API_GIT_VERSION, "gitCommit", MINI_COMMIT, "gitTreeState", "clean", "buildDate",
			 "1970-01-01T00:00:00Z", "goVersion", "none (C, " __VERSION__ ")", "compiler", "cc", "platform",
			 "linux/amd64");
}
