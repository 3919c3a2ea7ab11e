#include "monitor/readline.h"

#include <string.h>

enum {
    MAX_LINE = 4095,  /* bytes; what is typed beyond is dropped */
    MAX_HISTORY = 64, /* lines */
    COLUMNS = 80,     /* for lists of candidates */
};

enum state {
    STATE_NORMAL,
    STATE_ESCAPE, /* after ESC */
    STATE_CSI,    /* after ESC [: parameters, then a final byte */
    STATE_SS3,    /* after ESC O: one more byte */
};

struct readline {
    const struct readline_ops *ops;
    void *opaque;
    char *prompt;
    GString *line;
    size_t cursor;        /* byte in line */
    GString *screen;      /* the line as the terminal shows it */
    size_t screen_cursor; /* byte in screen */
    GString *out;         /* for the terminal, until the end of readline_feed */
    GString *killed;      /* what Ctrl-Y brings back */
    GQueue history;       /* of char *, the oldest first */
    GList *recalled;      /* in history; NULL: a line of its own */
    char *unfinished;     /* the own line while another one is recalled */
    enum state state;
    unsigned parameter; /* of the CSI sequence */
    bool after_cr;
};

/* ---- Characters of UTF-8; what isn't UTF-8 counts a character each byte ---- */

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static size_t before(const GString *text, size_t at)
{
    while (at > 0 && is_continuation(text->str[--at])) {
    }
    return at;
}

static size_t after(const GString *text, size_t at)
{
    if (at < text->len) {
        at++;
    }
    while (at < text->len && is_continuation(text->str[at])) {
        at++;
    }
    return at;
}

static size_t count_characters(const GString *text, size_t from, size_t to)
{
    size_t n = 0;

    for (; from < to; from = after(text, from)) {
        n++;
    }
    return n;
}

static size_t word_before(const GString *text, size_t at)
{
    while (at > 0 && g_ascii_isspace(text->str[at - 1])) {
        at--;
    }
    while (at > 0 && !g_ascii_isspace(text->str[at - 1])) {
        at--;
    }
    return at;
}

static size_t word_after(const GString *text, size_t at)
{
    while (at < text->len && g_ascii_isspace(text->str[at])) {
        at++;
    }
    while (at < text->len && !g_ascii_isspace(text->str[at])) {
        at++;
    }
    return at;
}

/* ---- The terminal ---- */

static void move_screen_cursor(struct readline *rl, size_t to)
{
    if (to < rl->screen_cursor) {
        g_string_append_printf(rl->out, "\033[%zuD",
                               count_characters(rl->screen, to, rl->screen_cursor));
    } else {
        g_string_append_len(rl->out, rl->screen->str + rl->screen_cursor,
                            (gssize)(to - rl->screen_cursor));
    }
    rl->screen_cursor = to;
}

static size_t same_beginning(const GString *a, const GString *b)
{
    size_t same = 0;

    while (same < a->len && same < b->len && a->str[same] == b->str[same]) {
        same++;
    }
    while (same > 0 && (is_continuation(a->str[same]) || is_continuation(b->str[same]))) {
        same--;
    }
    return same;
}

/*
 * Makes the terminal show the line, with as little as possible: what is typed at the end is
 * echoed.
 */
static void update_screen(struct readline *rl)
{
    size_t same = same_beginning(rl->screen, rl->line);

    if (same < rl->screen->len || same < rl->line->len) {
        move_screen_cursor(rl, same);
        g_string_append(rl->out, rl->line->str + same);
        if (count_characters(rl->screen, same, rl->screen->len) >
            count_characters(rl->line, same, rl->line->len)) {
            g_string_append(rl->out, "\033[K");
        }
        g_string_assign(rl->screen, rl->line->str);
        rl->screen_cursor = rl->screen->len;
    }
    move_screen_cursor(rl, rl->cursor);
}

static void show_prompt(struct readline *rl)
{
    g_string_append(rl->out, rl->prompt);
    g_string_truncate(rl->screen, 0);
    rl->screen_cursor = 0;
    update_screen(rl);
}

/* Leaves the line behind. */
static void new_line(struct readline *rl)
{
    rl->cursor = rl->line->len;
    update_screen(rl);
    g_string_append_c(rl->out, '\n');
}

static void send(struct readline *rl)
{
    if (rl->out->len) {
        rl->ops->write(rl->opaque, rl->out->str);
        g_string_truncate(rl->out, 0);
    }
}

/* ---- Editing ---- */

static void insert(struct readline *rl, const char *text, size_t size)
{
    if (rl->line->len + size <= MAX_LINE) {
        g_string_insert_len(rl->line, (gssize)rl->cursor, text, (gssize)size);
        rl->cursor += size;
    }
}

static void erase(struct readline *rl, size_t from, size_t to)
{
    g_string_erase(rl->line, (gssize)from, (gssize)(to - from));
    rl->cursor = from;
}

