/*
 * ioctl. A request is looked up in three places: the calls that need code here, the table
 * ioctls.def, and else its number, which by Linux's convention has the direction and size of the
 * argument (asm-generic/ioctl.h). What then is a structure is checked to be the guest's memory.
 * Numbers without a size, and families of requests whose structures contain pointers, are ENOTTY.
 */
#include "linux_user/syscall_table.h"

#include <linux/ethtool.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/if.h>
#include <linux/random.h>
#include <linux/sockios.h>
#include <string.h>

enum ioctl_kind { IOCTL_NONE, IOCTL_INT, IOCTL_IN, IOCTL_OUT, IOCTL_INOUT, IOCTL_REFUSE };

struct ioctl_row {
    const char *name;
    uint32_t request;
    uint8_t kind;
    uint16_t size;
};

#define IOC(name, request, kind, size) {#name, request, IOCTL_##kind, size},
static const struct ioctl_row rows[] = {
#include "linux_user/ioctls.def"
};
#undef IOC

/* Types (the number's second byte) whose requests have pointers in their structures, or hand memory
 * and threads of the caller to the kernel: USB, video, media, DRM, I2C, SPI, device mapper, KVM,
 * vhost, VFIO, userfaultfd, PCM, RDMA. */
static const uint8_t refused_types[] = {'U',  'V',  '|', 'd',  0x07, 'k', 0xfd,
                                        0xae, 0xaf, ';', 0xaa, 'A',  0x1b};

static const struct ioctl_row *find_row(uint32_t request)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].request == request) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Requests with code of their own. */
typedef int64_t ioctl_fn(struct lu_thread *t, const uint64_t a[6]);

/* A structure of [head] bytes with a count (at [count_offset]) of entries of [entry] bytes behind
 * it, read and written. */
static int64_t flexible(struct lu_thread *t, const uint64_t a[6], size_t head, size_t count_offset,
                        size_t count_size, size_t entry)
{
    const struct lu_process *p = t->process;
    uint32_t count = 0;

    if (lu_copy_from_guest(p, &count, a[2] + count_offset, count_size) != 0) {
        return -EFAULT;
    }
    return LU_BLOCK(t, SYS_ioctl, a[0], a[1],
                    lu_ptr(p, a[2], head + (uint64_t)count * entry, LU_READ | LU_WRITE));
}

static int64_t ioctl_fiemap(struct lu_thread *t, const uint64_t a[6])
{
    return flexible(t, a, sizeof(struct fiemap), offsetof(struct fiemap, fm_extent_count), 4,
                    sizeof(struct fiemap_extent));
}

static int64_t ioctl_dedupe(struct lu_thread *t, const uint64_t a[6])
{
    return flexible(t, a, sizeof(struct file_dedupe_range),
                    offsetof(struct file_dedupe_range, dest_count), 2,
                    sizeof(struct file_dedupe_range_info));
}

static int64_t ioctl_add_entropy(struct lu_thread *t, const uint64_t a[6])
{
    const struct lu_process *p = t->process;
    int32_t head[2]; /* bits, bytes */

    if (lu_copy_from_guest(p, head, a[2], sizeof(head)) != 0) {
        return -EFAULT;
    }
    return LU_HOST(SYS_ioctl, a[0], a[1],
                   head[1] < 0 ? LU_BAD_POINTER
                               : lu_ptr(p, a[2], sizeof(head) + (uint32_t)head[1], LU_READ));
}

/* struct ifconf: a size and the address of a buffer, or NULL to ask for the size. */
static int64_t ioctl_ifconf(struct lu_thread *t, const uint64_t a[6])
{
    const struct lu_process *p = t->process;
    struct {
        int32_t size;
        uint32_t pad;
        uint64_t buffer;
    } guest, host;
    int64_t result;

    if (lu_copy_from_guest(p, &guest, a[2], sizeof(guest)) != 0) {
        return -EFAULT;
    }
    host = guest;
    host.buffer = guest.size < 0
                      ? (uintptr_t)LU_BAD_POINTER
                      : (uintptr_t)lu_ptr(p, guest.buffer, (uint32_t)guest.size, LU_WRITE);
    result = LU_HOST(SYS_ioctl, a[0], a[1], &host);
    guest.size = host.size;
    return result < 0 ? result : (lu_copy_to_guest(p, a[2], &guest, sizeof(guest)) ?: result);
}

/* struct rtentry: one member is the address of a device's name. */
static int64_t ioctl_route(struct lu_thread *t, const uint64_t a[6])
{
    enum { RTENTRY_SIZE = 120, RTENTRY_DEVICE = 88 };
    const struct lu_process *p = t->process;
    g_autofree char *device = NULL;
    char entry[RTENTRY_SIZE];
    uint64_t addr;
    int error = 0;

    if (lu_copy_from_guest(p, entry, a[2], sizeof(entry)) != 0) {
        return -EFAULT;
    }
    memcpy(&addr, entry + RTENTRY_DEVICE, sizeof(addr));
    if (addr) {
        error = lu_string_from_guest(p, &device, addr, 4096);
        memcpy(entry + RTENTRY_DEVICE, &device, sizeof(device));
    }
    return error ? error : LU_HOST(SYS_ioctl, a[0], a[1], entry);
}

/* SIOCETHTOOL: struct ifreq with the address of a structure that starts with a command. Those with
 * a fixed size are known here. */
