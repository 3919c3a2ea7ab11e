/*
 * Sockets. Lengths that the kernel reads and writes back are kept in Nandu's own memory meanwhile,
 * so that no thread of the guest can change them between the check and the use.
 */
#include "linux_user/sys.h"

#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/* ---- Addresses that come back ---- */

enum { ADDRESS_MAX = 256 }; /* bytes; more than the kernel's largest, 128 */

struct address {
    char bytes[ADDRESS_MAX];
    uint32_t size; /* of the guest's buffer, then of the address */
    uint32_t room;
    void *size_ptr; /* to give to the kernel */
};

/* Before the call: reads the length at [size_addr]. When it can't be read or is negative, the
 * kernel finds the same, in its own order of checks. */
static void address_begin(const struct lu_process *p, struct address *address, uint64_t size_addr)
{
    address->size_ptr = &address->size;
    if (lu_copy_from_guest(p, &address->room, size_addr, sizeof(address->room)) != 0) {
        address->room = 0;
        address->size_ptr = LU_BAD_POINTER;
    }
    address->size = (int32_t)address->room < 0 ? address->room : MIN(address->room, ADDRESS_MAX);
}

/* After it: writes the address, cut to the room that there is, and its whole length. */
static int address_end(const struct lu_process *p, const struct address *address, uint64_t addr,
                       uint64_t size_addr)
{
    uint32_t size = MIN(MIN(address->size, address->room), ADDRESS_MAX);
    int error = lu_copy_to_guest(p, addr, address->bytes, size);

    return error ? error : lu_copy_to_guest(p, size_addr, &address->size, sizeof(address->size));
}

int64_t sys_accept4(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    struct address address;
    int64_t fd;
    int error;

    if (a[1] == 0) {
        return LU_BLOCK(t, SYS_accept4, a[0], NULL, NULL, a[3]);
    }
    address_begin(p, &address, a[2]);
    fd = LU_BLOCK(t, SYS_accept4, a[0], address.bytes, address.size_ptr, a[3]);
    if (fd >= 0) {
        error = address_end(p, &address, a[1], a[2]);
        if (error) {
            close((int)fd);
            return error;
        }
    }
    return fd;
}

int64_t sys_accept(struct lu_thread *t, const uint64_t a[6])
{
    const uint64_t args[6] = {a[0], a[1], a[2], 0};

    return sys_accept4(t, args);
}

static int64_t get_name(struct lu_thread *t, long nr, const uint64_t a[6])
{
    struct address address;
    int64_t result;

    address_begin(t->process, &address, a[2]);
    result = LU_HOST(nr, a[0], address.bytes, address.size_ptr);
    return result ? result : address_end(t->process, &address, a[1], a[2]);
}

int64_t sys_getsockname(struct lu_thread *t, const uint64_t a[6])
{
    return get_name(t, SYS_getsockname, a);
}

int64_t sys_getpeername(struct lu_thread *t, const uint64_t a[6])
{
    return get_name(t, SYS_getpeername, a);
}

/* recv with a size that is more than the guest has there: what comes is most often less. */
static int64_t receive_partly(struct lu_thread *t, const uint64_t a[6], uint64_t accessible)
{
    struct lu_process *p = t->process;
    struct iovec v[2] = {{lu_g2h(p, a[1]), accessible}, {LU_FAULT_POINTER, a[2] - accessible}};
    struct address address = {.size = 0};
    struct msghdr msg = {.msg_iov = v, .msg_iovlen = 2};
    int64_t result;

    if (a[4]) {
        address_begin(p, &address, a[5]);
        if (address.size_ptr != &address.size || (int32_t)address.size < 0) {
            return address.size_ptr == &address.size ? -EINVAL : -EFAULT;
        }
        msg.msg_name = address.bytes;
        msg.msg_namelen = address.size;
    }
    result = LU_BLOCK(t, SYS_recvmsg, a[0], &msg, a[3]);
    if (result < 0 || a[4] == 0) {
        return result;
    }
    address.size = msg.msg_namelen;
    return address_end(p, &address, a[4], a[5]) ?: result;
}

