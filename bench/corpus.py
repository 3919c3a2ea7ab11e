"""Makes the benchmarks' input files: always the same bytes, so that results can be compared."""

import os


class Random:
    """A small generator of our own: Python may change its own between versions."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        return (self.state >> 33) % n


SYLLABLES = ("ka to ri men sol ver ing the ab un da lor es ti on pre gra mor en tal is com pu "
             "nan du qui ra ble st of and in").split()


def text(size):
    """Prose-like text: a few thousand words, the first of them much more frequent, in lines."""
    rng = Random(1)
    words = ["the", "of", "and", "to", "in", "is"]
    while len(words) < 3000:
        words.append("".join(SYLLABLES[rng.below(len(SYLLABLES))] for _ in range(1 + rng.below(4))))
    lines, length, line = [], 0, []
    while length < size:
        # The product of two uniform numbers makes small indices frequent, as in language.
        word = words[rng.below(3000) * rng.below(3000) * rng.below(3000) // 9000000]
        line.append(word)
        length += len(word) + 1
        if len(line) > 6 + rng.below(8):
            lines.append(" ".join(line))
            line = []
        if rng.below(400) == 0:
            line.append(str(rng.below(1 << 30)))
    return ("\n".join(lines) + "\n").encode()


def binary(size):
    """Bytes as of a program's data: records with counters, small integers, text and noise."""
    rng = Random(2)
    out = bytearray()
    while len(out) < size:
        n = len(out) // 32
        out += n.to_bytes(4, "little") + rng.below(1000).to_bytes(4, "little")
        out += rng.below(1 << 30).to_bytes(8, "little") + b"rec-%04d\0\0\0" % (n % 10000)
        out += bytes([0, 0, n & 255, 255, 1])
    return bytes(out[:size])


C_PRELUDE = """\
typedef unsigned long size_t;
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;
struct node { struct node *next, *prev; u64 key; char name[24]; u32 flags; };
struct table { struct node *slots[256]; u64 used; int (*compare)(const struct node *, const struct node *); };
extern void *malloc(size_t);
extern void free(void *);
extern int printf(const char *, ...);
extern void *memcpy(void *, const void *, size_t);
extern int strcmp(const char *, const char *);
static inline u64 rotate(u64 x, unsigned n) { return x << n | x >> (64 - n); }
"""

