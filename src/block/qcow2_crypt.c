#include "block/qcow2.h"

/* Encrypted images are refused when they are opened: q->crypto is always NULL until LUKS is built. */

int co_qcow2_encrypt(struct qcow2 *q, uint64_t guest, uint64_t host, void *data, size_t bytes)
{
    (void)q, (void)guest, (void)host, (void)data, (void)bytes;
    return -ENOTSUP;
}

int co_qcow2_decrypt(struct qcow2 *q, uint64_t guest, uint64_t host, void *data, size_t bytes)
{
    (void)q, (void)guest, (void)host, (void)data, (void)bytes;
    return -ENOTSUP;
}
