/*
 * The guest's vDSO: mapping it, and running its time functions in Nandu, which has them from the
 * host's vDSO, so that they make no system call.
 */
#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

#include "linux_user/load.h"
#include "linux_user/mm.h"

/* ---- Functions ---- */

/* Registers by the RISC-V ELF psABI. */
enum { RISCV_RA = 1, RISCV_A0 = 10, RISCV_A1 = 11 };

static struct lu_process *process_of(const struct vcpu *cpu)
{
    return ((struct lu_thread *)cpu->owner)->process;
}

/* Store [size] bytes for the guest, unless its pointer is NULL; 0 or -EFAULT. */
static int64_t put(const struct vcpu *cpu, uint64_t to, const void *from, size_t size)
{
    return to ? lu_copy_to_guest(process_of(cpu), to, from, size) : 0;
}

static uint64_t vdso_clock_gettime(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct timespec now;
    int64_t result;

    (void)a, (void)b, (void)c, (void)d;
    if (clock_gettime((clockid_t)cpu->r[RISCV_A0], &now) < 0) {
        result = -errno;
    } else {
        result = lu_copy_to_guest(process_of(cpu), cpu->r[RISCV_A1], &now, sizeof(now));
    }
    cpu->r[RISCV_A0] = (uint64_t)result;
    return 0;
}

static uint64_t vdso_clock_getres(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct timespec resolution;
    int64_t result;

    (void)a, (void)b, (void)c, (void)d;
    if (clock_getres((clockid_t)cpu->r[RISCV_A0], &resolution) < 0) {
        result = -errno;
    } else {
        result = put(cpu, cpu->r[RISCV_A1], &resolution, sizeof(resolution));
    }
    cpu->r[RISCV_A0] = (uint64_t)result;
    return 0;
}

static uint64_t vdso_gettimeofday(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct timeval now;
    struct timezone zone;
    int64_t result;

    (void)a, (void)b, (void)c, (void)d;
    if (gettimeofday(&now, &zone) < 0) {
        result = -errno;
    } else {
        result = put(cpu, cpu->r[RISCV_A0], &now, sizeof(now));
        if (result == 0) {
            result = put(cpu, cpu->r[RISCV_A1], &zone, sizeof(zone));
        }
    }
    cpu->r[RISCV_A0] = (uint64_t)result;
    return 0;
}

static uint64_t vdso_getcpu(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    unsigned number, node;
    int64_t result;

    (void)a, (void)b, (void)c, (void)d;
    if (getcpu(&number, &node) < 0) {
        result = -errno;
    } else {
        result = put(cpu, cpu->r[RISCV_A0], &number, sizeof(number));
        if (result == 0) {
            result = put(cpu, cpu->r[RISCV_A1], &node, sizeof(node));
        }
    }
    cpu->r[RISCV_A0] = (uint64_t)result;
    return 0;
}

static const struct {
    const char *symbol;
    struct ir_helper helper;
} riscv_intrinsics[] = {
    {"__vdso_clock_gettime", {"vdso_clock_gettime", vdso_clock_gettime, IR_HELPER_SYNC}},
    {"__vdso_clock_getres", {"vdso_clock_getres", vdso_clock_getres, IR_HELPER_SYNC}},
    {"__vdso_gettimeofday", {"vdso_gettimeofday", vdso_gettimeofday, IR_HELPER_SYNC}},
    {"__vdso_getcpu", {"vdso_getcpu", vdso_getcpu, IR_HELPER_SYNC}},
};

/* ---- The image ---- */

/* Value of a symbol in the dynamic symbol table of [image], which is part of Nandu; 0: none. */
static uint64_t find_symbol(const uint8_t *image, const char *name)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)image;
    const Elf64_Phdr *phdrs = (const Elf64_Phdr *)(image + header->e_phoff);
    const Elf64_Sym *symbols = NULL;
    const uint32_t *hash = NULL;
    const char *strings = NULL;

    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (phdrs[i].p_type != PT_DYNAMIC) {
            continue;
        }
        for (const Elf64_Dyn *d = (const Elf64_Dyn *)(image + phdrs[i].p_offset);
             d->d_tag != DT_NULL; d++) {
            const uint8_t *at = image + d->d_un.d_ptr; /* linked at 0 */

            switch (d->d_tag) {
            case DT_SYMTAB: symbols = (const Elf64_Sym *)at; break;
            case DT_STRTAB: strings = (const char *)at; break;
            case DT_HASH: hash = (const uint32_t *)at; break;
            default: break;
            }
        }
    }
    if (!symbols || !strings || !hash) {
        return 0;
    }
    for (uint32_t i = 0; i < hash[1]; i++) {
        if (strcmp(strings + symbols[i].st_name, name) == 0) {
            return symbols[i].st_value;
        }
    }
    return 0;
}

bool lu_map_vdso(struct lu_process *p, GError **error)
{
    const struct lu_abi *abi = p->abi;
    int64_t at, ret;

    if (!abi->vdso) {
        return true;
    }
    at = lu_mmap(p, 0, abi->vdso_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ret = at;
    if (at >= 0) {
        ret = lu_copy_to_guest(p, (uint64_t)at, abi->vdso, abi->vdso_size);
    }
    if (ret >= 0) {
        ret = lu_mprotect(p, (uint64_t)at, abi->vdso_size, PROT_READ | PROT_EXEC);
    }
    if (ret < 0) {
        g_set_error(error, LU_LOAD_ERROR, LU_LOAD_CANT_EXECUTE, "can't map the vDSO: %s",
                    g_strerror((int)-ret));
        return false;
    }
    p->vdso_base = (uint64_t)at;
    p->vdso_sigreturn = p->vdso_base + find_symbol(abi->vdso, "__vdso_rt_sigreturn");
    return true;
}

void lu_vdso_add_intrinsics(struct lu_process *p)
{
    if (!p->vdso_base) {
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(riscv_intrinsics); i++) {
        uint64_t offset = find_symbol(p->abi->vdso, riscv_intrinsics[i].symbol);

        if (offset) {
            dbt_add_intrinsic(p->dbt, p->vdso_base + offset, &riscv_intrinsics[i].helper, RISCV_RA);
        }
    }
}
