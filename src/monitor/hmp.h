/*
 * HMP, the monitor for people: lines of words. A command is a row of a table that says how its
 * words are read and which QMP command does the work.
 */
#ifndef NANDU_MONITOR_HMP_H
#define NANDU_MONITOR_HMP_H

#include "monitor/monitor.h"

struct log;
struct readline;
struct hmp_row;

/* One line while it is run. */
struct hmp {
    struct qmp_context context;
    const struct qapi_schema *schema;
    struct log *log;
    const struct readline *readline; /* NULL: there is no history */
    int64_t cpu_index;               /* what the line is about; -1: the first */
    GString *out;
};

struct hmp_table {
    const struct hmp_row *rows;
    size_t n;
};

/*
 * args is what the words mean, "NAME:KIND" with commas between them:
 *
 *   s       a word, or text in double quotes with \n \r \" \' \\ in it
 *   S       the rest of the line
 *   i, l    an integer of 32 or 64 bits: an expression (see hmp_expression)
 *   b       on or off
 *   /       a format as "/x" or "/c" (a letter is kept)
 *   f       a format as "/4xw" (what is behind the slash is kept)
 *   -X      the option -X: true if it is there
 *
 * With "?" behind it the word may be left out. run gets the words as members of a JSON object.
 */
struct hmp_row {
    const char *name;   /* "quit|q" */
    const char *args;   /* NULL: none */
    const char *params; /* as help shows them; "" if there are none */
    const char *help;
    const char *command; /* QMP command that gets the words as they are; its value isn't printed */
    bool (*run)(struct hmp *hmp, struct json_object *args, GError **error); /* in its place */
    const struct hmp_table *sub; /* the first word is one of these commands ("info") */
    char *(*more_help)(void);    /* help on just this command says this instead; caller frees */
    /* Appends to candidates what may stand in the place of the word (from 0) number n. */
    void (*complete)(const struct hmp *hmp, unsigned n, GPtrArray *candidates);
};

extern const struct hmp_table hmp_table, hmp_info_table;

/* The row of this name (one of those that "|" divides), or NULL. length: of name. */
const struct hmp_row *hmp_find(const struct hmp_table *table, const char *name, size_t length);

/* For handlers. */
void hmp_print(struct hmp *hmp, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Runs a QMP command; args may be NULL, and is borrowed. *value (may be NULL) is the caller's. */
bool hmp_call(struct hmp *hmp, const char *command, struct json_object *args, json_object **value,
              GError **error);
/* Members of args and of answers; NULL, 0, false if there is none. */
const char *hmp_str(struct json_object *object, const char *name);
int64_t hmp_int(struct json_object *object, const char *name);
bool hmp_bool(struct json_object *object, const char *name);
/*
 * Prints help on the command that name begins with; NULL: on all. prefix: "info " for those of
 * info.
 */
void hmp_help(struct hmp *hmp, const struct hmp_table *table, const char *prefix, const char *name);

/*
 * Reads the words of line, which begins behind the command's name. NULL and *error: what is
 * wrong.
 */
json_object *hmp_parse_args(const struct hmp_row *row, const char *line, GError **error);
/*
 * The value of an integer expression at *text, which is moved behind it: + - (weakest), & | ^, *
 * / %, unary + - ~, parentheses, decimal, octal, hexadecimal numbers, 'c'. It is computed with 64
 * bits that wrap.
 */
bool hmp_expression(const char **text, int64_t *value, GError **error);

/*
 * Runs a line and returns what it printed, for the caller to free. cpu_index -1: none was given.
 * In a coroutine the command may wait.
 */
char *hmp_run(const struct qapi_schema *schema, struct log *log, const struct qmp_context *context,
              const struct readline *readline, const char *line, int64_t cpu_index);
/* Whether there is such a vCPU. */
bool hmp_check_cpu(struct qmp_context *ctx, int64_t index, GError **error);
/* See readline_ops.complete. */
size_t hmp_complete(const struct qapi_schema *schema, struct log *log,
                    const struct qmp_context *context, const char *text, GPtrArray *candidates);

#endif
