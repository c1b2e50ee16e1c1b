#include "base/list.h"

#include <criterion/criterion.h>

struct item {
    char name;
    struct list node;
};

static struct list head;
static struct item a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c'};

static void begin(void)
{
    list_init(&head);
    list_init(&a.node);
    list_init(&b.node);
    list_init(&c.node);
}

/* The names in order, checking the links backwards at the same time. */
static const char *names(void)
{
    static char order[8];
    size_t count = 0;
    LIST_FOR_EACH(node, &head)
    {
        cr_assert_eq(node->prev->next, node);
        cr_assert_eq(node->next->prev, node);
        order[count++] = LIST_OWNER(node, struct item, node)->name;
    }
    order[count] = '\0';
    return order;
}

TestSuite(list, .init = begin);

Test(list, pushes_and_inserts_in_order)
{
    cr_assert(list_is_empty(&head));
    cr_assert_str_eq(names(), "");
    list_push_back(&head, &b.node);
    list_push_front(&head, &a.node);
    list_push_back(&head, &c.node);
    cr_assert_str_eq(names(), "abc");
    cr_assert_not(list_is_empty(&head));
    list_remove(&c.node);
    list_insert_before(&b.node, &c.node);
    cr_assert_str_eq(names(), "acb");
}

Test(list, removing_twice_is_harmless_and_a_node_knows_whether_it_is_linked)
{
    list_push_back(&head, &a.node);
    list_push_back(&head, &b.node);
    cr_assert(list_is_linked(&a.node));
    list_remove(&a.node);
    cr_assert_not(list_is_linked(&a.node));
    list_remove(&a.node);
    cr_assert_str_eq(names(), "b");
    list_push_back(&head, &a.node);
    cr_assert_str_eq(names(), "ba");
}

Test(list, pop_front_empties_the_list)
{
    list_push_back(&head, &a.node);
    list_push_back(&head, &b.node);
    cr_assert_eq(list_pop_front(&head), &a.node);
    cr_assert_not(list_is_linked(&a.node));
    cr_assert_eq(list_pop_front(&head), &b.node);
    cr_assert_null(list_pop_front(&head));
    cr_assert(list_is_empty(&head));
}

Test(list, for_each_safe_lets_the_body_remove_its_node)
{
    list_push_back(&head, &a.node);
    list_push_back(&head, &b.node);
    list_push_back(&head, &c.node);
    unsigned visited = 0;
    LIST_FOR_EACH_SAFE(node, &head)
    {
        visited++;
        if (node != &b.node)
            list_remove(node);
    }
    cr_assert_eq(visited, 3);
    cr_assert_str_eq(names(), "b");
}
