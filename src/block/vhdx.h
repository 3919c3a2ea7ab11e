/*
 * The parts of driver vhdx, images of Hyper-V ([MS-VHDX] 7.0). Two headers, of which the newer one
 * counts; two equal tables of regions; the regions metadata (sizes) and BAT (where blocks are); a
 * log, by which BAT is changed.
 *
 * While an image is written its header names the log. Each change of BAT is one log entry, on the
 * disk before BAT is written, and BAT is on the disk before the next entry: the newest entry is all
 * that ever has to be replayed.
 */
#ifndef NANDU_BLOCK_VHDX_H
#define NANDU_BLOCK_VHDX_H

#include "block/sparse.h"

enum {
    VHDX_MIB = 1 << 20,
    VHDX_HEADER_BYTES = 4096,
    VHDX_HEADER_1 = 64 << 10,
    VHDX_HEADER_2 = 128 << 10,
    VHDX_REGIONS_BYTES = 64 << 10,
    VHDX_REGIONS_1 = 192 << 10,
    VHDX_REGIONS_2 = 256 << 10,
    VHDX_LOG_SECTOR = 4096,
    VHDX_MIN_BLOCK = 1 << 20,
    VHDX_MAX_BLOCK = 256 << 20,
    VHDX_GUID_BYTES = 16,
    VHDX_MAX_METADATA = 2048, /* entries of the metadata table */
    VHDX_MAX_REGIONS = 2047,
};
static const uint64_t vhdx_max_size = 64ull << 40;

enum vhdx_block_state {
    VHDX_NOT_PRESENT,
    VHDX_UNDEFINED,
    VHDX_ZERO,
    VHDX_UNMAPPED,
    VHDX_UNMAPPED_OLD = 5,
    VHDX_PRESENT,
    VHDX_PARTIAL,
};

/* All little-endian; of 4096 bytes. */
struct vhdx_header {
    char signature[4];
    uint32_t checksum;
    uint64_t sequence;
    uint8_t file_write_guid[16], data_write_guid[16], log_guid[16];
    uint16_t log_version, version;
    uint32_t log_length;
    uint64_t log_offset;
    uint8_t reserved[4016];
} __attribute__((packed));

struct vhdx_region_header {
    char signature[4];
    uint32_t checksum, n, reserved;
} __attribute__((packed));

struct vhdx_region {
    uint8_t guid[16];
    uint64_t offset;
    uint32_t length, required;
} __attribute__((packed));

struct vhdx_metadata_header {
    char signature[8];
    uint16_t reserved, n;
    uint8_t reserved2[20];
} __attribute__((packed));

struct vhdx_metadata {
    uint8_t guid[16];
    uint32_t offset, length, flags, reserved;
} __attribute__((packed));

/* Bits of vhdx_metadata.flags, and of the file parameters. */
enum {
    VHDX_META_USER = 1,
    VHDX_META_DISK = 2,
    VHDX_META_REQUIRED = 4,
    VHDX_FIXED = 1,
    VHDX_HAS_PARENT = 2
};

extern const uint8_t vhdx_guid_bat[16], vhdx_guid_metadata[16];
extern const uint8_t vhdx_guid_parameters[16], vhdx_guid_size[16], vhdx_guid_disk_id[16];
extern const uint8_t vhdx_guid_logical_sector[16], vhdx_guid_physical_sector[16],
    vhdx_guid_parent[16];

struct vhdx {
    struct sparse sparse;
    struct vhdx_header header; /* the newer one */
    unsigned current;          /* which: 0, 1 */
    uint64_t bat_offset;
    uint32_t bat_length;
    uint64_t block_size, chunk_ratio;
    uint64_t end; /* where the next block goes */
    bool write_begun, log_replayed;
    uint64_t log_at, log_sequence; /* where the next entry goes */
};

/* CRC-32C. */
uint32_t vhdx_checksum(const void *data, size_t size);
void vhdx_make_guid(uint8_t guid[16]);
bool vhdx_guid_is_null(const uint8_t *guid);
/* s->header, with a higher number, in place of the older one and then of the other one; and
 * flushes. */
int co_vhdx_write_header(struct block_node *node);

/* vhdx_log.c: what a log that the header names has is brought to its places, unless there is
 * nothing in it. */
bool co_vhdx_replay(struct block_node *node, GError **error);
/* bytes at offset, of one BAT sector, by way of the log. */
int co_vhdx_write_logged(struct block_node *node, uint64_t offset, const void *data, size_t bytes);

/* vhdx_create.c */
extern const struct block_create_option vhdx_create_options[];
bool co_vhdx_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                    GError **error);

#endif
