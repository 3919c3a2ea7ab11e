/*
 * virtio-blk, what its two files share: virtio_blk.c has the device, virtio_blk_request.c what
 * becomes of a chain of buffers.
 *
 * A disk's loop is never the main one: it is that of the iothread that it names, or of one of its
 * own. So whoever resets, stops or unplugs it, a vCPU or the main thread, can wait for its
 * requests. They are submitted and they end on that loop. What is under "the lock" below is under
 * the virtio device's.
 */
#ifndef NANDU_HW_BLOCK_VIRTIO_BLK_H
#define NANDU_HW_BLOCK_VIRTIO_BLK_H

#include "block/accounting.h"
#include "block/block.h"
#include "hw/virtio/virtio.h"

struct iothread;

enum {
    /* Feature bits (5.2.3). */
    VIRTIO_BLK_F_SEG_MAX = 2,
    VIRTIO_BLK_F_GEOMETRY = 4,
    VIRTIO_BLK_F_RO = 5,
    VIRTIO_BLK_F_BLK_SIZE = 6,
    VIRTIO_BLK_F_FLUSH = 9,
    VIRTIO_BLK_F_TOPOLOGY = 10,
    VIRTIO_BLK_F_CONFIG_WCE = 11,
    VIRTIO_BLK_F_MQ = 12,
    VIRTIO_BLK_F_DISCARD = 13,
    VIRTIO_BLK_F_WRITE_ZEROES = 14,

    VIRTIO_BLK_SECTOR = 512,        /* the unit of the protocol, whatever the block size is */
    VIRTIO_BLK_ID_SIZE = 20,        /* of a serial number */
    VIRTIO_BLK_MAX_BATCH = 32,      /* requests that are looked at together, to merge them */
};

struct virtio_blk_request;

/* Reads, or writes, of one turn of a queue. */
struct virtio_blk_batch {
    struct virtio_blk_request *requests[VIRTIO_BLK_MAX_BATCH];
    unsigned n;
};

struct virtio_blk {
    struct virtio_device vdev;
    /* Properties. */
    char *drive, *serial;
    struct object *iothread;                /* NULL: a thread of its own */
    uint64_t logical_block_size, physical_block_size;       /* bytes */
    uint64_t min_io_size, opt_io_size, discard_granularity;
    uint32_t cyls, heads, secs;             /* 0: computed */
    uint32_t max_discard_sectors, max_write_zeroes_sectors;
    uint16_t num_queues, queue_size;
    int32_t bootindex;                      /* for the board: machine/boot_order.h; -1: none */
    enum qapi_on_off_auto write_cache, account_invalid, account_failed;
    enum qapi_blockdev_on_error rerror, werror;
    bool share_rw, config_wce, seg_max_adjust, discard, write_zeroes;
    bool report_discard_granularity, request_merging;

    struct block_user *user;
    struct block_accounting *accounting;    /* the user's */
    struct iothread *own_thread;            /* NULL: iothread has the loop */
    bool write_back_at_reset;
    char *path;                             /* in the tree, which is the main thread's */
    bool read_only;
    bool waits;                             /* idle is initialized */

    /* Under the lock. */
    GCond idle;                             /* in_flight became 0 */
    unsigned in_flight;                     /* block requests, and posts to the loop */
    unsigned held;                          /* reasons why none may be started */
    uint64_t length;                        /* bytes, and the node's name: looking at the node */
    char *node_name;                        /* itself is for the main thread and for requests */
    bool submitting;                        /* the loop's thread is in block_submit */
    GQueue failed;                          /* struct virtio_blk_request: tried again by cont */
    bool write_back;                        /* saved: the driver may set it */
    uint8_t *saved;                         /* the failed ones, while state is saved and loaded */
    uint32_t saved_size;
};

/* Before it is realized: one queue for each vCPU, if the user said nothing. */
void virtio_blk_choose_queues(struct virtio_blk *s, unsigned n_cpus);
/* With the lock, on the loop: takes what is in the queue, as virtio_class.handle. */
void virtio_blk_handle(struct virtio_device *vdev, struct virtqueue *vq);
/* With the lock, on the loop: submits the failed ones once more. */
void virtio_blk_retry(struct virtio_blk *s);
/* With the lock: the failed ones of this queue (NULL: of all) are nobody's any more. */
void virtio_blk_forget_failed(struct virtio_blk *s, const struct virtqueue *vq);
/* s->failed to and from s->saved. Loading checks what it gets against the queues, which are
 * restored. */
void virtio_blk_save_failed(struct virtio_blk *s);
bool virtio_blk_load_failed(struct virtio_blk *s, GError **error);

#endif
