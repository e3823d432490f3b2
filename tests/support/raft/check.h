/* What must hold among raft's nodes, judged from outside: from disks, messages and answers. And how it is told. */
#ifndef MINI_TESTS_SUPPORT_RAFT_CHECK_H
#define MINI_TESTS_SUPPORT_RAFT_CHECK_H

#include "tests/support/raft/cluster.h"

void check_say(struct cluster *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void check_broken(struct cluster *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void check_describe(struct cluster *c, const struct raft_msg *m);
void check_entry(struct cluster *c, const struct raft_entry *e); /* says " 1/2=a" */
void check_state(struct cluster *c, struct node *n);             /* no term goes back, no witness leads */
/* One leader a term; a sole voter that fell before its term was on disk led nobody. */
void check_leader(struct cluster *c, struct node *n);
/* Logs match (dissertation 3.5): an entry is the same wherever its index and term are, and so is the one before. A
 * leader only appends. */
void check_written(struct cluster *c, struct node *n, const struct raft_entry *e, uint64_t prev_term, bool overwrites);
void check_applied(struct cluster *c, struct node *n, const struct raft_entry *e); /* in order, durable, and the same */
void check_install(struct cluster *c, struct node *n, const struct snapshot *s);
void check_membership(struct cluster *c, struct node *n); /* in force is the newest in its log */
void check_read(struct cluster *c, struct node *n, const struct raft_read *read);
void check_fate(struct cluster *c, struct node *n, const struct raft_fate *f);

#endif
