/* A disk for tests of devices: a node of the machine's block graph. */
#ifndef NANDU_TESTS_UNIT_DISK_TEST_H
#define NANDU_TESTS_UNIT_DISK_TEST_H

#include "block/block.h"
#include "hw_test.h"
#include "qapi/qapi_types.h"

/* By JSON of the schema; a new reference. In a coroutine. */
static inline struct block_node *co_disk_open(struct hw_test *t, const char *text)
{
    GError *error = NULL;
    g_autoptr(json_object) json = json_parse(text, &error);
    struct qapi_blockdev_options options;
    struct block_node *node;

    g_assert_no_error(error);
    g_assert_true(qapi_from_json(&qapi_type_blockdev_options, json, &options, &error));
    node = co_block_open(t->hw.blocks, &options, 0, &error);
    g_assert_no_error(error);
    qapi_clear(&qapi_type_blockdev_options, &options);
    return node;
}

#endif
