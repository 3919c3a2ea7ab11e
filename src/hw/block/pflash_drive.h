/*
 * Where a flash device keeps what is in it: a node of the block graph, read once when the device is
 * made. What is programmed and erased is written to it afterwards, in order, by a thread of its
 * own, so that whoever stops the machine can wait for that.
 */
#ifndef NANDU_HW_BLOCK_PFLASH_DRIVE_H
#define NANDU_HW_BLOCK_PFLASH_DRIVE_H

#include "hw/mmio_device.h"
#include "util/auto.h"

struct pflash_drive;

/*
 * Attaches dev, which is in the object tree, to the node (or drive) of this name, and reads size
 * bytes, which must be all that it has, into contents. NULL and *error: there is none, it is in
 * use, has another size or can't be read. Main thread.
 */
struct pflash_drive *pflash_drive_new(struct mmio_device *dev, const char *name, void *contents,
                                      size_t size, GError **error);
/* Waits as pflash_drive_settle does, and leaves the node. NULL: nothing. Main thread. */
void pflash_drive_free(struct pflash_drive *drive);
DEFINE_AUTO_PTR(pflash_drive, pflash_drive_free)

/* The node can't be written. */
bool pflash_drive_read_only(const struct pflash_drive *drive);
/* So much waits to be written that the device had better not take more. Any thread. */
bool pflash_drive_busy(struct pflash_drive *drive);
/* Copies data, to be written at offset later. A failure is told the user once. Any thread. */
void pflash_drive_write(struct pflash_drive *drive, uint64_t offset, const void *data, size_t size);
/* Waits until everything is written that can be: in a drained section the rest comes after it. Main
 * thread. */
void pflash_drive_settle(struct pflash_drive *drive);

#endif
