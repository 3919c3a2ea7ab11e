/* What the tools print: sizes, JSON, snapshots, progress. */
#include "cli/img.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

char *img_human_size(uint64_t bytes)
{
    static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    double value = (double)bytes;
    unsigned i = 0;

    /* A number never has four digits before its unit. */
    while (value >= 1000 && i + 1 < G_N_ELEMENTS(units)) {
        value /= 1024;
        i++;
    }
    return g_strdup_printf("%0.3g %sB", value, units[i]);
}

/* ---- JSON ---- */

enum { BUCKETS = 512 };

/* Tools compare whole texts, so members come in the order of the hash table that they first came
 * from. */
static uint32_t bucket(const char *key)
{
    uint32_t value = 0x238f13af * (uint32_t)strlen(key);

    for (uint32_t i = 0; key[i]; i++) {
        value += (uint32_t)(uint8_t)key[i] << (i * 5 % 24);
    }
    return (1103515243 * value + 12345) % BUCKETS;
}

const char **img_member_order(json_object *object)
{
    const char **keys = g_new0(const char *, (gsize)json_object_object_length(object) + 1);
    size_t n = 0;

    json_object_object_foreach(object, key, value)
    {
        size_t at = 0;

        (void)value;
        /* Of two in one bucket the later one comes first. */
        while (at < n && bucket(keys[at]) < bucket(key)) {
            at++;
        }
        memmove(keys + at + 1, keys + at, (n - at) * sizeof(*keys));
        keys[at] = key;
        n++;
    }
    return keys;
}

static void print_value(FILE *out, json_object *value, int depth);

static void print_object(FILE *out, json_object *value, int depth)
{
    g_autofree const char **keys = img_member_order(value);

    fputs("{\n", out);
    for (size_t i = 0; keys[i]; i++) {
        g_autoptr(json_object) name = json_object_new_string(keys[i]);
        g_autofree char *text = json_print(name, false);

        fprintf(out, "%*s%s: ", (depth + 1) * 4, "", text);
        print_value(out, json_object_object_get(value, keys[i]), depth + 1);
        fputs(keys[i + 1] ? ",\n" : "\n", out);
    }
    fprintf(out, "%*s}", depth * 4, "");
}

static void print_value(FILE *out, json_object *value, int depth)
{
    g_autofree char *text = NULL;

    if (json_object_is_type(value, json_type_object)) {
        print_object(out, value, depth);
    } else if (json_object_is_type(value, json_type_array)) {
        size_t n = json_object_array_length(value);

        fputs("[\n", out);
        for (size_t i = 0; i < n; i++) {
            fprintf(out, "%*s", (depth + 1) * 4, "");
            print_value(out, json_object_array_get_idx(value, i), depth + 1);
            fputs(i + 1 < n ? ",\n" : "\n", out);
        }
        fprintf(out, "%*s]", depth * 4, "");
    } else {
        text = json_print(value, false);
        fputs(text, out);
    }
}

void img_print_json(FILE *out, json_object *value)
{
    print_value(out, value, 0);
    fputc('\n', out);
}

/* ---- Snapshots ---- */

void img_print_snapshots(FILE *out, const struct qapi_snapshot_info_list *list)
{
    fprintf(out, "%-7s %-16s %8s %19s %15s %10s\n", "ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK",
            "ICOUNT");
    for (size_t i = 0; i < list->n; i++) {
        const struct qapi_snapshot_info *s = &list->v[i];
        g_autoptr(GDateTime) date = g_date_time_new_from_unix_local(s->date_sec);
        g_autofree char *day =
            date ? g_date_time_format(date, "%Y-%m-%d %H:%M:%S") : g_strdup("--");
        g_autofree char *size = img_human_size((uint64_t)s->vm_state_size), *clock = NULL,
                        *icount = NULL;
        int64_t seconds = s->vm_clock_sec;

        clock =
            g_strdup_printf("%04d:%02d:%02d.%03d", (int)(seconds / 3600), (int)(seconds / 60 % 60),
                            (int)(seconds % 60), (int)(s->vm_clock_nsec / 1000000));
        icount = s->has_icount ? g_strdup_printf("%" G_GINT64_FORMAT, s->icount) : g_strdup("--");
        fprintf(out, "%-7s %-16s %8s %19s %15s %10s\n", s->id, s->name, size, day, clock, icount);
    }
}

/* ---- Progress ---- */

struct img_progress {
    bool on, tty;
    uint64_t total, done;
    double shown;        /* percent */
    int64_t start, last; /* microseconds */
    int signals;         /* a signalfd, or -1 */
};

enum { TTY_INTERVAL = 200000 };

static double percent(const struct img_progress *p)
{
    return p->total ? MIN(100.0 * (double)p->done / (double)p->total, 100) : 0;
}

static void show(struct img_progress *p)
{
    int64_t now = g_get_monotonic_time(), left;
    double seconds = (double)(now - p->start) / 1e6;

    p->shown = percent(p);
    p->last = now;
    printf("    (%3.2f/100%%)", p->shown);
    if (p->tty && p->done && seconds > 0) {
        double rate = (double)p->done / seconds;
        g_autofree char *text = img_human_size((uint64_t)rate);

        left = (int64_t)((double)(p->total - MIN(p->done, p->total)) / rate);
        printf("  %s/s  %d:%02d left\033[K", text, (int)(left / 60), (int)(left % 60));
    }
    putchar('\r');
    fflush(stdout);
}

static void on_signal(void *opaque)
{
    struct img_progress *p = opaque;
    struct signalfd_siginfo info;

    if (read(p->signals, &info, sizeof(info)) == sizeof(info) && !p->on) {
        show(p);
        putchar('\n');
        fflush(stdout);
    }
}

void img_progress_start(struct img *img, bool on, uint64_t total)
{
    struct img_progress *p = img->progress = g_new0(struct img_progress, 1);
    sigset_t set;

    *p = (struct img_progress){
        .on = on,
        .tty = isatty(STDOUT_FILENO),
        .total = total,
        .start = g_get_monotonic_time(),
        .signals = -1,
    };
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    p->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (p->signals >= 0) {
        event_loop_watch(img->loop, p->signals, on_signal, NULL, p);
    }
    if (on) {
        show(p);
    }
}

void img_progress_total(struct img *img, uint64_t total)
{
    img->progress->total = total;
}

void img_progress_add(struct img *img, uint64_t work)
{
    struct img_progress *p = img->progress;

    p->done += work;
    if (!p->on) {
        return;
    }
    /* A line for each percent, or as fast as somebody can read who sees it. */
    if (p->tty ? g_get_monotonic_time() - p->last >= TTY_INTERVAL : percent(p) - p->shown >= 1) {
        show(p);
    }
}

void img_progress_end(struct img *img, bool done)
{
    struct img_progress *p = g_steal_pointer(&img->progress);

    if (!p) {
        return;
    }
    if (p->signals >= 0) {
        event_loop_watch(img->loop, p->signals, NULL, NULL, NULL);
        close(p->signals);
    }
    if (p->on) {
        if (done) {
            p->done = p->total = MAX(p->total, 1);
            p->tty = false;
            show(p);
        }
        putchar('\n');
    }
    g_free(p);
}
