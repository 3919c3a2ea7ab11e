/* Requests: buffers, alignment, splitting, zeroes, FUA, flushes, against memory. */
#include <errno.h>

#include "block_test.h"

enum { SIZE = 256 << 10, MAX_BYTES = 40 << 10 };

/* ---- Buffers ---- */

static void test_buffers(void)
{
    char a[10], b[20], c[30], flat[60];
    struct iovec iov[] = {{a, 10}, {b, 0}, {b, 20}, {c, 30}}, slice[4];
    struct block_buffer whole = {iov, 4, 0}, part;

    for (int i = 0; i < 60; i++) {
        flat[i] = (char)(i + 1);
    }
    block_buffer_from(whole, flat, 60);
    g_assert(a[9] == 10 && b[0] == 11 && c[29] == 60);
    part = block_buffer_skip(whole, 10);
    g_assert(part.iov == &iov[2] && part.skip == 0 && part.n_iov == 2);
    part = block_buffer_skip(part, 25);
    g_assert(part.iov == &iov[3] && part.skip == 5 && part.n_iov == 1);
    g_assert(block_buffer_skip(part, 25).n_iov == 0);
    g_assert_cmpuint(block_buffer_slice(block_buffer_skip(whole, 5), 30, slice), ==, 3);
    g_assert(slice[0].iov_base == a + 5 && slice[0].iov_len == 5 && slice[1].iov_len == 20 &&
             slice[2].iov_len == 5);
    memset(flat, 0, sizeof(flat));
    block_buffer_to(block_buffer_skip(whole, 9), flat, 3);
    g_assert(flat[0] == 10 && flat[1] == 11 && flat[2] == 12 && flat[3] == 0);
    g_assert(!block_buffer_is_zero(whole, 60));
    block_buffer_zero(block_buffer_skip(whole, 1), 58);
    g_assert(a[0] == 1 && a[1] == 0 && c[28] == 0 && c[29] == 60);
    g_assert(block_buffer_is_zero(block_buffer_skip(whole, 1), 58));
    g_assert(!block_buffer_is_zero(block_buffer_skip(whole, 1), 59));
    g_assert(block_buffer_is_zero((struct block_buffer){0}, 0));
}

static void test_alignment_of_buffers(void)
{
    _Alignas(4096) static char memory[8192];
    struct iovec iov[] = {{memory, 512}, {memory + 4096, 1024}};

    g_assert(block_buffer_is_aligned((struct block_buffer){iov, 2, 0}, 1536, 512));
    g_assert(!block_buffer_is_aligned((struct block_buffer){iov, 2, 0}, 1536, 4096));
    g_assert(!block_buffer_is_aligned((struct block_buffer){iov, 2, 1}, 1535, 512));
    g_assert(!block_buffer_is_aligned((struct block_buffer){iov, 2, 0}, 1000, 512));
    for (size_t bytes = 0; bytes <= 40; bytes++) {
        memset(memory, 0, 64);
        g_assert(block_buffer_is_zero(BLOCK_BUFFER(memory, 64), bytes));
        for (size_t i = 0; i < bytes; i++) {
            memory[i] = 1;
            g_assert(!block_buffer_is_zero(BLOCK_BUFFER(memory, 64), bytes));
            memory[i] = 0;
        }
    }
}

/* ---- Random requests against a model ---- */

static const struct block_limits all_limits[] = {
    {.request_align = 1, .memory_align = 1},
    {.request_align = 512, .memory_align = 1},
    {.request_align = 512, .memory_align = 512, .max_transfer = 8192, .max_iov = 2},
    {.request_align = 4096, .memory_align = 4096, .max_transfer = 16384, .max_iov = 1},
    {.request_align = 4096,
     .memory_align = 512,
     .zeroes_align = 16384,
     .max_zeroes = 32768,
     .discard_align = 8192},
    {.request_align = 1,
     .memory_align = 1,
     .max_transfer = 1000,
     .max_iov = 3,
     .zeroes_align = 4096},
};

/* bytes in up to 5 pieces of data, which has room for gaps. */
static struct block_buffer random_pieces(GRand *rand, uint8_t *data, uint64_t bytes,
                                         struct iovec *iov)
{
    unsigned n = 0;
    uint64_t done = 0, gap = 0;

    while (done < bytes && n < 4) {
        uint64_t size = (uint64_t)g_rand_int_range(rand, 0, (gint32)(bytes - done) + 1);

        iov[n++] = (struct iovec){data + done + gap, size};
        done += size;
        gap += (uint64_t)g_rand_int_range(rand, 0, 600);
    }
    if (done < bytes) {
        iov[n++] = (struct iovec){data + done + gap, bytes - done};
    }
    return (struct block_buffer){iov, n, 0};
}

