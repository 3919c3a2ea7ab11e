/*
 * System calls of RISC-V: riscv_hwprobe and riscv_flush_icache.
 * Linux, Documentation/arch/riscv/hwprobe.rst as of 6.12.
 */
#include "linux_user/sys.h"

#include <sched.h>
#include <string.h>

#include "guest/riscv/riscv.h"
#include "linux_user/mm.h"

/* ---- riscv_hwprobe ---- */

enum hwprobe_key {
    KEY_MVENDORID,
    KEY_MARCHID,
    KEY_MIMPID,
    KEY_BASE_BEHAVIOR,
    KEY_IMA_EXT_0,
    KEY_CPUPERF_0,
    KEY_ZICBOZ_BLOCK_SIZE,
    KEY_HIGHEST_VIRT_ADDRESS,
    KEY_TIME_CSR_FREQ,
    KEY_MISALIGNED_SCALAR_PERF,
};

enum {
    BASE_BEHAVIOR_IMA = 1,
    IMA_FD = 0,
    IMA_C = 1,
    MISALIGNED_FAST = 3,
    ZICBOZ_BLOCK = 64,           /* bytes */
    TIME_FREQUENCY = 1000000000, /* of the time register: nanoseconds */
    WHICH_CPUS = 1,
};

struct hwprobe_pair {
    int64_t key;
    uint64_t value;
};

/* Bits of KEY_IMA_EXT_0. */
static const struct {
    uint8_t bit;
    uint8_t ext;
} ima_extensions[] = {
    {3, RISCV_EXT_ZBA},     {4, RISCV_EXT_ZBB},        {5, RISCV_EXT_ZBS},
    {6, RISCV_EXT_ZICBOZ},  {7, RISCV_EXT_ZBC},        {8, RISCV_EXT_ZBKB},
    {9, RISCV_EXT_ZBKC},    {10, RISCV_EXT_ZBKX},      {11, RISCV_EXT_ZKND},
    {12, RISCV_EXT_ZKNE},   {13, RISCV_EXT_ZKNH},      {14, RISCV_EXT_ZKSED},
    {15, RISCV_EXT_ZKSH},   {16, RISCV_EXT_ZKT},       {27, RISCV_EXT_ZFH},
    {28, RISCV_EXT_ZFHMIN}, {29, RISCV_EXT_ZIHINTNTL}, {32, RISCV_EXT_ZFA},
    {34, RISCV_EXT_ZACAS},  {35, RISCV_EXT_ZICOND},    {36, RISCV_EXT_ZIHINTPAUSE},
    {42, RISCV_EXT_ZIMOP},  {44, RISCV_EXT_ZCB},       {47, RISCV_EXT_ZCMOP},
    {48, RISCV_EXT_ZAWRS},  {43, RISCV_EXT_ZCA},       {45, RISCV_EXT_ZCD},
};

static uint64_t extension_bits(const struct riscv_model *model)
{
    bool fd = riscv_has(model, RISCV_EXT_F) && riscv_has(model, RISCV_EXT_D);
    bool c = riscv_has(model, RISCV_EXT_C);
    uint64_t bits = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(ima_extensions); i++) {
        if (riscv_has(model, ima_extensions[i].ext)) {
            bits |= UINT64_C(1) << ima_extensions[i].bit;
        }
    }
    bits |= fd ? UINT64_C(1) << IMA_FD : 0;
    bits |= c ? UINT64_C(1) << IMA_C : 0;
    return bits;
}

/* Value of a key; false if it isn't known. All CPUs of a process are alike. */
static bool probe(const struct lu_process *p, int64_t key, uint64_t *value)
{
    const struct riscv_model *model = p->model;

    switch (key) {
    case KEY_MVENDORID:
    case KEY_MARCHID:
    case KEY_MIMPID: *value = 0; return true;
    case KEY_BASE_BEHAVIOR:
        *value =
            riscv_has(model, RISCV_EXT_M) && riscv_has(model, RISCV_EXT_A) ? BASE_BEHAVIOR_IMA : 0;
        return true;
    case KEY_IMA_EXT_0: *value = extension_bits(model); return true;
    case KEY_CPUPERF_0:
    case KEY_MISALIGNED_SCALAR_PERF: *value = MISALIGNED_FAST; return true;
    case KEY_ZICBOZ_BLOCK_SIZE:
        *value = riscv_has(model, RISCV_EXT_ZICBOZ) ? ZICBOZ_BLOCK : 0;
        return true;
    case KEY_HIGHEST_VIRT_ADDRESS: *value = p->abi->task_size - 1; return true;
    case KEY_TIME_CSR_FREQ: *value = TIME_FREQUENCY; return true;
    default: return false;
    }
}

