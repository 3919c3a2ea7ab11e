/* What virtio.c needs of virtio_ring.c. The device's lock is held. */
#ifndef NANDU_HW_VIRTIO_VIRTIO_PRIV_H
#define NANDU_HW_VIRTIO_VIRTIO_PRIV_H

#include "hw/virtio/virtio.h"

/*
 * Guest memory. False: some of it isn't memory. Registers of devices don't count as such, since
 * their handlers would take locks below this device's.
 */
static inline bool virtio_dma_read(struct virtio_device *vdev, uint64_t address, void *data,
                                   uint64_t size)
{
    return address_space_read(vdev->hw->memory, address, data, size, vdev->attrs) == MEMORY_OK;
}

static inline bool virtio_dma_write(struct virtio_device *vdev, uint64_t address, const void *data,
                                    uint64_t size)
{
    return address_space_write(vdev->hw->memory, address, data, size, vdev->attrs) == MEMORY_OK;
}

/* Whether the driver wants an interrupt for what came into the used ring since the last one (2.7.7,
 * 2.8.10). */
bool virtqueue_wants_interrupt(struct virtqueue *vq);
/* Alignment and range of what the driver set up (2.7, 2.8); else the device is broken. */
bool virtqueue_check_addresses(struct virtqueue *vq);
/* Of a queue that was restored: whether its indices can be. */
bool virtqueue_is_sane(const struct virtqueue *vq);

#endif
