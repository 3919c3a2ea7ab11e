/*
 * Fuzzer of the ELF loader and of the stack's set-up: each input is a file that is loaded as a
 * guest's program and taken away again. What comes out must be sane: an error with a message, or an
 * image whose entry and stack are the guest's.
 *
 * Built with -Dfuzz=true and Clang it is a libFuzzer program; otherwise main() makes inputs that
 * are a good file with some fields changed:  fuzz_elf [FILE...] | [--runs N] [--seed N]
 */
#include "fuzz.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/riscv/riscv.h"
#include "linux_user/load.h"

enum { MAX_FILE = 1 << 16, N_PHDRS = 4, GOOD_SIZE = 0x3000 };

static struct lu_process *process_new(void)
{
    static const char *const words[] = {"fuzz", "argument", NULL};
    struct lu_options *options = g_new0(struct lu_options, 1);
    struct lu_process *p = g_new0(struct lu_process, 1);
    g_autoptr(GError) error = NULL;

    /* Names of interpreters that an input makes up lead nowhere. */
    options->prefix = "/nonexistent";
    options->cpu = "max";
    p->options = options;
    p->abi = &lu_abi_riscv64;
    p->exec_fd = p->nandu_fd = -1;
    p->guest_argv = g_strdupv((char **)words);
    p->guest_env = g_strdupv((char **)words);
    pthread_mutex_init(&p->lock, NULL);
    pthread_rwlock_init(&p->fork_lock, NULL);
    p->model = riscv_model_parse(options->cpu, &error);
    p->mm = p->model ? lu_mm_new(options, p->abi, &p->guest_base, &error) : NULL;
    if (!p->mm) {
        fprintf(stderr, "fuzz_elf: %s\n", error->message);
        exit(1);
    }
    return p;
}

/* Kept between inputs. */
static struct lu_process *get_process(void)
{
    static struct lu_process *p;

    if (!p) {
        p = process_new();
    }
    return p;
}

