/* Intrusive doubly linked list with a sentinel head. list_init() before use; list_del() leaves the node re-initialised. */
#ifndef MINI_CORE_LIST_H
#define MINI_CORE_LIST_H

#include "lib/core/util.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
static inline void list_add_before(struct list *at, struct list *node)
{
	node->prev = at->prev;
	node->next = at;
	at->prev->next = node;
	at->prev = node;
}
static inline void list_push(struct list *head, struct list *node)
{
	list_add_before(head, node);
} /* at the end */
static inline void list_unshift(struct list *head, struct list *node)
{
	list_add_before(head->next, node);
} /* in front */
static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}
static inline struct list *list_pop(struct list *head) /* first, or NULL */
{
	if (list_empty(head))
		return NULL;
	struct list *n = head->next;
	/* The analyzer does not see that whoever was popped before is no neighbour any more. */
	list_del(n); /* NOLINT(clang-analyzer-unix.Malloc) */
	return n;
}
#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
/* Safe against removal of the current entry. */
#define LIST_EACH(head, it, type, member)                                                                              \
	for (type *it = LIST_ENTRY((head)->next, type, member),                                                        \
		  *it##_next = LIST_ENTRY(it->member.next, type, member);                                              \
	     &it->member != (head); it = it##_next, it##_next = LIST_ENTRY(it->member.next, type, member))

#endif
