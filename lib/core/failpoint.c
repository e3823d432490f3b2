#include "lib/core/failpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "lib/core/buf.h"

enum where { LOOP, LANE };
enum fails { NEVER_FAILS, FAILS };

static const struct {
	const char *name;
	enum where where;
	enum fails fails;
} points[FAILPOINT_COUNT] = {
#define X(id, name, where, fails) {name, where, fails},
	FAILPOINTS(X)
#undef X
};

enum act { ACT_NONE, ACT_KILL, ACT_ERROR, ACT_DELAY };
struct action {
	enum act act;
	int code;
	uint64_t at; /* only the time with this number; 0: each time */
	uint64_t delay_ms;
};

static struct action actions[FAILPOINT_COUNT];
static _Atomic uint64_t passed[FAILPOINT_COUNT];
static failpoint_handler handler;
static void *handler_arg;
bool failpoints__armed;

const char *failpoint_name(enum failpoint p)
{
	return points[p].name;
}

bool failpoint_can_fail(enum failpoint p)
{
	return points[p].fails == FAILS;
}

uint64_t failpoint_passed(enum failpoint p)
{
	return passed[p];
}

int failpoint_by_name(const char *name)
{
	for (int i = 0; i < FAILPOINT_COUNT; i++)
		if (streq(points[i].name, name))
			return i;
	return -ENOENT;
}

int failpoint__pass(enum failpoint p)
{
	const struct action *a = &actions[p];
	uint64_t n = ++passed[p];
	if (handler)
		return handler(handler_arg, p);
	if (a->at && a->at != n)
		return 0;
	switch (a->act) {
	case ACT_KILL:
		raise(SIGKILL);
		break;
	case ACT_ERROR:
		return a->code;
	case ACT_DELAY:
		nanosleep(&(struct timespec){.tv_sec = (time_t)(a->delay_ms / 1000),
					     .tv_nsec = (long)(a->delay_ms % 1000) * 1000000},
			  NULL);
		break;
	case ACT_NONE:
		break;
	}
	return 0;
}

void failpoints_set_handler(failpoint_handler fn, void *arg)
{
	handler = fn;
	handler_arg = arg;
	failpoints__armed = fn != NULL;
}

/* ---- what the environment says ---- */

static int errno_by_name(const char *name)
{
	static const struct {
		const char *name;
		int code;
	} names[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC},   {"EDQUOT", EDQUOT}, {"EROFS", EROFS},
		     {"EAGAIN", EAGAIN}, {"EUCLEAN", EUCLEAN}, {"EBUSY", EBUSY},   {"ENOMEM", ENOMEM}};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (streq(names[i].name, name))
			return names[i].code;
	return 0;
}

static int bad_action(const char *text, const char *why, struct err *err)
{
	return err_set(err, -EINVAL, "MINI_FAILPOINTS: %s: %s", text, why);
}

static int parse_action(const char *text, enum failpoint p, struct action *ret, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *rest = copy, *word = strsep(&rest, ":"), *number = NULL;
	struct action a = {0};
	if (streq(word, "kill")) {
		a = (struct action){.act = ACT_KILL, .at = 1};
		number = strsep(&rest, ":");
	} else if (streq(word, "error")) {
		const char *name = strsep(&rest, ":");
		a = (struct action){.act = ACT_ERROR, .code = -errno_by_name(name ? name : "")};
		number = strsep(&rest, ":");
		if (!a.code)
			return bad_action(
				text, "an error is EIO, ENOSPC, EDQUOT, EROFS, EAGAIN, EUCLEAN, EBUSY or ENOMEM", err);
		if (points[p].fails != FAILS)
			return bad_action(points[p].name, "nothing can fail there", err);
	} else if (streq(word, "delay")) {
		const char *ms = strsep(&rest, ":");
		a.act = ACT_DELAY;
		if (!ms || parse_u64(ms, &a.delay_ms) || a.delay_ms > 3600000)
			return bad_action(text, "a delay is a number of milliseconds, an hour at most", err);
		if (points[p].where != LANE)
			return bad_action(points[p].name, "this place is on the loop, which may not wait", err);
	} else if (!streq(word, "off")) {
		return bad_action(text, "an action is kill, kill:N, error:ERRNO, error:ERRNO:N, delay:MS or off", err);
	}
	if (rest || (number && (parse_u64(number, &a.at) || !a.at)))
		return bad_action(text, "the number of times starts at 1, and nothing follows it", err);
	*ret = a;
	return 0;
}

static int unknown_name(const char *name, struct err *err)
{
	_cleanup_buf_ struct buf all = BUF_INIT;
	for (int i = 0; i < FAILPOINT_COUNT; i++)
		buf_addf(&all, "%s%s", i ? " " : "", points[i].name);
	return err_set(err, -EINVAL, "MINI_FAILPOINTS: there is no \"%s\"; there are: %s", name, buf_str(&all));
}

int failpoints_parse(const char *text, struct err *err)
{
	_cleanup_free_ char *copy = xstrdup(text);
	struct action all[FAILPOINT_COUNT] = {0};
	bool any = false;
	for (char *rest = copy, *item; (item = strsep(&rest, ",")) && *item;) {
		char *action = item, *name = strsep(&action, "=");
		int p = failpoint_by_name(name);
		if (p < 0)
			return unknown_name(name, err);
		int rc = parse_action(action ? action : "", (enum failpoint)p, &all[p], err);
		if (rc)
			return rc;
		any = any || all[p].act != ACT_NONE;
	}
	memcpy(actions, all, sizeof(actions));
	for (int i = 0; i < FAILPOINT_COUNT; i++)
		passed[i] = 0;
	failpoints__armed = any;
	return 0;
}

int failpoints_from_env(struct err *err)
{
	const char *text = getenv("MINI_FAILPOINTS");
	return str_empty(text) ? 0 : failpoints_parse(text, err);
}
