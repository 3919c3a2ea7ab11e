/*
 * TCP segments that wait behind each other become one large one for a NIC that takes such: what a
 * guest pays for a packet it pays once. Only what came with a good checksum, over IPv4, plain data
 * with the same acknowledgement; its driver could split it again into what was sent.
 */
#include <netinet/in.h>
#include <string.h>

#include "net/netdev.h"

enum {
    IP_AT = 14,                 /* behind the Ethernet header */
    IP_SIZE = 20,               /* without options */
    TCP_AT = IP_AT + IP_SIZE,
    TCP_MIN = 20,
    TCP_CHECKSUM = 16,
    MAX_TOTAL = 65535,          /* of an IP packet */

    IP_TOTAL = IP_AT + 2,       /* places in the packet */
    IP_FRAGMENT = IP_AT + 6,
    IP_PROTOCOL = IP_AT + 9,
    IP_SUM = IP_AT + 10,
    IP_ADDRESSES = IP_AT + 12,
    TCP_SEQUENCE = TCP_AT + 4,
    TCP_ACK = TCP_AT + 8,
    TCP_OFFSET = TCP_AT + 12,
    TCP_FLAGS = TCP_AT + 13,
    TCP_WINDOW = TCP_AT + 14,

    FLAG_PSH = 8,
    FLAG_ACK = 16,
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

/* Bytes of all headers of a segment of plain data; 0: it is something else. */
static size_t header_size(const uint8_t *p, size_t size)
{
    size_t n;

    if (size < TCP_AT + TCP_MIN || get16(p + 12) != 0x0800 || p[IP_AT] != 0x45 ||
        (get16(p + IP_FRAGMENT) & 0x3fff) || p[IP_PROTOCOL] != IPPROTO_TCP ||
        (p[TCP_FLAGS] & ~FLAG_PSH) != FLAG_ACK) {
        return 0;
    }
    n = TCP_AT + (size_t)(p[TCP_OFFSET] >> 4) * 4;
    /* An Ethernet packet may be longer than what is in it. */
    return n >= TCP_AT + TCP_MIN && n < size && get16(p + IP_TOTAL) + (size_t)IP_AT == size ? n : 0;
}

/* Whether b goes on where a ends. */
static bool follows(const uint8_t *a, size_t a_size, const uint8_t *b, size_t headers)
{
    return memcmp(a, b, IP_AT) == 0 && memcmp(a + IP_ADDRESSES, b + IP_ADDRESSES, 8) == 0 &&
           memcmp(a + TCP_AT, b + TCP_AT, 4) == 0 &&
           get32(a + TCP_SEQUENCE) + (uint32_t)(a_size - headers) == get32(b + TCP_SEQUENCE) &&
           memcmp(a + TCP_ACK, b + TCP_ACK, 5) == 0 &&
           memcmp(a + TCP_AT + TCP_MIN, b + TCP_AT + TCP_MIN, headers - TCP_AT - TCP_MIN) == 0;
}

static uint32_t sum_words(const uint8_t *p, size_t size)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i += 2) {
        sum += get16(p + i);
    }
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* Lengths and checksums: that of TCP is left to who takes the packet, as with any large segment. */
static void finish(struct net_buffer *buffer, size_t headers)
{
    uint8_t *p = buffer->data;
    uint16_t tcp_size = (uint16_t)(buffer->size - TCP_AT);

    put16(p + IP_TOTAL, (uint16_t)(buffer->size - IP_AT));
    put16(p + IP_SUM, 0);
    put16(p + IP_SUM, (uint16_t)~fold(sum_words(p + IP_AT, IP_SIZE)));
    put16(p + TCP_AT + TCP_CHECKSUM,
          fold(sum_words(p + IP_ADDRESSES, 8) + IPPROTO_TCP + tcp_size));
    buffer->offload.flags = NET_NEEDS_CSUM;
    buffer->offload.gso_type = NET_GSO_TCPV4;
    buffer->offload.header_size = (uint16_t)headers;
    buffer->offload.csum_start = TCP_AT;
    buffer->offload.csum_offset = TCP_CHECKSUM;
}

bool net_coalesce(struct net_buffer **at, const struct net_packet *packet)
{
    struct net_buffer *buffer = *at;
    const uint8_t *data = packet->iov[0].iov_base;
    size_t headers, payload, segment;

    if (packet->n_iov != 1 || packet->offload.flags != NET_CSUM_VALID ||
        packet->offload.gso_type || buffer->size - IP_AT + packet->size > MAX_TOTAL) {
        return false;
    }
    headers = header_size(data, packet->size);
    if (!headers || header_size(buffer->data, buffer->size) != headers ||
        !follows(buffer->data, buffer->size, data, headers)) {
        return false;
    }
    payload = packet->size - headers;
    segment = buffer->offload.gso_type ? buffer->offload.gso_size : buffer->size - headers;
    /* All but the last are of one size; what was pushed to the receiver is an end. */
    if ((buffer->size - headers) % segment || payload > segment ||
        buffer->data[TCP_FLAGS] & FLAG_PSH) {
        return false;
    }
    if (buffer->size + payload > buffer->room) {
        buffer->room = MIN(2 * (buffer->size + payload), (size_t)MAX_TOTAL + IP_AT);
        buffer = *at = g_realloc(buffer, sizeof(*buffer) + buffer->room);
    }
    buffer->offload.gso_size = (uint16_t)segment;
    memcpy(buffer->data + buffer->size, data + headers, payload);
    buffer->size += payload;
    buffer->data[TCP_FLAGS] |= data[TCP_FLAGS] & FLAG_PSH;
    memcpy(buffer->data + TCP_WINDOW, data + TCP_WINDOW, 2);
    finish(buffer, headers);
    return true;
}
