/*
 * What the files of the option table share: system_rows_machine.c, _device.c, _process.c. Each has
 * the rows of its options and what they do.
 */
#ifndef NANDU_CLI_SYSTEM_ROWS_H
#define NANDU_CLI_SYSTEM_ROWS_H

#include "cli/system_options.h"

struct option_table {
    const struct option_row *rows;
    size_t n_rows;
};

extern const struct option_table system_machine_options, system_device_options,
    system_process_options;

/* Sets *error and returns false. */
bool option_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* *slot, a pointer to a structure of this type, takes *typed over; of two the later one wins. */
void option_keep(void *slot, const struct qapi_type *type, void **typed);
bool option_is_help(const char *text);

#define FLAG(name_, handle_, help_)                                                                \
    {                                                                                              \
        .name = name_, .form = OPTION_FLAG, .help = help_, .handle = handle_                       \
    }
#define TEXT(name_, handle_, argument_, help_)                                                     \
    {                                                                                              \
        .name = name_, .form = OPTION_TEXT, .argument = argument_, .help = help_,                  \
        .handle = handle_                                                                          \
    }
#define LATER(name_, what)                                                                         \
    {                                                                                              \
        .name = name_, .form = OPTION_LATER, .argument = what                                      \
    }
#define LATER_FLAG(name_, what)                                                                    \
    {                                                                                              \
        .name = name_, .form = OPTION_LATER_FLAG, .argument = what                                 \
    }

#endif
