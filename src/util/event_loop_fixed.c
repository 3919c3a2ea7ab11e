/*
 * What io_uring knows by a number: open files, which the kernel needn't look up for each request
 * then, and memory whose pages it needn't pin for each. Both tables are made when they are first
 * used, and are of one size.
 */
#include "util/event_loop_priv.h"

enum { TABLE_SIZE = 64 }; /* as many as `used` has bits */

/* A free number; -1: there is none. With fixed_lock held. */
static int take_number(struct event_loop *loop, struct fixed_table *table,
                       int (*make)(struct io_uring *ring, unsigned n))
{
    if (!table->tried) {
        table->tried = true;
        table->usable = make(&loop->ring, TABLE_SIZE) == 0;
    }
    return table->usable && ~table->used ? __builtin_ctzll(~table->used) : -1;
}

static bool set_file(struct event_loop *loop, int index, int fd)
{
    return io_uring_register_files_update(&loop->ring, (unsigned)index, &fd, 1) == 1;
}

static bool set_buffer(struct event_loop *loop, int index, void *data, size_t size)
{
    const struct iovec iov = {data, size};
    const __u64 tag = 0;

    return io_uring_register_buffers_update_tag(&loop->ring, (unsigned)index, &iov, &tag, 1) == 1;
}

int event_loop_fix_file(struct event_loop *loop, int fd)
{
    int index = -1;

    if (event_loop_has_uring(loop)) {
        g_mutex_lock(&loop->fixed_lock);
        index = take_number(loop, &loop->fixed_files, io_uring_register_files_sparse);
        if (index >= 0 && set_file(loop, index, fd)) {
            loop->fixed_files.used |= 1ull << index;
        } else {
            index = -1;
        }
        g_mutex_unlock(&loop->fixed_lock);
    }
    return index;
}

bool event_loop_refix_file(struct event_loop *loop, int index, int fd)
{
    bool ok;

    g_mutex_lock(&loop->fixed_lock);
    ok = loop->fixed_files.usable && set_file(loop, index, fd);
    g_mutex_unlock(&loop->fixed_lock);
    return ok;
}

void event_loop_unfix_file(struct event_loop *loop, int index)
{
    g_mutex_lock(&loop->fixed_lock);
    if (loop->fixed_files.usable && set_file(loop, index, -1)) {
        loop->fixed_files.used &= ~(1ull << index);
    }
    g_mutex_unlock(&loop->fixed_lock);
}

int event_loop_fix_buffer(struct event_loop *loop, void *data, size_t size)
{
    int index = -1;

    if (event_loop_has_uring(loop)) {
        g_mutex_lock(&loop->fixed_lock);
        index = take_number(loop, &loop->fixed_buffers, io_uring_register_buffers_sparse);
        if (index >= 0 && set_buffer(loop, index, data, size)) {
            loop->fixed_buffers.used |= 1ull << index;
        } else {
            index = -1;
        }
        g_mutex_unlock(&loop->fixed_lock);
    }
    return index;
}

void event_loop_unfix_buffer(struct event_loop *loop, int index)
{
    g_mutex_lock(&loop->fixed_lock);
    if (loop->fixed_buffers.usable && set_buffer(loop, index, NULL, 0)) {
        loop->fixed_buffers.used &= ~(1ull << index);
    }
    g_mutex_unlock(&loop->fixed_lock);
}

void event_loop_close_fixed(struct event_loop *loop)
{
    g_mutex_lock(&loop->fixed_lock);
    loop->fixed_files.usable = loop->fixed_buffers.usable = false;
    g_mutex_unlock(&loop->fixed_lock);
}
