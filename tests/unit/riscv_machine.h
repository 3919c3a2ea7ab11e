/*
 * A hart with memory, for tests: 16 MiB of RAM at RAM_BASE, a page of ROM, a page of registers that
 * remember what was written, time and nanoseconds that the test sets.
 */
#ifndef NANDU_TEST_RISCV_MACHINE_H
#define NANDU_TEST_RISCV_MACHINE_H

#include <signal.h>
#include <string.h>

#include "dbt/dbt.h"
#include "guest/riscv/system_priv.h"
#include "memory/memory.h"
#include "rv.h"

enum { RAM_BASE = 0x80000000, RAM_SIZE = 16 << 20, ROM_BASE = 0x1000, IO_BASE = 0x10000000 };

struct machine {
    void *signal_stack;
    struct region root, ram, rom, io;
    struct ram_block *ram_block, *rom_block;
    struct address_space *memory;
    struct riscv_model *model;
    struct dbt *dbt;
    struct vcpu *cpu;
    struct riscv_hart *hart;
    uint8_t *host; /* of the RAM */
    uint64_t code; /* where emit puts the next instruction */
    uint64_t io_value;
    uint64_t time, ns, armed, armed_overflow;
    unsigned wakes;
};

static struct machine *running; /* for the signal handler; one thread, one machine at a time */

static uint64_t machine_io_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct machine *)opaque)->io_value + offset;
}

static void machine_io_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    ((struct machine *)opaque)->io_value = value;
}

static const struct region_ops machine_io = {
    .read_simple = machine_io_read,
    .write_simple = machine_io_write,
};

static uint64_t machine_time(void *opaque)
{
    return ((struct machine *)opaque)->time;
}

static uint64_t machine_ns(void *opaque)
{
    return ((struct machine *)opaque)->ns;
}

static void machine_arm(void *opaque, struct vcpu *cpu, uint64_t time)
{
    ((struct machine *)opaque)->armed = time;
}

static void machine_arm_overflow(void *opaque, struct vcpu *cpu, uint64_t ns)
{
    ((struct machine *)opaque)->armed_overflow = ns;
}

static void machine_wake(void *opaque, struct vcpu *cpu)
{
    ((struct machine *)opaque)->wakes++;
}

static void machine_fault(int sig, siginfo_t *info, void *context)
{
    if (!running || !dbt_handle_fault(running->cpu, info, context)) {
        signal(sig, SIG_DFL);
    }
}

static struct machine *machine_new(const char *cpu, bool interpreter)
{
    struct machine *m = g_new0(struct machine, 1);
    GError *error = NULL;
    struct dbt_config dbt_config = {
        .arch = &riscv64_system_arch,
        .mmu = &riscv_system_mmu_ops,
        .interpreter = interpreter,
        .cache_size = 4 << 20,
        .verify = true,
    };
    struct riscv_system_config config = {
        .hart_id = 5,
        .reset_pc = RAM_BASE,
        .time = machine_time,
        .nanoseconds = machine_ns,
        .arm_timer = machine_arm,
        .arm_overflow = machine_arm_overflow,
        .wake = machine_wake,
        .opaque = m,
    };
    struct sigaction action = {.sa_sigaction = machine_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t stack = {.ss_sp = m->signal_stack = g_malloc(65536), .ss_size = 65536};

