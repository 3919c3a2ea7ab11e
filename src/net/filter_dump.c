/* filter-dump: packets to a file in the form of libpcap, with times of the virtual clock. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "net/filter.h"
#include "net/netdev.h"
#include "util/clock.h"
#include "util/log.h"

enum { PCAP_MAGIC = 0xa1b2c3d4, PCAP_MAJOR = 2, PCAP_MINOR = 4, PCAP_ETHERNET = 1 };

struct filter_dump {
    struct net_filter filter;
    char *file;                 /* property */
    uint32_t max_size;          /* of a packet in the file; property */
    int fd;                     /* -1: not open, or writing failed */
    int64_t start;              /* the wall clock less the virtual one, ns */
};

struct pcap_file_header {
    uint32_t magic;
    uint16_t major, minor;
    int32_t zone;
    uint32_t accuracy, max_size, link;
};

struct pcap_record_header {
    uint32_t seconds, microseconds, size, full_size;
};

static struct clocks *clocks(const struct filter_dump *dump)
{
    return object_context((struct object *)&dump->filter.object)->clocks;
}

/* One packet is written by one call, so that the file never ends amid it for who reads it. */
static bool write_all(struct filter_dump *dump, const void *data, size_t size)
{
    ssize_t n;

    do {
        n = write(dump->fd, data, size);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)size) {
        return true;
    }
    log_warn(object_context(&dump->filter.object)->log,
             "filter-dump '%s': writing %s failed, it ends: %s", dump->filter.object.name,
             dump->file, n < 0 ? g_strerror(errno) : "the file can't grow");
    close(dump->fd);
    dump->fd = -1;
    return false;
}

static void dump_packet(struct net_filter *filter, const struct net_packet *packet)
{
    struct filter_dump *dump = (struct filter_dump *)filter;
    int64_t us = (dump->start + clocks_now(clocks(dump), CLOCK_VIRTUAL)) / 1000;
    size_t size = MIN(packet->size, dump->max_size);
    g_autofree uint8_t *record = g_malloc(sizeof(struct pcap_record_header) + size);
    struct pcap_record_header header = {
        .seconds = (uint32_t)(us / 1000000), .microseconds = (uint32_t)(us % 1000000),
        .size = (uint32_t)size, .full_size = (uint32_t)packet->size};

    if (dump->fd < 0) {
        return;
    }
    memcpy(record, &header, sizeof(header));
    net_packet_copy(packet, record + sizeof(header), size);
    write_all(dump, record, sizeof(header) + size);
}

static bool open_dump(struct net_filter *filter, GError **error)
{
    struct filter_dump *dump = (struct filter_dump *)filter;
    struct pcap_file_header header = {.magic = PCAP_MAGIC, .major = PCAP_MAJOR,
                                      .minor = PCAP_MINOR, .max_size = dump->max_size,
                                      .link = PCAP_ETHERNET};

    if (!dump->file) {
        return net_error(error, "dump filter needs 'file' property set!");
    }
    if (dump->max_size == 0) {
        return net_error(error, "Property 'filter-dump.maxlen' doesn't take value '0'");
    }
    dump->fd = open(dump->file, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    if (dump->fd < 0) {
        return net_error(error, "net dump: can't open %s: %s", dump->file, g_strerror(errno));
    }
    dump->start = clocks_now(clocks(dump), CLOCK_HOST) - clocks_now(clocks(dump), CLOCK_VIRTUAL);
    if (!write_all(dump, &header, sizeof(header))) {
        return net_error(error, "net dump: can't write %s", dump->file);
    }
    return true;
}

static void init(struct object *obj)
{
    ((struct filter_dump *)obj)->fd = -1;
}

static void finalize(struct object *obj)
{
    struct filter_dump *dump = (struct filter_dump *)obj;

    if (dump->fd >= 0) {
        close(dump->fd);
    }
}

static const struct net_filter_class dump_class = {.open = open_dump, .see = dump_packet};

static const struct property properties[] = {
    PROPERTY("file", filter_dump, file, qapi_type_str, NULL, "File that packets are written to",
             .flags = PROPERTY_REQUIRED),
    PROPERTY("maxlen", filter_dump, max_size, qapi_type_uint32, "65536",
             "Bytes of a packet that are written at most"),
};

static const struct object_type dump_type = {
    .name = "filter-dump",
    .parent = "netfilter",
    .description = "Writes a netdev's packets to a pcap file",
    .instance_size = sizeof(struct filter_dump),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &dump_class,
    .init = init,
    .finalize = finalize,
};
OBJECT_TYPE(dump_type);
