/*
 * Fuzzer of the WebSocket server: the input is a request, or, after a first byte that is odd,
 * frames. Frames are decoded twice, all at once and in small pieces; what comes out must be the
 * same, and no more than went in.
 *
 * Without libFuzzer: fuzz_websocket [--runs N] [--seed N] [FILE...]
 */
#include "fuzz.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/websocket.h"

struct decoded {
    GByteArray *out;
    GByteArray *controls; /* kind, size and payload of each */
    bool failed;
    enum websocket_status status;
};

/* Hands in at most in_step and takes at most out_step bytes at a time. */
static struct decoded decode(const uint8_t *data, size_t size, size_t in_step, size_t out_step)
{
    struct decoded result = {.out = g_byte_array_new(), .controls = g_byte_array_new()};
    struct websocket_decoder decoder = {0};
    g_autofree uint8_t *out = g_malloc(out_step);
    struct websocket_step step = {0};
    size_t at = 0;

    while (at < size && !result.failed) {
        size_t n = MIN(size - at, in_step);
        /* A copy of its own size, so that a sanitizer sees reads behind its end. */
        g_autofree uint8_t *in = g_memdup2(data + at, n);
        GError *error = NULL;

        result.failed = !websocket_decode(&decoder, in, n, out, out_step, &step, &error);
        assert(result.failed == (error != NULL));
        g_clear_error(&error);
        assert(step.consumed <= n && step.produced <= out_step && step.produced <= step.consumed);
        assert(result.failed || step.control || step.consumed > 0);
        g_byte_array_append(result.out, out, (guint)step.produced);
        if (step.control) {
            const uint8_t head[2] = {(uint8_t)step.control, (uint8_t)decoder.control_size};

            assert(!result.failed && decoder.control_size <= WEBSOCKET_MAX_CONTROL);
            g_byte_array_append(result.controls, head, sizeof(head));
            g_byte_array_append(result.controls, decoder.control, decoder.control_size);
        }
        at += step.consumed;
    }
    result.status = decoder.status;
    return result;
}

static bool same(const GByteArray *a, const GByteArray *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void fuzz_frames(const uint8_t *data, size_t size, unsigned step)
{
    struct decoded whole = decode(data, size, size + 1, size + 1);
    struct decoded pieces = decode(data, size, 1 + step % 7, 1 + step / 7 % 5);

    assert(same(whole.out, pieces.out) && same(whole.controls, pieces.controls));
    assert(whole.failed == pieces.failed && whole.status == pieces.status);
    g_byte_array_unref(whole.out);
    g_byte_array_unref(whole.controls);
    g_byte_array_unref(pieces.out);
    g_byte_array_unref(pieces.controls);
}

static void fuzz_request(const uint8_t *data, size_t size)
{
    g_autofree char *request = g_memdup2(data, size), *response = NULL;
    GError *error = NULL;
    bool ok = websocket_answer(request, size, &response, &error);

    assert(ok == !error && response);
    assert(g_str_has_prefix(response, ok ? "HTTP/1.1 101 " : "HTTP/1.1 400 "));
    assert(g_str_has_suffix(response, "\r\n\r\n"));
    g_clear_error(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (data[0] & 1) {
        fuzz_frames(data + 1, size - 1, data[0] >> 1);
    } else {
        fuzz_request(data, size);
    }
    return 0;
}

#ifndef NANDU_LIBFUZZER

enum { INPUT_SIZE = 1024 };

/* A frame that is right but for what chance does to it. */
static size_t make_frame(uint64_t *state, uint8_t *out, size_t room)
{
    static const uint8_t firsts[] = {0x82, 0x82, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88};
    uint64_t r = next_random(state);
    size_t length = r % 4 ? r >> 8 & 0x3f : r >> 8 & 0xff, n;

    if (length + WEBSOCKET_MAX_HEADER + 4 > room) {
        return 0;
    }
    n = websocket_header(out, WEBSOCKET_BINARY, length);
    out[0] = firsts[r >> 16 & 7];
    out[1] |= 0x80;
    for (size_t i = 0; i < 4 + length; i++) {
        out[n + i] = (uint8_t)next_random(state);
    }
    n += 4 + length;
    if ((r >> 24) % 16 == 0) {
        out[(r >> 32) % MIN(n, 4)] ^= (uint8_t)(1 << (r >> 40 & 7));
    }
    return n;
}

static size_t make_request(uint64_t *state, uint8_t *out)
{
    static const char *const parts[] = {
        "GET / HTTP/1.1\r\n",
        "Host: a\r\n",
        "Connection: Upgrade\r\n",
        "Upgrade: websocket\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Protocol: binary\r\n",
        "\r\n",
    };
    size_t size = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (next_random(state) % 16) {
            memcpy(out + size, parts[i], strlen(parts[i]));
            size += strlen(parts[i]);
        }
    }
    for (unsigned i = 0; size > 0 && i < next_random(state) % 4; i++) {
        out[next_random(state) % size] = (uint8_t)next_random(state);
    }
    return size;
}

static size_t make_input(uint64_t *state, uint8_t *out)
{
    size_t size = 1, n;

    if (next_random(state) % 4 == 0) {
        return make_request(state, out);
    }
    out[0] = (uint8_t)(next_random(state) | 1);
    do {
        n = make_frame(state, out + size, INPUT_SIZE - size);
        size += n;
    } while (n > 0 && next_random(state) % 8);
    return size;
}

void fuzz_make_input(uint64_t *state, GByteArray *input)
{
    uint8_t frames[INPUT_SIZE];

    g_byte_array_append(input, frames, (guint)make_input(state, frames));
}

#endif