static void one_random(struct block_user *user, GRand *rand, uint8_t *model, uint8_t *data)
{
    uint64_t offset = (uint64_t)g_rand_int_range(rand, 0, SIZE),
             bytes = (uint64_t)g_rand_int_range(rand, 1, MAX_BYTES);
    struct block_buffer buffer;
    struct iovec iov[5];
    g_autofree uint8_t *flat = g_malloc(MAX_BYTES);

    if (g_rand_boolean(rand)) { /* near what limits ask for */
        offset &= ~(uint64_t)511;
        bytes = (bytes + 511) & ~(uint64_t)511;
    }
    bytes = MIN(bytes, SIZE - offset);
    buffer = random_pieces(rand, data, bytes, iov);
    switch (g_rand_int_range(rand, 0, 6)) {
    case 0:
    case 1:
        for (uint64_t i = 0; i < bytes; i++) {
            flat[i] = (uint8_t)g_rand_int(rand);
        }
        block_buffer_from(buffer, flat, bytes);
        g_assert_cmpint(co_block_write(user, offset, bytes, buffer,
                                       g_rand_boolean(rand) ? BLOCK_FUA : 0),
                        ==, 0);
        memcpy(model + offset, flat, bytes);
        break;
    case 2:
        g_assert_cmpint(co_block_write_zeroes(user, offset, bytes,
                                              g_rand_boolean(rand) ? BLOCK_MAY_UNMAP : 0),
                        ==, 0);
        memset(model + offset, 0, bytes);
        break;
    case 3: g_assert_cmpint(co_block_discard(user, offset, bytes), ==, 0); break;
    default:
        g_assert_cmpint(co_block_read(user, offset, bytes, buffer, 0), ==, 0);
        block_buffer_to(buffer, flat, bytes);
        g_assert(memcmp(flat, model + offset, bytes) == 0);
    }
}

static void co_random(void *opaque)
{
    struct block_test *t = opaque;
    g_autofree uint8_t *model = g_malloc(SIZE), *data = g_malloc(MAX_BYTES + 4096);

    for (size_t l = 0; l < G_N_ELEMENTS(all_limits); l++) {
        for (int without_zeroes = 0; without_zeroes < 2; without_zeroes++) {
            struct block_node *node =
                mem_open(t, NULL, SIZE, &all_limits[l], without_zeroes ? BLOCK_FUA : 0);
            struct block_user *user = block_test_use(t, node);
            GRand *rand = g_rand_new_with_seed((guint32)(l * 2) + (guint32)without_zeroes);
            struct mem_state *s = node->state;

            node->discard = QAPI_BLOCKDEV_DISCARD_OPTIONS_UNMAP;
            s->no_zeroes = without_zeroes;
            memset(model, 0, SIZE);
            for (int i = 0; i < 1500; i++) {
                one_random(user, rand, model, data);
            }
            g_assert(memcmp(s->data, model, SIZE) == 0);
            g_assert_cmpint(co_block_flush(user), ==, 0);
            g_assert_cmpuint(s->unflushed, ==, 0);
            g_rand_free(rand);
            block_user_free(user);
        }
    }
}

static void test_random(void)
{
    block_test_run(co_random);
}

/* ---- Writes to parts of one block at the same time ---- */

enum { WRITERS = 24, ROUNDS = 20, STRIDE = 100 };

struct writer {
    struct block_user *user;
    unsigned number;
    unsigned *running;
    struct coroutine *waiting;
};

static void co_writer(void *opaque)
{
    struct writer *w = opaque;
    uint8_t data[STRIDE];

    for (unsigned round = 0; round < ROUNDS; round++) {
        memset(data, (int)(w->number * ROUNDS + round), sizeof(data));
        if (round % 5 == 4) {
            g_assert_cmpint(co_block_write_zeroes(w->user, w->number * STRIDE, STRIDE, 0), ==, 0);
        }
        g_assert_cmpint(co_block_write(w->user, w->number * STRIDE, STRIDE,
                                       BLOCK_BUFFER(data, STRIDE), 0),
                        ==, 0);
    }
    if (--*w->running == 0) {
        coroutine_wake(w->waiting);
    }
}

static void co_neighbours(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *node = mem_open(t, NULL, SIZE, &all_limits[1], 0);
    struct block_user *user = block_test_use(t, node);
    struct writer writers[WRITERS];
    struct mem_state *s = node->state;
    unsigned running = WRITERS;

    s->slow = true;
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){user, i, &running, coroutine_self()};
        coroutine_start(t->context.loop, co_writer, &writers[i]);
    }
    while (running) {
        co_yield ();
    }
    for (unsigned i = 0; i < WRITERS * STRIDE; i++) {
        g_assert_cmpuint(s->data[i], ==, (uint8_t)(i / STRIDE * ROUNDS + ROUNDS - 1));
    }
    g_assert_cmpuint(s->most_under_way, >, 1); /* not one after the other */
    block_user_free(user);
}

