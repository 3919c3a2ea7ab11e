/* Parts of scatter-gather lists. */
#include <assert.h>
#include <string.h>

#include "block/block.h"

struct block_buffer block_buffer_skip(struct block_buffer buffer, size_t bytes)
{
    buffer.skip += bytes;
    while (buffer.n_iov && buffer.skip >= buffer.iov->iov_len) {
        buffer.skip -= buffer.iov->iov_len;
        buffer.iov++;
        buffer.n_iov--;
    }
    assert(buffer.n_iov || !buffer.skip);
    return buffer;
}

unsigned block_buffer_slice(struct block_buffer buffer, size_t bytes, struct iovec *iov)
{
    unsigned n = 0;

    for (size_t skip = buffer.skip, i = 0; bytes; i++, skip = 0) {
        size_t size = MIN(buffer.iov[i].iov_len - skip, bytes);

        assert(i < buffer.n_iov);
        if (size) {
            iov[n++] = (struct iovec){(char *)buffer.iov[i].iov_base + skip, size};
        }
        bytes -= size;
    }
    return n;
}

void block_buffer_from(struct block_buffer buffer, const void *data, size_t bytes)
{
    for (const char *from = data; bytes;) {
        size_t size = MIN(buffer.iov->iov_len - buffer.skip, bytes);

        assert(buffer.n_iov);
        memcpy((char *)buffer.iov->iov_base + buffer.skip, from, size);
        from += size;
        bytes -= size;
        buffer = block_buffer_skip(buffer, size);
    }
}

void block_buffer_to(struct block_buffer buffer, void *data, size_t bytes)
{
    for (char *to = data; bytes;) {
        size_t size = MIN(buffer.iov->iov_len - buffer.skip, bytes);

        assert(buffer.n_iov);
        memcpy(to, (const char *)buffer.iov->iov_base + buffer.skip, size);
        to += size;
        bytes -= size;
        buffer = block_buffer_skip(buffer, size);
    }
}

void block_buffer_zero(struct block_buffer buffer, size_t bytes)
{
    while (bytes) {
        size_t size = MIN(buffer.iov->iov_len - buffer.skip, bytes);

        assert(buffer.n_iov);
        memset((char *)buffer.iov->iov_base + buffer.skip, 0, size);
        bytes -= size;
        buffer = block_buffer_skip(buffer, size);
    }
}

/* The first bytes by themselves, then all against what is 16 bytes before: memcmp is the fastest
 * there is. */
static bool is_zero(const char *data, size_t size)
{
    size_t head = MIN(size, 16);

    for (size_t i = 0; i < head; i++) {
        if (data[i]) {
            return false;
        }
    }
    return size <= 16 || memcmp(data, data + 16, size - 16) == 0;
}

bool block_buffer_is_zero(struct block_buffer buffer, size_t bytes)
{
    while (bytes) {
        size_t size = MIN(buffer.iov->iov_len - buffer.skip, bytes);

        assert(buffer.n_iov);
        if (!is_zero((const char *)buffer.iov->iov_base + buffer.skip, size)) {
            return false;
        }
        bytes -= size;
        buffer = block_buffer_skip(buffer, size);
    }
    return true;
}

bool block_buffer_is_aligned(struct block_buffer buffer, size_t bytes, size_t align)
{
    size_t skip = buffer.skip;

    for (const struct iovec *iov = buffer.iov; bytes; iov++, skip = 0) {
        size_t size = MIN(iov->iov_len - skip, bytes);

        if ((((uintptr_t)iov->iov_base + skip) | size) & (align - 1)) {
            return false;
        }
        bytes -= size;
    }
    return true;
}
