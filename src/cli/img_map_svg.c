/*
 * nandu-img map --image: a picture of an image. Rows of cells from left to right; a cell stands for
 * as many bytes as make the picture fit, and shows the sorts of what is in them side by side, by
 * their shares.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/img_map.h"

enum { COLUMNS = 128, MAX_ROWS = 64, CELL = 8, MARGIN = 16, LINE = 18, MAX_LAYERS = 6 };

/* Sorts of extents: nothing, zeroes, then data and compressed data of each layer; deeper ones share
 * the last. */
enum { UNALLOCATED, ZERO, FIRST_LAYER, N_SORTS = FIRST_LAYER + 2 * MAX_LAYERS };

struct picture {
    uint64_t start, cell; /* bytes; of a cell */
    unsigned n_cells;
    uint64_t (*shares)[N_SORTS]; /* bytes of each sort in each cell */
    uint64_t totals[N_SORTS];
    const struct block_node *layers[MAX_LAYERS];
};

static const char *const layer_colours[MAX_LAYERS] = {
    "#1f6fb4", "#e08214", "#2f9e44", "#8e44ad", "#b5485d", "#7f6a4d",
};

static unsigned sort_of(const struct img_extent *e)
{
    if (e->data && !e->zero) {
        return FIRST_LAYER + 2 * MIN(e->depth, MAX_LAYERS - 1) + e->compressed;
    }
    return e->present && e->zero ? ZERO : UNALLOCATED;
}

static bool take(struct img *img, const struct img_extent *e, bool last, void *opaque)
{
    struct picture *p = opaque;
    unsigned sort = sort_of(e);
    uint64_t offset = e->start - p->start, end = offset + e->length;

    p->totals[sort] += e->length;
    p->layers[MIN(e->depth, MAX_LAYERS - 1)] = e->layer;
    while (offset < end) {
        uint64_t i = offset / p->cell, bytes = MIN(end, (i + 1) * p->cell) - offset;

        p->shares[i][sort] += bytes;
        offset += bytes;
    }
    return true;
}

static void colour(char *text, size_t size, unsigned sort)
{
    if (sort == UNALLOCATED || sort == ZERO) {
        g_strlcpy(text, sort == ZERO ? "#c9ced6" : "#f3f4f6", size);
    } else {
        g_strlcpy(text, layer_colours[(sort - FIRST_LAYER) / 2], size);
    }
}

/* The sort that all of a cell is of; N_SORTS: several. */
static unsigned only_sort(const struct picture *p, unsigned i)
{
    unsigned found = N_SORTS;

    for (unsigned sort = 0; sort < N_SORTS; sort++) {
        if (p->shares[i][sort]) {
            if (found != N_SORTS) {
                return N_SORTS;
            }
            found = sort;
        }
    }
    return found;
}

static void draw_rectangle(FILE *out, unsigned cell, double x, double width, unsigned sort)
{
    char fill[16];

    colour(fill, sizeof(fill), sort);
    fprintf(out, "<rect x=\"%g\" y=\"%u\" width=\"%g\" height=\"%d\" fill=\"%s\"%s/>\n",
            MARGIN + cell % COLUMNS * CELL + x, MARGIN + LINE + cell / COLUMNS * CELL, width,
            CELL - 1, fill,
            sort >= FIRST_LAYER && (sort - FIRST_LAYER) % 2 ? " opacity=\"0.55\"" : "");
}

static void draw_mixed(FILE *out, const struct picture *p, unsigned i)
{
    double x = 0, sum = 0;

    for (unsigned sort = 0; sort < N_SORTS; sort++) {
        sum += (double)p->shares[i][sort];
    }
    for (unsigned sort = 0; sort < N_SORTS; sort++) {
        double width = round((CELL - 1) * 100 * (double)p->shares[i][sort] / sum) / 100;

        if (p->shares[i][sort]) {
            draw_rectangle(out, i, x, width, sort);
            x += width;
        }
    }
}