C_TEMPLATES = [
    """
static u64 hash_%(n)d(const u8 *p, size_t len)
{
    u64 a = %(a)dUL, b = %(b)dUL ^ len;
    for (size_t i = 0; i + 8 <= len; i += 8) {
        u64 w;
        memcpy(&w, p + i, 8);
        a = rotate(a ^ w, %(r)d) * 0x9e3779b97f4a7c15UL;
        b += a ^ (b >> %(s)d);
    }
    for (size_t i = len & ~7UL; i < len; i++)
        a = (a ^ p[i]) * %(c)d;
    return a ^ rotate(b, %(s)d);
}
""",
    """
static int parse_%(n)d(const char *s, u64 *out)
{
    enum { START, SIGN, DIGITS, POINT, DONE } state = START;
    u64 value = 0, scale = 1;
    int negative = 0;
    for (; *s; s++) {
        switch (state) {
        case START:
            if (*s == ' ' || *s == '\\t') continue;
            if (*s == '-' || *s == '+') { negative = *s == '-'; state = SIGN; break; }
            /* fall through */
        case SIGN:
            if (*s < '0' || *s > '9') return -%(r)d;
            state = DIGITS;
            /* fall through */
        case DIGITS:
            if (*s == '.') { state = POINT; break; }
            if (*s < '0' || *s > '9') { state = DONE; break; }
            value = value * 10 + (*s - '0');
            if (value > %(a)dUL << %(s)d) return -%(s)d;
            break;
        case POINT:
            if (*s >= '0' && *s <= '9') { scale *= 10; value = value * 10 + (*s - '0'); break; }
            state = DONE;
            break;
        case DONE:
            if (*s != ' ') return -1;
        }
    }
    *out = negative ? -(value / scale) : value / scale %% %(c)d;
    return state == START;
}
""",
    """
static struct node *find_%(n)d(struct table *t, const char *name, u64 key)
{
    struct node **slot = &t->slots[(key * %(c)d + %(a)d) & 255], *n;
    for (n = *slot; n; n = n->next) {
        if (n->key == key && strcmp(n->name, name) == 0) {
            if (n->prev) {
                n->prev->next = n->next;
                if (n->next) n->next->prev = n->prev;
                n->next = *slot;
                (*slot)->prev = n;
                n->prev = 0;
                *slot = n;
            }
            n->flags |= 1u << %(r)d;
            return n;
        }
    }
    if (!(n = malloc(sizeof(*n)))) return 0;
    *n = (struct node){ .next = *slot, .key = key, .flags = %(s)d };
    for (int i = 0; i < 23 && name[i]; i++) n->name[i] = name[i] ^ (%(s)d & i);
    if (*slot) (*slot)->prev = n;
    t->used++;
    return *slot = n;
}
""",
    """
static double blend_%(n)d(const double *x, const float *w, int rows, int cols, double *out)
{
    double total = 0, biggest = -1e300;
    for (int i = 0; i < rows; i++) {
        double sum = %(r)d.0;
        for (int j = 0; j < cols; j++) {
            double v = x[i * cols + j];
            sum += v * w[j] + (j %% %(s)d ? v / (1.0 + v * v) : -v);
        }
        out[i] = sum > %(c)d ? sum / %(b)d : sum;
        if (out[i] > biggest) biggest = out[i];
        total += out[i];
    }
    return total - biggest;
}
""",
    """
static void sort_%(n)d(struct node **v, long lo, long hi, struct table *t)
{
    while (hi - lo > %(r)d) {
        struct node *pivot = v[lo + (hi - lo) / 2];
        long i = lo, j = hi - 1;
        while (i <= j) {
            while (t->compare(v[i], pivot) < 0) i++;
            while (t->compare(v[j], pivot) > 0) j--;
            if (i <= j) { struct node *x = v[i]; v[i++] = v[j]; v[j--] = x; }
        }
        if (j - lo < hi - i) { sort_%(n)d(v, lo, j + 1, t); lo = i; }
        else { sort_%(n)d(v, i, hi, t); hi = j + 1; }
    }
    for (long i = lo + 1; i < hi; i++)
        for (long j = i; j > lo && v[j - 1]->key * %(s)d > v[j]->key * %(s)d; j--) {
            struct node *x = v[j]; v[j] = v[j - 1]; v[j - 1] = x;
        }
}
""",
]


def c_source(functions):
    """A C file, preprocessed and without headers: hashes, parsers, lists, matrices, sorts."""
    rng = Random(3)
    out, calls = [C_PRELUDE], []
    for n in range(functions):
        kind = n % len(C_TEMPLATES)
        out.append(C_TEMPLATES[kind] % {
            "n": n, "a": rng.below(100000), "b": rng.below(100000) + 1, "c": rng.below(1000) * 2 + 3,
            "r": rng.below(30) + 1, "s": rng.below(20) + 2})
        calls.append([
            f"    r += hash_{n}((const u8 *)s, r & 255);",
            f"    r += parse_{n}(s, &out) + out;",
            f"    r ^= find_{n}(t, s, r) != 0;",
            f"    r += blend_{n}(x, w, 8, 16, y);",
            f"    sort_{n}(v, 0, r & 63, t);"][kind])
    out.append("u64 run(struct table *t, const char *s, const double *x, const float *w, double *y, "
               "struct node **v)\n{\n    u64 r = t->used, out = 0;\n" + "\n".join(calls) +
               "\n    return r;\n}\n")
    return "".join(out).encode()


def write(folder, name, make, *args):
    """Writes make(*args) to a file whose name holds the arguments, unless it is there."""
    stem, suffix = os.path.splitext(name)
    path = os.path.join(folder, f"{stem}-{'-'.join(map(str, args))}{suffix}")
    if not os.path.exists(path):
        with open(path + ".part", "wb") as f:
            f.write(make(*args))
        os.rename(path + ".part", path)
    return path