static bool is_bitmask(int64_t key)
{
    return key == KEY_BASE_BEHAVIOR || key == KEY_IMA_EXT_0 || key == KEY_CPUPERF_0;
}

static int put_pair(const struct lu_process *p, uint64_t addr, const struct hwprobe_pair *pair)
{
    return lu_copy_to_guest(p, addr, pair, sizeof(*pair));
}

/* Values of the keys. */
static int64_t get_values(const struct lu_process *p, const uint64_t a[6])
{
    for (uint64_t i = 0; i < a[1]; i++) {
        uint64_t addr = a[0] + i * sizeof(struct hwprobe_pair);
        struct hwprobe_pair pair;

        if (lu_copy_from_guest(p, &pair, addr, sizeof(pair)) != 0) {
            return -EFAULT;
        }
        if (!probe(p, pair.key, &pair.value)) {
            pair = (struct hwprobe_pair){-1, 0};
        }
        if (put_pair(p, addr, &pair) != 0) {
            return -EFAULT;
        }
    }
    return 0;
}

/* RISCV_HWPROBE_WHICH_CPUS: do the CPUs have the values? Keys that aren't known become -1. */
static int64_t match_values(const struct lu_process *p, const uint64_t a[6], bool *match)
{
    *match = true;
    for (uint64_t i = 0; i < a[1]; i++) {
        uint64_t addr = a[0] + i * sizeof(struct hwprobe_pair), value;
        struct hwprobe_pair pair;

        if (lu_copy_from_guest(p, &pair, addr, sizeof(pair)) != 0) {
            return -EFAULT;
        }
        if (!probe(p, pair.key, &value)) {
            pair = (struct hwprobe_pair){-1, 0};
            *match = false;
            if (put_pair(p, addr, &pair) != 0) {
                return -EFAULT;
            }
        } else if (is_bitmask(pair.key) ? (pair.value & value) != pair.value
                                        : pair.value != value) {
            *match = false;
        }
    }
    return 0;
}

/* a: pairs, number of pairs, bytes of the CPU set, CPU set, flags */
int64_t sys_riscv_hwprobe(struct lu_thread *t, const uint64_t a[6])
{
    const struct lu_process *p = t->process;
    cpu_set_t online, set;
    uint64_t size = MIN(a[2], sizeof(set));
    bool match;
    int64_t result;

    if (a[4] & ~(uint64_t)WHICH_CPUS) {
        return -EINVAL;
    }
    if (a[4] == 0 && a[2] == 0 && a[3] == 0) {
        return get_values(p, a);
    }
    CPU_ZERO(&online);
    for (long i = 0, n = sysconf(_SC_NPROCESSORS_ONLN); i < n && i < CPU_SETSIZE; i++) {
        CPU_SET(i, &online);
    }
    CPU_ZERO(&set);
    if (a[4] && (a[2] == 0 || a[3] == 0)) {
        return -EINVAL;
    }
    if (lu_copy_from_guest(p, &set, a[3], size) != 0) {
        return -EFAULT;
    }
    CPU_AND(&set, &set, &online);
    if (a[4] == 0) {
        return CPU_COUNT(&set) ? get_values(p, a) : -EINVAL;
    }
    if (CPU_COUNT(&set) == 0) {
        set = online;
    }
    result = match_values(p, a, &match);
    if (result) {
        return result;
    }
    if (!match) {
        CPU_ZERO(&set);
    }
    return lu_copy_to_guest(p, a[3], &set, size);
}

/* ---- riscv_flush_icache ---- */

/* a: start, end, flags (1: this thread only). Code is the same for all threads here, so that it is
 * always done for all. */
int64_t sys_riscv_flush_icache(struct lu_thread *t, const uint64_t a[6])
{
    if (a[2] & ~UINT64_C(1)) {
        return -EINVAL;
    }
    if (a[0] < a[1]) {
        dbt_invalidate(t->process->dbt, a[0], a[1] - a[0]);
        lu_mm_code_written(t->process->mm, a[0], a[1] - a[0]);
    } else {
        dbt_invalidate_unstable(t->process->dbt);
        lu_mm_code_written(t->process->mm, 0, UINT64_MAX);
    }
    return 0;
}