/* Unmap all that the guest has. */
static void clean_up(struct lu_process *p)
{
    g_autofree char *maps = lu_mm_maps(p);
    char *line = maps;

    while (line && *line) {
        unsigned long long start, end;

        if (sscanf(line, "%llx-%llx", &start, &end) == 2) {
            lu_munmap(p, start, end - start);
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    g_clear_pointer(&p->exec_path, g_free);
    g_clear_pointer(&p->auxv, g_free);
    if (p->exec_fd >= 0) {
        close(p->exec_fd);
        p->exec_fd = -1;
    }
}

static void bug(const char *what)
{
    fprintf(stderr, "fuzz_elf: %s\n", what);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lu_process *p = get_process();
    struct lu_image image = {0};
    g_autoptr(GError) error = NULL;
    int fd = memfd_create("fuzz_elf", MFD_CLOEXEC);

    if (fd < 0 || size > MAX_FILE || write(fd, data, size) != (ssize_t)size) {
        perror("fuzz_elf: memfd");
        exit(1);
    }
    if (!lu_load_elf(p, fd, "fuzz_elf", &image, &error)) {
        if (!error || !error->message[0] || strchr(error->message, '\n')) {
            bug("no message of one line");
        }
    } else if (!lu_setup_stack(p, &image, &error)) {
        if (!error || !error->message[0]) {
            bug("no message for a stack that can't be made");
        }
    } else if (image.sp % 16 || !lu_access_ok(p, image.sp, 64, LU_READ | LU_WRITE)) {
        bug("a stack that isn't there");
    }
    clean_up(p);
    close(fd);
    return 0;
}

#ifndef NANDU_LIBFUZZER

/* ---- Without libFuzzer ---- */

static void make_good(uint8_t file[GOOD_SIZE])
{
    Elf64_Ehdr *ehdr = (Elf64_Ehdr *)file;
    Elf64_Phdr *phdr = (Elf64_Phdr *)(ehdr + 1);

    memset(file, 0, GOOD_SIZE);
    *ehdr = (Elf64_Ehdr){
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_DYN,
        .e_machine = EM_RISCV,
        .e_version = EV_CURRENT,
        .e_entry = 0x1000,
        .e_phoff = sizeof(*ehdr),
        .e_ehsize = sizeof(*ehdr),
        .e_phentsize = sizeof(*phdr),
        .e_phnum = N_PHDRS,
    };
    phdr[0] = (Elf64_Phdr){.p_type = PT_LOAD,
                           .p_flags = PF_R | PF_X,
                           .p_filesz = 0x1200,
                           .p_memsz = 0x1200,
                           .p_align = 0x1000};
    phdr[1] = (Elf64_Phdr){.p_type = PT_LOAD,
                           .p_flags = PF_R | PF_W,
                           .p_offset = 0x1200,
                           .p_vaddr = 0x2200,
                           .p_filesz = 0x800,
                           .p_memsz = 0x5000,
                           .p_align = 0x1000};
    phdr[2] = (Elf64_Phdr){.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W};
    phdr[3] = (Elf64_Phdr){.p_type = PT_PHDR,
                           .p_offset = sizeof(*ehdr),
                           .p_vaddr = sizeof(*ehdr),
                           .p_filesz = N_PHDRS * sizeof(*phdr),
                           .p_memsz = N_PHDRS * sizeof(*phdr)};
    for (size_t i = 0x1000; i < 0x1200; i += 4) {
        file[i] = 0x13; /* nop */
    }
}

/* Changes some fields of the headers to values that are likely to hurt. */
void fuzz_make_input(uint64_t *state, GByteArray *input)
{
    static const uint64_t values[] = {
        0,          1,          2,          3,          4,
        8,          56,         64,         0xfff,      0x1000,
        0x1001,     0x2000,     0x7fff,     0x10000,    0x7fffffff,
        0x80000000, 0xffffffff, 1ull << 32, 1ull << 40, (1ull << 47) - 0x1000,
        1ull << 47, 1ull << 48, 1ull << 62, INT64_MAX,  1ull << 63,
        -0x1000ull, -0x2000ull, -1ull,      -8ull,
    };
    /* Where the 64-bit and shorter fields of the headers are, and their sizes. */
    static const struct {
        uint16_t at;
        uint8_t size;
    } fields[] = {
        {16, 2}, {18, 2}, {20, 4}, {24, 8}, {32, 8}, {40, 8}, {48, 4}, {52, 2}, {54, 2}, {56, 2},
    };
    unsigned changes = (unsigned)(next_random(state) % 5);
    size_t size = GOOD_SIZE;
    alignas(8) uint8_t file[GOOD_SIZE];

    make_good(file);
    if (next_random(state) % 3 == 0) {
        file[16] = ET_EXEC;
        for (unsigned i = 0; i < 2; i++) {
            file[64 + 56 * i + 18] = 0x10; /* p_vaddr of a fixed program: 0x100000 more */
        }
    }
    for (unsigned i = 0; i < changes; i++) {
        uint64_t r = next_random(state), value = values[r % G_N_ELEMENTS(values)];
        unsigned at, width;

        if (r >> 60 < 4) {
            unsigned k = (r >> 32) % G_N_ELEMENTS(fields);

            at = fields[k].at;
            width = fields[k].size;
        } else {
            unsigned k = (r >> 32) % 8; /* p_type and p_flags have 4 bytes */

            at = 64 + 56 * ((r >> 40) % N_PHDRS) + (k < 2 ? 4 * k : 8 * (k - 1));
            width = k < 2 ? 4 : 8;
            if (k == 0) {
                value = (r >> 50) % 8;
            }
        }
        if (r >> 59 & 1) {
            value += (r >> 20 & 0xf) - 8;
        }
        memcpy(file + at, &value, width);
    }
    if (next_random(state) % 4 == 0) {
        size = next_random(state) % GOOD_SIZE;
    }
    g_byte_array_append(input, file, (guint)size);
}

#endif
