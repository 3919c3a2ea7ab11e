/* -drive: a node, its name, and what device it is for. */
#ifndef NANDU_BLOCK_DRIVE_H
#define NANDU_BLOCK_DRIVE_H

#include "block/block.h"

enum block_interface {
    BLOCK_IF_NONE,
    BLOCK_IF_IDE,
    BLOCK_IF_SCSI,
    BLOCK_IF_FLOPPY,
    BLOCK_IF_PFLASH,
    BLOCK_IF_MTD,
    BLOCK_IF_SD,
    BLOCK_IF_VIRTIO,
    BLOCK_IF_XEN,
    BLOCK_N_IFS
};

/* "virtio"; -1 and *error with the nearest name. */
int block_interface_parse(const char *name, GError **error);
const char *block_interface_name(enum block_interface interface);

/*
 * options: what -drive has, key=value in the flat form (qapi/keyval.h); not changed. usual: the
 * interface without if=. Makes the drive; NULL and *error: nothing is made. Borrowed result.
 */
const struct block_drive *co_block_drive_add(struct block_graph *graph, json_object *options,
                                             enum block_interface usual, GError **error);
/* Drops a drive that no device uses. */
bool co_block_drive_delete(struct block_graph *graph, const char *id, GError **error);
/* In the order of making. */
typedef void block_visit_drive(const struct block_drive *drive, void *opaque);
void block_drives_foreach(struct block_graph *graph, block_visit_drive *fn, void *opaque);

#endif
