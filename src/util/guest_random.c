#include "util/guest_random.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/random.h>

struct guest_random {
    GMutex lock;
    GRand *sequence;    /* NULL: the kernel's */
};

struct guest_random *guest_random_new(bool has_seed, uint64_t seed)
{
    struct guest_random *random = g_new0(struct guest_random, 1);
    guint32 words[] = {(guint32)seed, (guint32)(seed >> 32)};

    g_mutex_init(&random->lock);
    if (has_seed) {
        random->sequence = g_rand_new_with_seed_array(words, G_N_ELEMENTS(words));
    }
    return random;
}

void guest_random_free(struct guest_random *random)
{
    g_clear_pointer(&random->sequence, g_rand_free);
    g_mutex_clear(&random->lock);
    g_free(random);
}

void kernel_random(void *data, size_t size)
{
    uint8_t *p = data;

    while (size) {
        ssize_t n = getrandom(p, size, 0);

        if (n < 0) {
            g_assert(errno == EINTR);   /* the call has no other error for valid arguments */
            continue;
        }
        p += n;
        size -= (size_t)n;
    }
}

void guest_random_fill(struct guest_random *random, void *data, size_t size)
{
    uint8_t *p = data;

    if (!random || !random->sequence) {
        kernel_random(p, size);
        return;
    }
    g_mutex_lock(&random->lock);
    while (size) {
        guint32 word = g_rand_int(random->sequence);
        size_t n = MIN(size, sizeof(word));

        memcpy(p, &word, n);
        p += n;
        size -= n;
    }
    g_mutex_unlock(&random->lock);
}