    m->armed = m->armed_overflow = UINT64_MAX;
    region_init_container(&m->root, "system", 0);
    m->ram_block = ram_block_new("ram", RAM_SIZE, &error);
    g_assert_no_error(error);
    m->rom_block = ram_block_new("rom", MMU_PAGE_SIZE, &error);
    g_assert_no_error(error);
    region_init_ram(&m->ram, "ram", m->ram_block, 0, RAM_SIZE);
    region_init_rom(&m->rom, "rom", m->rom_block, 0, MMU_PAGE_SIZE, NULL, NULL, NULL);
    region_init_mmio(&m->io, "io", &machine_io, m, MMU_PAGE_SIZE, NULL);
    region_add(&m->root, RAM_BASE, &m->ram, 0);
    region_add(&m->root, ROM_BASE, &m->rom, 0);
    region_add(&m->root, IO_BASE, &m->io, 0);
    m->memory = address_space_new("memory", &m->root);
    m->host = ram_block_host(m->ram_block);
    m->model = riscv_model_parse_machine(cpu, &error);
    g_assert_no_error(error);
    m->dbt = dbt_new(&dbt_config, &error);
    g_assert_no_error(error);
    m->cpu = dbt_vcpu_new(m->dbt, m->model);
    m->hart = (struct riscv_hart *)m->cpu;
    config.memory = m->memory;
    riscv_system_init(m->cpu, &config);
    m->code = RAM_BASE;
    running = m;
    g_assert_cmpint(sigaltstack(&stack, NULL), ==, 0);
    g_assert_cmpint(sigaction(SIGSEGV, &action, NULL), ==, 0);
    return m;
}

static void machine_free(struct machine *m)
{
    stack_t off = {.ss_flags = SS_DISABLE};

    running = NULL;
    signal(SIGSEGV, SIG_DFL);
    sigaltstack(&off, NULL);
    g_free(m->signal_stack);
    dbt_vcpu_free(m->cpu);
    dbt_free(m->dbt);
    riscv_model_free(m->model);
    address_space_free(m->memory);
    region_remove(&m->ram);
    region_remove(&m->rom);
    region_remove(&m->io);
    region_clear(&m->ram);
    region_clear(&m->rom);
    region_clear(&m->io);
    region_clear(&m->root);
    ram_block_unref(m->ram_block);
    ram_block_unref(m->rom_block);
    g_free(m);
}

/* ---- Memory and programs ---- */

static inline uint64_t *machine_ram(struct machine *m, uint64_t phys)
{
    return (uint64_t *)(void *)(m->host + (phys - RAM_BASE));
}

static inline void emit(struct machine *m, uint32_t insn)
{
    memcpy(m->host + (m->code - RAM_BASE), &insn, sizeof(insn));
    m->code += sizeof(insn);
}

#define CSRRW(rd, csr, rs1)  RV_I(0x73u, 1u, rd, rs1, csr)
#define CSRRS(rd, csr, rs1)  RV_I(0x73u, 2u, rd, rs1, csr)
#define CSRRC(rd, csr, rs1)  RV_I(0x73u, 3u, rd, rs1, csr)
#define CSRRWI(rd, csr, imm) RV_I(0x73u, 5u, rd, imm, csr)
#define CSRRSI(rd, csr, imm) RV_I(0x73u, 6u, rd, imm, csr)
#define CSRRCI(rd, csr, imm) RV_I(0x73u, 7u, rd, imm, csr)
#define MRET                 0x30200073u
#define SRET                 0x10200073u
#define WFI                  0x10500073u
#define SFENCE_VMA(rs1, rs2) RV_R(0x73u, 0u, 0x09u, ZERO, rs1, rs2)
#define CBO(kind, rs1)       (0x200fu | (uint32_t)(rs1) << 15 | (uint32_t)(kind) << 20)

static inline uint64_t csr(struct machine *m, unsigned number)
{
    uint64_t value = 0;

    g_assert_true(riscv_csr_get(m->cpu, number, &value));
    return value;
}

static inline void set_csr(struct machine *m, unsigned number, uint64_t value)
{
    g_assert_true(riscv_csr_set(m->cpu, number, value));
}

/* Runs until the hart is at pc (where there must be an instruction that ends a block, such as
 * ebreak) or has come back often; what riscv_system_handle_exit said last. */
static inline enum riscv_run run_to(struct machine *m, uint64_t pc)
{
    enum riscv_run run = RISCV_RUN_GO_ON;

    for (int i = 0; i < 1000 && m->cpu->pc != pc && run == RISCV_RUN_GO_ON; i++) {
        run = riscv_system_handle_exit(m->cpu, dbt_run(m->cpu));
    }
    return run;
}

#endif