static int64_t ioctl_ethtool(struct lu_thread *t, const uint64_t a[6])
{
    static const struct {
        uint16_t command, size;
    } commands[] = {
        {ETHTOOL_GSET, sizeof(struct ethtool_cmd)},
        {ETHTOOL_SSET, sizeof(struct ethtool_cmd)},
        {ETHTOOL_GDRVINFO, sizeof(struct ethtool_drvinfo)},
        {ETHTOOL_GWOL, sizeof(struct ethtool_wolinfo)},
        {ETHTOOL_GMSGLVL, sizeof(struct ethtool_value)},
        {ETHTOOL_GLINK, sizeof(struct ethtool_value)},
        {ETHTOOL_GCOALESCE, sizeof(struct ethtool_coalesce)},
        {ETHTOOL_GRINGPARAM, sizeof(struct ethtool_ringparam)},
        {ETHTOOL_GPAUSEPARAM, sizeof(struct ethtool_pauseparam)},
        {ETHTOOL_GRXCSUM, sizeof(struct ethtool_value)},
        {ETHTOOL_GTXCSUM, sizeof(struct ethtool_value)},
        {ETHTOOL_GSG, sizeof(struct ethtool_value)},
        {ETHTOOL_GTSO, sizeof(struct ethtool_value)},
        {ETHTOOL_GGSO, sizeof(struct ethtool_value)},
        {ETHTOOL_GGRO, sizeof(struct ethtool_value)},
        {ETHTOOL_GFLAGS, sizeof(struct ethtool_value)},
        {ETHTOOL_GPFLAGS, sizeof(struct ethtool_value)},
        {ETHTOOL_GCHANNELS, sizeof(struct ethtool_channels)},
        {ETHTOOL_GET_TS_INFO, sizeof(struct ethtool_ts_info)},
    };
    const struct lu_process *p = t->process;
    struct ifreq ifr;
    uint32_t command;

    if (lu_copy_from_guest(p, &ifr, a[2], sizeof(ifr)) != 0 ||
        lu_copy_from_guest(p, &command, (uintptr_t)ifr.ifr_data, sizeof(command)) != 0) {
        return -EFAULT;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (commands[i].command == command) {
            ifr.ifr_data = lu_ptr(p, (uintptr_t)ifr.ifr_data, commands[i].size, LU_READ | LU_WRITE);
            return LU_HOST(SYS_ioctl, a[0], a[1], &ifr);
        }
    }
    lu_log_unimp(p, "ioctl SIOCETHTOOL command 0x%x", command);
    return -EOPNOTSUPP;
}

static const struct {
    const char *name;
    uint32_t request;
    ioctl_fn *fn;
} special[] = {
    {"FS_IOC_FIEMAP", FS_IOC_FIEMAP, ioctl_fiemap},
    {"FIDEDUPERANGE", FIDEDUPERANGE, ioctl_dedupe},
    {"RNDADDENTROPY", RNDADDENTROPY, ioctl_add_entropy},
    {"SIOCGIFCONF", SIOCGIFCONF, ioctl_ifconf},
    {"SIOCETHTOOL", SIOCETHTOOL, ioctl_ethtool},
    {"SIOCADDRT", SIOCADDRT, ioctl_route},
    {"SIOCDELRT", SIOCDELRT, ioctl_route},
};

const char *lu_ioctl_name(uint32_t request)
{
    const struct ioctl_row *row = find_row(request);

    for (size_t i = 0; !row && i < G_N_ELEMENTS(special); i++) {
        if (special[i].request == request) {
            return special[i].name;
        }
    }
    return row ? row->name : NULL;
}

/* What the number itself says. */
static struct ioctl_row decode(uint32_t request)
{
    struct ioctl_row row = {"", request, IOCTL_REFUSE, (uint16_t)_IOC_SIZE(request)};

    if (memchr(refused_types, (int)_IOC_TYPE(request), sizeof(refused_types)) || row.size == 0) {
        return row;
    }
    switch (_IOC_DIR(request)) {
    case _IOC_READ: row.kind = IOCTL_OUT; break;
    case _IOC_WRITE: row.kind = IOCTL_IN; break;
    case _IOC_READ | _IOC_WRITE: row.kind = IOCTL_INOUT; break;
    default: break;
    }
    return row;
}

int64_t sys_ioctl(struct lu_thread *t, const uint64_t a[6])
{
    const struct lu_process *p = t->process;
    uint32_t request = (uint32_t)a[1];
    const struct ioctl_row *found = find_row(request);
    struct ioctl_row row;
    unsigned access = LU_READ | LU_WRITE;

    for (size_t i = 0; i < G_N_ELEMENTS(special); i++) {
        if (special[i].request == request) {
            return special[i].fn(t, a);
        }
    }
    row = found ? *found : decode(request);
    switch (row.kind) {
    case IOCTL_NONE: return LU_BLOCK(t, SYS_ioctl, a[0], request, 0);
    case IOCTL_INT: return LU_BLOCK(t, SYS_ioctl, a[0], request, a[2]);
    case IOCTL_IN: access = LU_READ; break;
    case IOCTL_OUT: access = LU_WRITE; break;
    case IOCTL_INOUT: break;
    default:
        if (LU_HOST(SYS_fcntl, a[0], 1 /* F_GETFD */) < 0) {
            return -EBADF;
        }
        lu_log_unimp(p, "ioctl 0x%08x%s%s", request, found ? " " : "", found ? found->name : "");
        return -ENOTTY;
    }
    return LU_BLOCK(t, SYS_ioctl, a[0], request, lu_ptr(p, a[2], row.size, access));
}
