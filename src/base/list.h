/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked list with a head that is itself a node. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(head)                                                                                                \
	{                                                                                                              \
		&(head), &(head)                                                                                       \
	}

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_append(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* Unlink; the node may be unlinked again or appended anew afterwards. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#define list_first(head, type, member) (list_empty(head) ? NULL : container_of((head)->next, type, member))

/* Iterate; the body may remove and free the current entry, but no other. */
#define list_foreach(pos, head, type, member)                                                                          \
	for (struct list *pos##_n_ = (head)->next, *pos##_s_ = pos##_n_->next;                                         \
	     pos##_n_ != (head) && ((pos) = container_of(pos##_n_, type, member));                                     \
	     pos##_n_ = pos##_s_, pos##_s_ = pos##_n_->next)
