/* The Internet checksum (RFC 1071), for packets that were sent without. */
#include <string.h>

#include "net/netdev.h"

/* Sum of 16-bit words in the host's byte order: the result only has to be stored so, too. */
static uint64_t add_words(const uint8_t *data, size_t size)
{
    uint64_t sum = 0;
    size_t i = 0;

    for (; i + 4 <= size; i += 4) {
        uint32_t word;

        memcpy(&word, data + i, 4);
        sum += word;
    }
    if (i < size) {
        uint32_t word = 0;

        memcpy(&word, data + i, size - i);
        sum += word;
    }
    return sum;
}

bool net_complete_checksum(uint8_t *data, size_t size, const struct net_offload *offload)
{
    size_t start = offload->csum_start, at = start + offload->csum_offset;
    uint64_t sum;
    uint16_t word;

    if (start >= size || at + 2 > size) {
        return false;
    }
    /* The field holds the sum of the pseudo header already (virtio 1.2, 5.1.6.2). */
    sum = add_words(data + start, size - start);
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    word = (uint16_t)~sum;
    if (word == 0) {
        word = 0xffff;      /* for UDP 0 says that there is none; for TCP it is the same */
    }
    memcpy(data + at, &word, 2);
    return true;
}