/* Neighbours in a row that are the same are one rectangle. */
static void draw_cells(FILE *out, const struct picture *p)
{
    for (unsigned i = 0, n; i < p->n_cells; i += n) {
        unsigned sort = only_sort(p, i);

        n = 1;
        if (sort == N_SORTS) {
            draw_mixed(out, p, i);
            continue;
        }
        while (i + n < p->n_cells && (i + n) % COLUMNS && only_sort(p, i + n) == sort) {
            n++;
        }
        draw_rectangle(out, i, 0, n * CELL - 1, sort);
    }
}

static void draw_legend(FILE *out, const struct picture *p, unsigned y)
{
    for (unsigned sort = 0; sort < N_SORTS; sort++) {
        g_autofree char *size = img_human_size(p->totals[sort]), *text = NULL, *escaped = NULL;
        unsigned layer = sort < FIRST_LAYER ? 0 : (sort - FIRST_LAYER) / 2;
        bool packed = sort >= FIRST_LAYER && (sort - FIRST_LAYER) % 2;
        char fill[16];

        if (!p->totals[sort]) {
            continue;
        }
        text = sort == UNALLOCATED ? g_strdup_printf("not allocated: %s", size)
               : sort == ZERO      ? g_strdup_printf("zeroes: %s", size)
                                   : g_strdup_printf("%s in %s: %s", packed ? "compressed" : "data",
                                                     p->layers[layer]->filename, size);
        escaped = g_markup_escape_text(text, -1);
        colour(fill, sizeof(fill), sort);
        fprintf(out,
                "<rect x=\"%d\" y=\"%u\" width=\"12\" height=\"12\" fill=\"%s\"%s/>"
                "<text x=\"%d\" y=\"%u\">%s</text>\n",
                MARGIN, y, fill, packed ? " opacity=\"0.55\"" : "", MARGIN + 18, y + 11, escaped);
        y += LINE;
    }
}

static void draw(FILE *out, const struct picture *p, const char *name, uint64_t bytes)
{
    unsigned rows = (p->n_cells + COLUMNS - 1) / COLUMNS, n_sorts = 0;
    unsigned width = 2 * MARGIN + COLUMNS * CELL, height;
    g_autofree char *size = img_human_size(bytes), *cell = img_human_size(p->cell);
    g_autofree char *title = g_markup_printf_escaped("%s: %s, %s a square", name, size, cell);

    for (unsigned sort = 0; sort < N_SORTS; sort++) {
        n_sorts += p->totals[sort] != 0;
    }
    height = 2 * MARGIN + 2 * LINE + rows * CELL + n_sorts * LINE;
    fprintf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" font-family=\"sans-serif\" "
        "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
        "<text x=\"%d\" y=\"%d\">%s</text>\n",
        width, height, MARGIN, MARGIN + 8, title);
    draw_cells(out, p);
    draw_legend(out, p, MARGIN + 2 * LINE + rows * CELL);
    fputs("</svg>\n", out);
}

bool co_img_map_picture(struct img *img, struct block_user *user, uint64_t start, uint64_t end,
                        const char *path)
{
    const uint64_t bytes = end - start;
    struct picture p = {.start = start, .cell = 512};
    FILE *out;
    bool ok;

    while (bytes / p.cell > COLUMNS * MAX_ROWS) {
        p.cell *= 2;
    }
    p.n_cells = (unsigned)((bytes + p.cell - 1) / p.cell);
    p.shares = g_malloc0_n(MAX(p.n_cells, 1), sizeof(*p.shares));
    if (!co_img_map(img, user, start, end, take, &p)) {
        g_free(p.shares);
        return false;
    }
    out = fopen(path, "w");
    if (out) {
        draw(out, &p, block_user_node(user)->filename, bytes);
    }
    ok = out && !ferror(out);
    ok &= !out || fclose(out) == 0;
    if (!ok) {
        img_fail(img, "Could not write '%s': %s", path, g_strerror(errno));
    }
    g_free(p.shares);
    return ok;
}