static void test_neighbours(void)
{
    block_test_run(co_neighbours);
}

/* ---- FUA and flushes ---- */

static void co_fua(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *able = mem_open(t, NULL, SIZE, NULL, BLOCK_FUA),
                      *unable = mem_open(t, NULL, SIZE, NULL, 0);
    struct block_user *a = block_test_use(t, able), *u = block_test_use(t, unable);
    struct mem_state *as = able->state, *us = unable->state;
    char data[512] = {1};

    g_assert_cmpint(co_block_write(a, 0, 512, BLOCK_BUFFER(data, 512), BLOCK_FUA), ==, 0);
    g_assert(as->writes == 1 && as->fua_writes == 1 && as->flushes == 0 && as->unflushed == 0);
    g_assert_cmpint(co_block_write(u, 0, 512, BLOCK_BUFFER(data, 512), BLOCK_FUA), ==, 0);
    g_assert(us->writes == 1 && us->fua_writes == 0 && us->flushes == 1 && us->unflushed == 0);
    block_user_set_write_cache(a, false);
    block_user_set_write_cache(u, false);
    g_assert_cmpint(co_block_write(a, 512, 512, BLOCK_BUFFER(data, 512), 0), ==, 0);
    g_assert_cmpint(co_block_write_zeroes(u, 512, 512, 0), ==, 0);
    g_assert(as->fua_writes == 2 && as->unflushed == 0);
    g_assert(us->flushes == 2 && us->unflushed == 0);
    /* What ignores flushes ignores this, too. */
    unable->no_flush = true;
    g_assert_cmpint(co_block_write(u, 0, 512, BLOCK_BUFFER(data, 512), 0), ==, 0);
    g_assert_cmpint(co_block_flush(u), ==, 0);
    g_assert(us->flushes == 2 && us->unflushed == 512);
    block_user_free(a);
    block_user_free(u);
}

static void test_fua(void)
{
    block_test_run(co_fua);
}

static void co_flusher(void *opaque)
{
    struct writer *w = opaque;
    char data[512] = {1};

    g_assert_cmpint(co_block_write(w->user, w->number * 512, 512, BLOCK_BUFFER(data, 512), 0), ==,
                    0);
    g_assert_cmpint(co_block_flush(w->user), ==, 0);
    if (--*w->running == 0) {
        coroutine_wake(w->waiting);
    }
}

static void co_merge(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *node = mem_open(t, NULL, SIZE, NULL, 0);
    struct block_user *user = block_test_use(t, node);
    struct writer writers[WRITERS];
    struct mem_state *s = node->state;
    unsigned running = WRITERS, flushes;

    s->slow = true;
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){user, i, &running, coroutine_self()};
        coroutine_start(t->context.loop, co_flusher, &writers[i]);
    }
    while (running) {
        co_yield ();
    }
    g_assert_cmpuint(s->unflushed, ==, 0);
    g_assert_cmpuint(s->flushes, <=, 3);
    flushes = s->flushes;
    /* Nothing is new: nothing to do. After a failure there is. */
    g_assert_cmpint(co_block_flush(user), ==, 0);
    g_assert_cmpuint(s->flushes, ==, flushes);
    g_assert_cmpint(co_block_write_zeroes(user, 0, 512, 0), ==, 0);
    s->fail_flush = -EIO;
    g_assert_cmpint(co_block_flush(user), ==, -EIO);
    g_assert_cmpint(co_block_flush(user), ==, 0);
    g_assert_cmpuint(s->flushes, ==, flushes + 2);
    block_user_free(user);
}

static void test_merge(void)
{
    block_test_run(co_merge);
}

/* ---- Zeroes, discards ---- */

