/* The table of drivers: one section of the executable, which the linker collects. */
#include "block/block_priv.h"

extern const struct block_driver *const __start_nandu_block_drivers[];
extern const struct block_driver *const __stop_nandu_block_drivers[];

const struct block_driver *block_driver_find(const char *name)
{
    for (const struct block_driver *const *row = __start_nandu_block_drivers;
         row < __stop_nandu_block_drivers; row++) {
        if (g_str_equal((*row)->name, name)) {
            return *row;
        }
    }
    return NULL;
}

const struct block_driver *block_driver_of_protocol(const char *protocol)
{
    for (const struct block_driver *const *row = __start_nandu_block_drivers;
         row < __stop_nandu_block_drivers; row++) {
        if ((*row)->protocols && g_strv_contains((*row)->protocols, protocol)) {
            return *row;
        }
    }
    return NULL;
}

const struct block_driver *block_driver_probe(const uint8_t *data, size_t size,
                                              const char *filename)
{
    const struct block_driver *best = NULL;
    int best_score = 0;

    for (const struct block_driver *const *row = __start_nandu_block_drivers;
         row < __stop_nandu_block_drivers; row++) {
        int score = (*row)->probe ? (*row)->probe(data, size, filename) : 0;

        if (score > best_score) {
            best = *row;
            best_score = score;
        }
    }
    return best;
}
