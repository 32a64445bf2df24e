/* SPDX-License-Identifier: MIT */
/* Intrusive lists. `struct list`: circular, doubly linked, removal from anywhere. `struct fifo`: singly
 * linked with a tail pointer, for batches that are appended, concatenated and drained. Header only; the
 * caller locks. */
#ifndef KERNEL_BASE_LIST_H
#define KERNEL_BASE_LIST_H

#include <kernel/base/types.h>

struct list {
    struct list *next, *prev; /* a head that points at itself is empty; so is an unlinked node */
};

#define LIST_INIT(name)  \
    {                    \
        &(name), &(name) \
    }
#define list_entry(node, type, member) container_of(node, type, member)
#define list_foreach(node, head)       for (struct list *node = (head)->next; node != (head); node = node->next)
/* As list_foreach; the body may remove `node`. */
#define list_foreach_safe(node, head)                                                 \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head); \
         node = node##_next, node##_next = node->next)

static inline void list_init(struct list *head)
{
    head->next = head->prev = head;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_insert_before(struct list *position, struct list *node)
{
    node->next = position;
    node->prev = position->prev;
    position->prev->next = node;
    position->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_before(head, node);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_before(head->next, node);
}

/* Leaves `node` an empty list of its own, so that removing it twice is harmless. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* The first node, removed; NULL from an empty list. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = head->next;
    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

struct fifo_node {
    struct fifo_node *next;
};

struct fifo {
    struct fifo_node *head;
    struct fifo_node **tail; /* where the next node's address goes */
};

#define FIFO_INIT(name)    \
    {                      \
        NULL, &(name).head \
    }
#define fifo_foreach(node, fifo) for (struct fifo_node *node = (fifo)->head; node; node = node->next)

static inline void fifo_init(struct fifo *fifo)
{
    fifo->head = NULL;
    fifo->tail = &fifo->head;
}

static inline bool fifo_is_empty(const struct fifo *fifo)
{
    return fifo->head == NULL;
}

static inline void fifo_push(struct fifo *fifo, struct fifo_node *node)
{
    node->next = NULL;
    *fifo->tail = node;
    fifo->tail = &node->next;
}

static inline void fifo_push_front(struct fifo *fifo, struct fifo_node *node)
{
    node->next = fifo->head;
    if (!fifo->head)
        fifo->tail = &node->next;
    fifo->head = node;
}

static inline struct fifo_node *fifo_pop(struct fifo *fifo)
{
    struct fifo_node *node = fifo->head;
    if (node) {
        fifo->head = node->next;
        if (!fifo->head)
            fifo->tail = &fifo->head;
    }
    return node;
}

/* Moves all of `from` behind `to`; `from` is empty afterwards. */
static inline void fifo_append(struct fifo *to, struct fifo *from)
{
    if (fifo_is_empty(from))
        return;
    *to->tail = from->head;
    to->tail = from->tail;
    fifo_init(from);
}

#endif