int64_t sys_recvfrom(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    void *buffer = lu_ptr(p, a[1], a[2], LU_WRITE);
    struct address address;
    int64_t result;

    if (G_UNLIKELY(buffer == LU_FAULT_POINTER) && (int64_t)a[2] > 0) {
        uint64_t accessible = lu_access_prefix(p, a[1], a[2], LU_WRITE);

        if (accessible) {
            return receive_partly(t, a, accessible);
        }
    }
    if (a[4] == 0) {
        return LU_BLOCK(t, SYS_recvfrom, a[0], buffer, a[2], a[3], NULL, NULL);
    }
    address_begin(p, &address, a[5]);
    result = LU_BLOCK(t, SYS_recvfrom, a[0], buffer, a[2], a[3], address.bytes, address.size_ptr);
    return result < 0 ? result : (address_end(p, &address, a[4], a[5]) ?: result);
}

/* ---- Options ---- */

/* struct sock_fprog of a guest: a filter program by reference. */
struct guest_fprog {
    uint16_t len;
    uint16_t pad[3];
    uint64_t filter;
};

static int64_t set_filter(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    struct guest_fprog guest;
    struct sock_fprog host;

    if ((uint32_t)a[4] != sizeof(guest)) {
        return -EINVAL;
    }
    if (lu_copy_from_guest(p, &guest, a[3], sizeof(guest)) != 0) {
        return -EFAULT;
    }
    host.len = guest.len;
    host.filter =
        lu_ptr(p, guest.filter, (uint64_t)guest.len * sizeof(struct sock_filter), LU_READ);
    return LU_HOST(SYS_setsockopt, a[0], a[1], a[2], &host, sizeof(host));
}

/* XDP_UMEM_REG: an area of the guest's memory is given to the kernel. */
static int64_t set_umem(struct lu_thread *t, const uint64_t a[6])
{
    uint64_t umem[4] = {0}; /* addr, len, chunk_size and headroom, flags */
    uint32_t size = MIN((uint32_t)a[4], sizeof(umem));

    if (lu_copy_from_guest(t->process, umem, a[3], size) != 0) {
        return -EFAULT;
    }
    umem[0] = (uintptr_t)lu_ptr(t->process, umem[0], umem[1], LU_READ | LU_WRITE);
    return LU_HOST(SYS_setsockopt, a[0], a[1], a[2], umem, size);
}

enum {
    IPT_SO_SET_REPLACE_OPT = 64, /* IP6T's has the same number */
    IPT_COUNTERS_COUNT = 80,     /* offsets in struct ipt_replace and ip6t_replace */
    IPT_COUNTERS = 88,
    IPT_REPLACE_SIZE = 96,
    EBT_SO_FIRST = 128, /* ebtables' structures are full of pointers */
    EBT_SO_LAST = 131,
};

/* IPT_SO_SET_REPLACE: the kernel writes the old counters to an address in the structure. */
static int64_t set_ip_tables(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    uint32_t size = (uint32_t)a[4], count;
    uint64_t counters;

    if (size < IPT_REPLACE_SIZE || size > 64 * 1024 * 1024) {
        return -EINVAL;
    }
    g_autofree char *replace = g_try_malloc(size);
    if (!replace) {
        return -ENOMEM;
    }
    if (lu_copy_from_guest(p, replace, a[3], size) != 0) {
        return -EFAULT;
    }
    memcpy(&count, replace + IPT_COUNTERS_COUNT, sizeof(count));
    memcpy(&counters, replace + IPT_COUNTERS, sizeof(counters));
    counters = (uintptr_t)lu_ptr(p, counters, (uint64_t)count * 16, LU_WRITE);
    memcpy(replace + IPT_COUNTERS, &counters, sizeof(counters));
    return LU_HOST(SYS_setsockopt, a[0], a[1], a[2], replace, size);
}

int64_t sys_setsockopt(struct lu_thread *t, const uint64_t a[6])
{
    int level = (int)a[1], option = (int)a[2];
    int32_t size = (int32_t)a[4];

    if (level == SOL_SOCKET && (option == SO_ATTACH_FILTER || option == SO_ATTACH_REUSEPORT_CBPF)) {
        return set_filter(t, a);
    }
    if (level == SOL_PACKET && option == PACKET_FANOUT_DATA && size == sizeof(struct guest_fprog)) {
        return set_filter(t, a);
    }
    if (level == SOL_XDP && option == XDP_UMEM_REG) {
        return set_umem(t, a);
    }
    if ((level == SOL_IP || level == SOL_IPV6) && option == IPT_SO_SET_REPLACE_OPT) {
        return set_ip_tables(t, a);
    }
    if (level == SOL_IP && option >= EBT_SO_FIRST && option <= EBT_SO_LAST) {
        lu_log_unimp(t->process, "setsockopt level %d option %d", level, option);
        return -ENOPROTOOPT;
    }
    return LU_HOST(SYS_setsockopt, a[0], a[1], a[2],
                   size < 0 ? LU_BAD_POINTER : lu_ptr(t->process, a[3], (uint32_t)size, LU_READ),
                   a[4]);
}

