#include "fuzz.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool run_file(const char *program, const char *path)
{
    g_autofree char *data = NULL;
    gsize size;
    g_autoptr(GError) error = NULL;

    if (!g_file_get_contents(path, &data, &size, &error)) {
        fprintf(stderr, "%s: %s\n", program, error->message);
        return false;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)data, size);
    return true;
}

static void run_made_up(unsigned long runs, unsigned long seed)
{
    const char *keep = g_getenv("NANDU_FUZZ_KEEP");
    GByteArray *input = g_byte_array_new();

    for (unsigned long run = 0; run < runs; run++) {
        uint64_t state = (seed << 32) + run * 0x9e3779b97f4a7c15ull + 1;

        next_random(&state);
        g_byte_array_set_size(input, 0);
        fuzz_make_input(&state, input);
        if (keep) {
            g_file_set_contents(keep, (const char *)input->data, input->len, NULL);
        }
        LLVMFuzzerTestOneInput(input->data, input->len);
    }
    g_byte_array_unref(input);
}

int main(int argc, char **argv)
{
    unsigned long runs = 20000, seed = 1, files = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
            runs = strtoul(argv[++i], NULL, 0);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoul(argv[++i], NULL, 0);
        } else if (run_file(argv[0], argv[i])) {
            files++;
        } else {
            return 1;
        }
    }
    if (!files) {
        run_made_up(runs, seed);
    }
    printf("%lu inputs\n", files ? files : runs);
    return 0;
}
