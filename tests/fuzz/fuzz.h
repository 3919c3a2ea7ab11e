/*
 * What a fuzzer is made of: LLVMFuzzerTestOneInput, and inputs of its own for where there is no
 * libFuzzer. fuzz_main.c has the main for those:
 *
 *     fuzz_NAME [--runs N] [--seed N] [FILE...]
 *
 * NANDU_FUZZ_KEEP=FILE keeps the last input that was made, to be given as FILE.
 */
#ifndef NANDU_TESTS_FUZZ_H
#define NANDU_TESTS_FUZZ_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * Appends an input that is likely to get far; the same for the same state. Not used with libFuzzer.
 */
void fuzz_make_input(uint64_t *state, GByteArray *input);

/* xorshift64*; state must not be 0. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1dull;
}

#endif
