/* The parts of driver blkdebug: its rules (blkdebug_rules.c) and the requests that they meet. */
#ifndef NANDU_BLOCK_BLKDEBUG_H
#define NANDU_BLOCK_BLKDEBUG_H

#include "block/sparse.h"

enum blkdebug_action { BLKDEBUG_INJECT, BLKDEBUG_SET_STATE, BLKDEBUG_SUSPEND };

struct blkdebug_rule {
    enum blkdebug_action action;
    enum qapi_blkdebug_event event;
    int64_t state; /* 0: in any */
    /* BLKDEBUG_INJECT */
    unsigned iotypes; /* bits of enum qapi_blkdebug_io_type */
    int error;
    int64_t offset; /* bytes; -1: any */
    bool once, immediately;
    bool active, spent;
    int64_t new_state; /* BLKDEBUG_SET_STATE */
    char *tag;         /* BLKDEBUG_SUSPEND */
};

/* A request that is held. */
struct blkdebug_held {
    char *tag;
    struct coroutine *co;
    bool go;
};

struct blkdebug {
    struct block_edge *image;
    struct block_limits limits; /* of options; 0: the image's */
    unsigned take_perms, unshare_perms;
    GMutex lock; /* of the rest */
    bool locked; /* the lock is there */
    int64_t state;
    GPtrArray *rules; /* struct blkdebug_rule, owned */
    GQueue held;      /* struct blkdebug_held */
};

void blkdebug_rule_free(struct blkdebug_rule *rule);
/* Rules of the options and of their file. */
bool blkdebug_read_rules(struct block_node *node,
                         const struct qapi_blockdev_options_blkdebug *options, GError **error);

#endif
