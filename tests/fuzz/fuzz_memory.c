/*
 * Changes to the tree of memory regions, as a guest makes them with BARs and bridges, compared with
 * a model. What is seen must be the same at every step; nothing may crash or leak.
 */
#include "fuzz.h"

#include <glib.h>

#include "../unit/memory_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    model_run(data, size);
    return 0;
}

#ifndef NANDU_LIBFUZZER

void fuzz_make_input(uint64_t *state, GByteArray *input)
{
    enum { INPUT_SIZE = 120 };
    unsigned size = (unsigned)(next_random(state) % INPUT_SIZE);

    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)next_random(state);

        g_byte_array_append(input, &byte, 1);
    }
}

#endif