static void kill_text(struct readline *rl, size_t from, size_t to)
{
    g_string_truncate(rl->killed, 0);
    g_string_append_len(rl->killed, rl->line->str + from, (gssize)(to - from));
    erase(rl, from, to);
}

static void set_line(struct readline *rl, const char *text)
{
    g_string_assign(rl->line, text);
    rl->cursor = rl->line->len;
}

static void recall(struct readline *rl, GList *entry)
{
    if (!rl->recalled) {
        g_free(rl->unfinished);
        rl->unfinished = g_strdup(rl->line->str);
    }
    rl->recalled = entry;
    set_line(rl, entry ? entry->data : rl->unfinished);
}

static void recall_older(struct readline *rl)
{
    GList *entry = rl->recalled ? rl->recalled->prev : rl->history.tail;

    if (entry) {
        recall(rl, entry);
    }
}

static void recall_newer(struct readline *rl)
{
    if (rl->recalled) {
        recall(rl, rl->recalled->next);
    }
}

static void remember(struct readline *rl)
{
    if (!rl->line->len ||
        (rl->history.tail && g_str_equal(rl->history.tail->data, rl->line->str))) {
        return;
    }
    g_queue_push_tail(&rl->history, g_strdup(rl->line->str));
    if (rl->history.length > MAX_HISTORY) {
        g_free(g_queue_pop_head(&rl->history));
    }
}

static void clear_line(struct readline *rl)
{
    g_string_truncate(rl->line, 0);
    rl->cursor = 0;
    rl->recalled = NULL;
    g_clear_pointer(&rl->unfinished, g_free);
}

/* ---- Completion ---- */

static size_t common_prefix(const GPtrArray *candidates)
{
    const char *first = candidates->pdata[0];
    size_t length = strlen(first);

    for (guint i = 1; i < candidates->len; i++) {
        const char *text = candidates->pdata[i];
        size_t same = 0;

        while (same < length && text[same] == first[same]) {
            same++;
        }
        length = same;
    }
    return length;
}

