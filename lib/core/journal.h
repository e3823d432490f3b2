/* The journal of changes to the host: written before each change is made (synced where a reboot would not undo it), so that a stop, a crash and an
 * uninstall can undo all of it. One text file DIR/host.journal, one line per change ("kind boot-id what value",
 * percent-escaped); undone lines are dropped.
 *
 * Kinds of change and their undo: link (delete it), route (delete it), rule (iptables chain/jump: the proxy's own undo),
 * sysctl (write the old value back), mount (unmount), cgroup (removed with all below), file (remove). Undo runs newest first, and
 * each undo of what is not there any more succeeds.
 */
#ifndef MINI_CORE_JOURNAL_H
#define MINI_CORE_JOURNAL_H

#include "lib/core/err.h"
#include "lib/core/util.h"

struct journal;

enum journal_kind {
	JOURNAL_LINK,
	JOURNAL_ROUTE,
	JOURNAL_SYSCTL,
	JOURNAL_MOUNT,
	JOURNAL_CGROUP,
	JOURNAL_FILE,
	JOURNAL_RULES
};

/* Opens (made if missing) and reads what an earlier run left. Entries of another boot (links, mounts... are gone with
 * it) are dropped. */
int journal_open(const char *path, struct journal **ret, struct err *err);
void journal_close(struct journal *j); /* keeps the entries */
/* Say what is about to be made. `what`: link name, mount point, group as cgroup.h names it, sysctl path, file path, or for RULES the
 * name of the program that undoes them ("proxy"). `value`: sysctl's old value (`what` is its path under /proc/sys); route: "10.96.0.0/16 dev mini0"; else NULL.
 * The same entry twice is kept once. Durable on return. */
int journal_add(struct journal *j, enum journal_kind kind, const char *what, const char *value, struct err *err);
/* It has been undone. */
int journal_remove(struct journal *j, enum journal_kind kind, const char *what, struct err *err);
bool journal_has(const struct journal *j, enum journal_kind kind, const char *what);
/* Undo everything, newest first. `undo` handles kinds this file can't (LINK, ROUTE, RULES: netlink and iptables are not
 * core's business): it returns 0 when undone. Continues after failures; the first one is returned. */
typedef int (*journal_undo_fn)(void *arg, enum journal_kind kind, const char *what, const char *value, struct err *err);
int journal_undo_all(struct journal *j, journal_undo_fn undo, void *arg, struct err *err);
/* Iterate: pos from 0; false at the end. */
bool journal_next(const struct journal *j, unsigned *pos, enum journal_kind *ret_kind, const char **ret_what,
		  const char **ret_value);

#endif