int64_t sys_getsockopt(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    int level = (int)a[1], option = (int)a[2];
    uint32_t size = 0;
    uint64_t bytes;
    int64_t result;

    if ((level == IPPROTO_TCP && option == TCP_ZEROCOPY_RECEIVE) ||
        (level == SOL_IP && option >= EBT_SO_FIRST && option <= EBT_SO_LAST) ||
        (level == IPPROTO_SCTP && option == 111 /* SCTP_SOCKOPT_CONNECTX3 */)) {
        lu_log_unimp(p, "getsockopt level %d option %d", level, option);
        return -ENOPROTOOPT;
    }
    if (lu_copy_from_guest(p, &size, a[4], sizeof(size)) != 0) {
        return LU_HOST(SYS_getsockopt, a[0], a[1], a[2], lu_bad_ptr(p, a[3]), lu_bad_ptr(p, a[4]));
    }
    /* SO_GET_FILTER counts instructions; the buffers of the other options are bytes. */
    bytes = size;
    if (level == SOL_SOCKET && option == SO_GET_FILTER) {
        bytes *= sizeof(struct sock_filter);
    }
    result = LU_HOST(SYS_getsockopt, a[0], a[1], a[2],
                     (int32_t)size < 0 ? LU_BAD_POINTER : lu_ptr(p, a[3], bytes, LU_WRITE), &size);
    return result < 0 ? result : (lu_copy_to_guest(p, a[4], &size, sizeof(size)) ?: result);
}

/* ---- Messages ---- */

struct guest_msghdr {
    uint64_t name;
    uint32_t name_size;
    uint32_t pad0;
    uint64_t iov;
    uint64_t iov_count;
    uint64_t control;
    uint64_t control_size;
    int32_t flags;
    uint32_t pad1;
};
G_STATIC_ASSERT(sizeof(struct guest_msghdr) == sizeof(struct msghdr));

struct message {
    struct guest_msghdr guest;
    struct msghdr host;
    void *ptr; /* what to pass to the kernel: &host, or an address that it refuses */
    struct lu_iov iov;
    char *control; /* copy for sending */
};

static void message_clear(struct message *m)
{
    lu_iov_clear(&m->iov);
    g_free(m->control);
    m->control = NULL;
}

/* None of Nandu's own descriptors may be sent. */
static int check_sent_fds(const struct lu_process *p, struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t header = CMSG_LEN(0);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < header) {
            continue;
        }
        size_t room = (char *)msg->msg_control + msg->msg_controllen - (char *)CMSG_DATA(c);
        size_t count = MIN(c->cmsg_len - header, room) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
            if (lu_fd_is_protected(p, fd)) {
                return -EBADF;
            }
        }
    }
    return 0;
}

enum { CONTROL_MAX = 1 << 20 }; /* bytes of ancillary data; the kernel's limit is lower */

/* Convert a message header at [addr] for sending or receiving. 0 or -errno; the caller clears it in
 * any case. */
static int message_from_guest(const struct lu_process *p, struct message *m, uint64_t addr,
                              bool sending)
{
    unsigned access = sending ? LU_READ : LU_WRITE;

    memset(m, 0, sizeof(*m));
    m->iov.v = m->iov.fixed;
    m->ptr = &m->host;
    if (lu_copy_from_guest(p, &m->guest, addr, sizeof(m->guest)) != 0) {
        m->ptr = lu_bad_ptr(p, addr);
        return 0;
    }
    /* A name longer than the kernel's largest is cut there by the kernel too. */
    m->host.msg_namelen = (int32_t)m->guest.name_size < 0
                              ? m->guest.name_size
                              : MIN(m->guest.name_size, sizeof(struct sockaddr_storage));
    m->host.msg_name = lu_ptr(p, m->guest.name, m->host.msg_namelen, access);
    lu_iov_from_guest(p, &m->iov, m->guest.iov, m->guest.iov_count, access);
    m->host.msg_iov = m->iov.v;
    m->host.msg_iovlen = m->iov.count;
    m->host.msg_flags = m->guest.flags;
    m->host.msg_controllen = m->guest.control_size;
    if (m->guest.control == 0 || m->guest.control_size == 0) {
        m->host.msg_control = NULL;
        m->host.msg_controllen = m->guest.control ? 0 : m->guest.control_size;
        return 0;
    }
    if (!sending) {
        m->host.msg_control = lu_ptr(p, m->guest.control, m->guest.control_size, LU_WRITE);
        return 0;
    }
    if (m->guest.control_size > CONTROL_MAX) {
        return -ENOBUFS;
    }
    m->control = g_malloc(m->guest.control_size);
    m->host.msg_control = m->control;
    if (lu_copy_from_guest(p, m->control, m->guest.control, m->guest.control_size) != 0) {
        m->host.msg_control = lu_bad_ptr(p, m->guest.control);
        return 0;
    }
    return check_sent_fds(p, &m->host);
}

