#include "lib/api/kinds/duration.h"

/* "3h20m": the larger unit alone when nothing is left of the smaller one. */
static char *two_units(char *ret, int64_t big, const char *big_unit, int64_t small, const char *small_unit)
{
	if (small)
		snprintf(ret, HUMAN_DURATION_MAX, "%lld%s%lld%s", (long long)big, big_unit, (long long)small,
			 small_unit);
	else
		snprintf(ret, HUMAN_DURATION_MAX, "%lld%s", (long long)big, big_unit);
	return ret;
}

char *human_duration(int64_t seconds, char ret[HUMAN_DURATION_MAX])
{
	int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;

	if (seconds < -1)
		return strcpy(ret, "<invalid>");
	if (seconds < 0)
		return strcpy(ret, "0s");
	if (seconds < 120)
		return two_units(ret, seconds, "s", 0, "");
	if (minutes < 10)
		return two_units(ret, minutes, "m", seconds % 60, "s");
	if (minutes < 180)
		return two_units(ret, minutes, "m", 0, "");
	if (hours < 8)
		return two_units(ret, hours, "h", minutes % 60, "m");
	if (hours < 48)
		return two_units(ret, hours, "h", 0, "");
	if (days < 8)
		return two_units(ret, days, "d", hours % 24, "h");
	if (days < 365 * 2)
		return two_units(ret, days, "d", 0, "");
	if (days < 365 * 8)
		return two_units(ret, days / 365, "y", days % 365, "d");
	return two_units(ret, days / 365, "y", 0, "");
}

char *human_age(const char *rfc3339, int64_t now_s, char ret[HUMAN_DURATION_MAX])
{
	int64_t us;

	if (str_empty(rfc3339) || time_parse_us(rfc3339, &us))
		return strcpy(ret, "<unknown>");
	return human_duration(now_s - us / 1000000, ret);
}
