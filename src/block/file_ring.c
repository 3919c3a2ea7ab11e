/*
 * Files as io_uring's fixed files. Each event loop that a file is used on gets a number for it at
 * its first request, which stands until the file is closed.
 */
#include "block/file.h"

static int fix(struct file_state *s, struct event_loop *loop)
{
    int index = -1;
    unsigned i = 0;

    g_mutex_lock(&s->fixed_lock);
    while (i < FILE_MAX_LOOPS && s->fixed[i].loop) {
        i++;
    }
    if (i < FILE_MAX_LOOPS) {
        index = event_loop_fix_file(loop, s->fd);
        s->fixed[i].index = index;
        atomic_store_explicit(&s->fixed[i].loop, event_loop_ref(loop), memory_order_release);
    }
    g_mutex_unlock(&s->fixed_lock);
    return index;
}

int file_fixed_index(struct file_state *s, struct event_loop *loop)
{
    for (unsigned i = 0; i < FILE_MAX_LOOPS; i++) {
        const struct event_loop *there =
            atomic_load_explicit(&s->fixed[i].loop, memory_order_acquire);

        if (there == loop) {
            return atomic_load_explicit(&s->fixed[i].index, memory_order_relaxed);
        }
        if (!there) {
            return fix(s, loop);
        }
    }
    return -1; /* others took all places */
}

void file_fixed_replace(struct file_state *s)
{
    g_mutex_lock(&s->fixed_lock);
    for (unsigned i = 0; i < FILE_MAX_LOOPS && s->fixed[i].loop; i++) {
        int index = s->fixed[i].index;

        if (index >= 0 && !event_loop_refix_file(s->fixed[i].loop, index, s->fd)) {
            s->fixed[i].index = -1;
            event_loop_unfix_file(s->fixed[i].loop, index);
        }
    }
    g_mutex_unlock(&s->fixed_lock);
}

void file_fixed_close(struct file_state *s)
{
    for (unsigned i = 0; i < FILE_MAX_LOOPS && s->fixed[i].loop; i++) {
        if (s->fixed[i].index >= 0) {
            event_loop_unfix_file(s->fixed[i].loop, s->fixed[i].index);
        }
        event_loop_unref(s->fixed[i].loop);
    }
    g_mutex_clear(&s->fixed_lock);
}