static void list_candidates(struct readline *rl, const GPtrArray *candidates)
{
    size_t width = 1, column = 0;

    for (guint i = 0; i < candidates->len; i++) {
        width = MAX(width, strlen(candidates->pdata[i]) + 2);
    }
    update_screen(rl);
    g_string_append_c(rl->out, '\n');
    for (guint i = 0; i < candidates->len; i++) {
        bool last = i + 1 == candidates->len || column + 2 * width > COLUMNS;

        g_string_append_printf(rl->out, "%-*s", last ? 0 : (int)width,
                               (char *)candidates->pdata[i]);
        column += width;
        if (last) {
            g_string_append_c(rl->out, '\n');
            column = 0;
        }
    }
    show_prompt(rl);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void complete(struct readline *rl)
{
    g_autoptr(GPtrArray) candidates = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *text = g_strndup(rl->line->str, rl->cursor);
    size_t start = rl->ops->complete(rl->opaque, text, candidates);
    size_t have = rl->cursor - start, prefix;

    if (!candidates->len) {
        return;
    }
    g_ptr_array_sort(candidates, compare);
    prefix = common_prefix(candidates);
    if (prefix > have) {
        insert(rl, (char *)candidates->pdata[0] + have, prefix - have);
    } else if (candidates->len > 1) {
        list_candidates(rl, candidates);
    }
    if (candidates->len == 1 && rl->cursor == rl->line->len) {
        insert(rl, " ", 1);
    }
}

/* ---- Keys ---- */

static void end_line(struct readline *rl)
{
    g_autofree char *line = g_strdup(rl->line->str);

    new_line(rl);
    remember(rl);
    clear_line(rl);
    send(rl);
    rl->ops->line(rl->opaque, line);
}

#define CTRL(key) ((key)&0x1f)

static void control_key(struct readline *rl, uint8_t key)
{
    switch (key) {
    case CTRL('a'): rl->cursor = 0; break;
    case CTRL('b'): rl->cursor = before(rl->line, rl->cursor); break;
    case CTRL('c'):
        new_line(rl);
        clear_line(rl);
        show_prompt(rl);
        break;
    case CTRL('d'): erase(rl, rl->cursor, after(rl->line, rl->cursor)); break;
    case CTRL('e'): rl->cursor = rl->line->len; break;
    case CTRL('f'): rl->cursor = after(rl->line, rl->cursor); break;
    case CTRL('h'):
    case 0x7f: erase(rl, before(rl->line, rl->cursor), rl->cursor); break;
    case CTRL('i'): complete(rl); break;
    case CTRL('k'): kill_text(rl, rl->cursor, rl->line->len); break;
    case CTRL('l'):
        g_string_append(rl->out, "\033[H\033[J");
        show_prompt(rl);
        break;
    case CTRL('n'): recall_newer(rl); break;
    case CTRL('p'): recall_older(rl); break;
    case CTRL('u'): kill_text(rl, 0, rl->cursor); break;
    case CTRL('w'): kill_text(rl, word_before(rl->line, rl->cursor), rl->cursor); break;
    case CTRL('y'): insert(rl, rl->killed->str, rl->killed->len); break;
    case 0x1b: rl->state = STATE_ESCAPE; break;
    default: break;
    }
}

static void meta_key(struct readline *rl, uint8_t key)
{
    switch (key) {
    case 'b': rl->cursor = word_before(rl->line, rl->cursor); break;
    case 'f': rl->cursor = word_after(rl->line, rl->cursor); break;
    case 'd': kill_text(rl, rl->cursor, word_after(rl->line, rl->cursor)); break;
    case 0x7f: kill_text(rl, word_before(rl->line, rl->cursor), rl->cursor); break;
    default: break;
    }
}

/* The end of ESC [ ... or ESC O. */
static void cursor_key(struct readline *rl, uint8_t key)
{
    /* Keys of VT terminals have numbers: ESC [ 3 ~ is Delete. */
    static const char numbered[] = {[1] = 'H', [3] = '~', [4] = 'F', [7] = 'H', [8] = 'F'};

    if (key == '~') {
        key = rl->parameter < sizeof(numbered) ? (uint8_t)numbered[rl->parameter] : 0;
    }
    switch (key) {
    case 'A': recall_older(rl); break;
    case 'B': recall_newer(rl); break;
    case 'C': rl->cursor = after(rl->line, rl->cursor); break;
    case 'D': rl->cursor = before(rl->line, rl->cursor); break;
    case 'F': rl->cursor = rl->line->len; break;
    case 'H': rl->cursor = 0; break;
    case '~': erase(rl, rl->cursor, after(rl->line, rl->cursor)); break;
    default: break;
    }
}

static void normal_key(struct readline *rl, uint8_t key)
{
    if (key < ' ' || key == 0x7f) {
        control_key(rl, key);
    } else {
        char c = (char)key;

        insert(rl, &c, 1);
    }
}

static void handle_key(struct readline *rl, uint8_t key)
{
    switch (rl->state) {
    case STATE_NORMAL: normal_key(rl, key); break;
    case STATE_ESCAPE:
        rl->parameter = 0;
        if (key == '[') {
            rl->state = STATE_CSI;
        } else if (key == 'O') {
            rl->state = STATE_SS3;
        } else if (key != 0x1b) {
            rl->state = STATE_NORMAL;
            meta_key(rl, key);
        }
        break;
    case STATE_CSI:
        if (g_ascii_isdigit(key)) {
            rl->parameter = MIN(rl->parameter * 10 + key - '0', 1000);
        } else if (key == ';') {
            rl->parameter = 0;
        } else if (key >= 0x40) {
            rl->state = STATE_NORMAL;
            cursor_key(rl, key);
        }
        break;
    case STATE_SS3:
        rl->state = STATE_NORMAL;
        cursor_key(rl, key);
        break;
    }
}

size_t readline_feed(struct readline *rl, const uint8_t *data, size_t size)
{
    size_t used = 0;

    while (used < size) {
        uint8_t key = data[used++];
        bool second = key == '\n' && rl->after_cr;

        rl->after_cr = key == '\r';
        if (second) {
            continue;
        }
        if (key == '\r' || key == '\n') {
            rl->state = STATE_NORMAL;
            end_line(rl);
            return used;
        }
        handle_key(rl, key);
    }
    update_screen(rl);
    send(rl);
    return used;
}

void readline_show_prompt(struct readline *rl)
{
    show_prompt(rl);
    send(rl);
}

bool readline_is_empty(const struct readline *rl)
{
    return !rl->line->len;
}

void readline_reset(struct readline *rl)
{
    clear_line(rl);
    g_queue_clear_full(&rl->history, g_free);
    g_string_truncate(rl->killed, 0);
    g_string_truncate(rl->out, 0);
    g_string_truncate(rl->screen, 0);
    rl->screen_cursor = 0;
    rl->state = STATE_NORMAL;
    rl->after_cr = false;
}

const GQueue *readline_history(const struct readline *rl)
{
    return &rl->history;
}

struct readline *readline_new(const char *prompt, const struct readline_ops *ops, void *opaque)
{
    struct readline *rl = g_new0(struct readline, 1);

    rl->ops = ops;
    rl->opaque = opaque;
    rl->prompt = g_strdup(prompt);
    rl->line = g_string_new(NULL);
    rl->screen = g_string_new(NULL);
    rl->out = g_string_new(NULL);
    rl->killed = g_string_new(NULL);
    g_queue_init(&rl->history);
    return rl;
}

void readline_free(struct readline *rl)
{
    g_queue_clear_full(&rl->history, g_free);
    g_string_free(rl->line, TRUE);
    g_string_free(rl->screen, TRUE);
    g_string_free(rl->out, TRUE);
    g_string_free(rl->killed, TRUE);
    g_free(rl->unfinished);
    g_free(rl->prompt);
    g_free(rl);
}