/* After receiving: what the kernel wrote into the header. */
static int message_to_guest(const struct lu_process *p, const struct message *m, uint64_t addr)
{
    struct guest_msghdr guest = m->guest;

    guest.name_size = m->host.msg_namelen;
    guest.control_size = m->host.msg_controllen;
    guest.flags = m->host.msg_flags;
    return lu_copy_to_guest(p, addr, &guest, sizeof(guest));
}

int64_t sys_sendmsg(struct lu_thread *t, const uint64_t a[6])
{
    struct message m;
    int64_t result = message_from_guest(t->process, &m, a[1], true);

    if (result == 0) {
        result = LU_BLOCK(t, SYS_sendmsg, a[0], m.ptr, a[2]);
    }
    message_clear(&m);
    return result;
}

int64_t sys_recvmsg(struct lu_thread *t, const uint64_t a[6])
{
    struct message m;
    int64_t result = message_from_guest(t->process, &m, a[1], false);

    if (result == 0) {
        result = LU_BLOCK(t, SYS_recvmsg, a[0], m.ptr, a[2]);
    }
    if (result >= 0) {
        result = message_to_guest(t->process, &m, a[1]) ?: result;
    }
    message_clear(&m);
    return result;
}

enum { MMSG_STRIDE = sizeof(struct mmsghdr) };
G_STATIC_ASSERT(sizeof(struct mmsghdr) == sizeof(struct guest_msghdr) + 8);

/* sendmmsg and recvmmsg. */
static int64_t many_messages(struct lu_thread *t, const uint64_t a[6], bool sending, void *timeout)
{
    struct lu_process *p = t->process;
    unsigned count = MIN((uint32_t)a[2], UIO_MAXIOV);
    g_autofree struct message *messages = g_new0(struct message, count);
    g_autofree struct mmsghdr *headers = g_new0(struct mmsghdr, count);
    void *list = headers;
    unsigned n = 0, good = 0;
    int64_t result = 0;

    for (; n < count && result == 0; n++) {
        struct message *m = &messages[n];

        result = message_from_guest(p, m, a[1] + (uint64_t)n * MMSG_STRIDE, sending);
        headers[n].msg_hdr = m->host;
        if (result || m->ptr != &m->host) {
            n++;
            break;
        }
        good++;
    }
    /* A bad header after good ones: the good ones are transferred first. */
    if (good == 0 && n) {
        list = lu_bad_ptr(p, a[1]);
    }
    if (good || result == 0) {
        unsigned n_calls = good ? good : count;

        result = sending ? LU_BLOCK(t, SYS_sendmmsg, a[0], list, n_calls, a[3])
                         : LU_BLOCK(t, SYS_recvmmsg, a[0], list, n_calls, a[3], timeout);
    }
    for (int64_t i = 0; i < result; i++) {
        uint64_t addr = a[1] + (uint64_t)i * MMSG_STRIDE;
        int error = 0;

        messages[i].host = headers[i].msg_hdr;
        if (!sending) {
            error = message_to_guest(p, &messages[i], addr);
        }
        if (error == 0) {
            error = lu_copy_to_guest(p, addr + sizeof(struct guest_msghdr), &headers[i].msg_len,
                                     sizeof(headers[i].msg_len));
        }
        if (error) {
            result = i ? i : error;
            break;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        message_clear(&messages[i]);
    }
    return result;
}

int64_t sys_sendmmsg(struct lu_thread *t, const uint64_t a[6])
{
    return many_messages(t, a, true, NULL);
}

int64_t sys_recvmmsg(struct lu_thread *t, const uint64_t a[6])
{
    return many_messages(t, a, false, lu_ptr(t->process, a[4], 16, LU_READ | LU_WRITE));
}