static void co_zeroes(void *opaque)
{
    struct block_test *t = opaque;
    const unsigned flags = BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK;
    struct block_node *node = mem_open(t, NULL, SIZE, &all_limits[1], flags);
    struct block_user *user = block_test_use(t, node);
    struct mem_state *s = node->state;
    char data[1024] = {0};

    /* MAY_UNMAP counts where discards do. */
    g_assert_cmpint(co_block_write_zeroes(user, 0, 4096, BLOCK_MAY_UNMAP), ==, 0);
    g_assert(s->zeroes == 1 && s->unmaps == 0);
    g_assert_cmpint(co_block_discard(user, 0, 4096), ==, 0);
    g_assert_cmpuint(s->discards, ==, 0);
    node->discard = QAPI_BLOCKDEV_DISCARD_OPTIONS_UNMAP;
    g_assert_cmpint(co_block_write_zeroes(user, 0, 4096, BLOCK_MAY_UNMAP), ==, 0);
    g_assert(s->zeroes == 2 && s->unmaps == 1);
    /* Whole blocks only. */
    g_assert_cmpint(co_block_discard(user, 1, 1022), ==, 0);
    g_assert_cmpuint(s->discards, ==, 0);
    g_assert_cmpint(co_block_discard(user, 1, 1023), ==, 0);
    g_assert_cmpuint(s->discards, ==, 1);

    g_assert_cmpint(co_block_write(user, 0, 1024, BLOCK_BUFFER(data, 1024), 0), ==, 0);
    g_assert(s->writes == 1 && s->zeroes == 2);
    node->detect_zeroes = QAPI_BLOCKDEV_DETECT_ZEROES_OPTIONS_ON;
    g_assert_cmpint(co_block_write(user, 0, 1024, BLOCK_BUFFER(data, 1024), 0), ==, 0);
    g_assert(s->writes == 1 && s->zeroes == 3 && s->unmaps == 1);
    node->detect_zeroes = QAPI_BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP;
    g_assert_cmpint(co_block_write(user, 0, 1024, BLOCK_BUFFER(data, 1024), 0), ==, 0);
    g_assert(s->writes == 1 && s->zeroes == 4 && s->unmaps == 2);
    data[1023] = 1;
    g_assert_cmpint(co_block_write(user, 0, 1024, BLOCK_BUFFER(data, 1024), 0), ==, 0);
    g_assert(s->writes == 2 && s->zeroes == 4);

    s->no_zeroes = true;
    g_assert_cmpint(co_block_write_zeroes(user, 0, 4096, BLOCK_NO_FALLBACK), ==, -ENOTSUP);
    g_assert_cmpint(co_block_write_zeroes(user, 0, 4096, 0), ==, 0);
    g_assert_cmpuint(s->writes, ==, 3);
    g_assert_cmpuint(s->data[1023], ==, 0);
    block_user_free(user);
}

static void test_zeroes(void)
{
    block_test_run(co_zeroes);
}

/* ---- What isn't allowed ---- */

static void done(struct block_request *request)
{
}

static void co_limits(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *node = mem_open(t, NULL, SIZE, NULL, 0);
    struct block_user *user = block_user_new(t->graph, NULL, NULL, NULL);
    g_autoptr(GError) error = NULL;
    struct block_request request = {.op = BLOCK_FLUSH, .done = done};
    char data[512];

    g_assert_cmpint(co_block_read(user, 0, 512, BLOCK_BUFFER(data, 512), 0), ==, -ENOMEDIUM);
    block_submit(user, &request);
    g_assert_cmpint(request.result, ==, -ENOMEDIUM);
    g_assert_cmpuint(block_user_length(user), ==, 0);
    g_assert_cmpstr(block_user_name(user), ==, "");
    g_assert(block_user_attach(user, node, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL, &error));
    g_assert_cmpint(co_block_read(user, SIZE - 511, 512, BLOCK_BUFFER(data, 512), 0), ==, -EIO);
    g_assert_cmpint(co_block_read(user, UINT64_MAX - 100, 512, BLOCK_BUFFER(data, 512), 0), ==,
                    -EIO);
    g_assert_cmpint(co_block_write(user, 0, 512, BLOCK_BUFFER(data, 512), 0), ==, -EPERM);
    g_assert_cmpint(co_block_write_zeroes(user, 0, 512, 0), ==, -EPERM);
    g_assert_cmpint(co_block_discard(user, 0, 512), ==, -EPERM);
    g_assert_cmpint(co_block_truncate(user, 0, true, QAPI_PREALLOC_MODE_OFF, 0, &error), ==,
                    -EPERM);
    g_assert_nonnull(error);
    g_assert_cmpint(co_block_read(user, 0, 0, (struct block_buffer){0}, 0), ==, 0);
    co_block_node_unref(node);
    block_user_free(user);
}

static void test_limits(void)
{
    block_test_run(co_limits);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/request/buffers", test_buffers);
    g_test_add_func("/block/request/alignment-of-buffers", test_alignment_of_buffers);
    g_test_add_func("/block/request/random", test_random);
    g_test_add_func("/block/request/neighbours", test_neighbours);
    g_test_add_func("/block/request/fua", test_fua);
    g_test_add_func("/block/request/merge", test_merge);
    g_test_add_func("/block/request/zeroes", test_zeroes);
    g_test_add_func("/block/request/limits", test_limits);
    return g_test_run();
}
