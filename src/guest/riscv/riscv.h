/*
 * RISC-V guests: state, CPU models, the table that the translator works from.
 * Specifications: RISC-V Unprivileged ISA 20240411, Privileged 20240411, and the extensions'
 * ratified documents.
 */
#ifndef NANDU_GUEST_RISCV_H
#define NANDU_GUEST_RISCV_H

#include <glib.h>

#include "dbt/guest.h"

/* One bit per extension that can be switched; names in cpu.c. */
enum riscv_ext {
    RISCV_EXT_M, RISCV_EXT_A, RISCV_EXT_F, RISCV_EXT_D, RISCV_EXT_C,
    RISCV_EXT_ZICSR, RISCV_EXT_ZIFENCEI, RISCV_EXT_ZICNTR,
    RISCV_EXT_ZBA, RISCV_EXT_ZBB, RISCV_EXT_ZBC, RISCV_EXT_ZBS,
    RISCV_EXT_ZCB, RISCV_EXT_ZICOND, RISCV_EXT_ZFA, RISCV_EXT_ZFH, RISCV_EXT_ZFHMIN,
    RISCV_EXT_ZACAS, RISCV_EXT_ZABHA, RISCV_EXT_ZAWRS,
    RISCV_EXT_ZICBOM, RISCV_EXT_ZICBOP, RISCV_EXT_ZICBOZ,
    RISCV_EXT_ZIHINTPAUSE, RISCV_EXT_ZIHINTNTL, RISCV_EXT_ZIMOP, RISCV_EXT_ZCMOP,
    RISCV_EXT_ZBKB, RISCV_EXT_ZBKC, RISCV_EXT_ZBKX,
    RISCV_EXT_ZKND, RISCV_EXT_ZKNE, RISCV_EXT_ZKNH, RISCV_EXT_ZKSED, RISCV_EXT_ZKSH,
    RISCV_EXT_ZKR, RISCV_EXT_ZKT,
    /* Parts of M, A, C, and C with D: always there with these, and what instructions depend on. */
    RISCV_EXT_ZMMUL, RISCV_EXT_ZAAMO, RISCV_EXT_ZALRSC, RISCV_EXT_ZCA, RISCV_EXT_ZCD,
    /* Of machines; a program sees nothing of them. */
    RISCV_EXT_U, RISCV_EXT_S, RISCV_EXT_PMP, RISCV_EXT_SMEPMP, RISCV_EXT_SMSTATEEN,
    RISCV_EXT_SSCOFPMF, RISCV_EXT_SSTC, RISCV_EXT_SVADE, RISCV_EXT_SVADU, RISCV_EXT_SVINVAL,
    RISCV_EXT_SVNAPOT, RISCV_EXT_SVPBMT, RISCV_EXT_SVVPTC, RISCV_EXT_ZIHPM,
    RISCV_EXT_COUNT
};

/* satp.MODE: each of these includes those before it. */
enum riscv_satp_mode {
    RISCV_SATP_BARE = 0, RISCV_SATP_SV39 = 8, RISCV_SATP_SV48 = 9, RISCV_SATP_SV57 = 10,
};

struct riscv_model {
    const char *name;   /* "rv64", "max", ... */
    uint64_t ext;       /* 1 << enum riscv_ext */
    uint8_t satp_mode;  /* enum riscv_satp_mode: the largest page tables */
    bool b;             /* misa says B */
    bool priv_1_12;     /* has what Privileged 1.11 and 1.12 added: menvcfg, mcountinhibit, ... */
};

static inline bool riscv_has(const struct riscv_model *m, enum riscv_ext ext)
{
    return m->ext >> ext & 1;
}

/* IR register numbers: 0-31 integer (0 is never read or written), 32-63 floating point. */
enum { RISCV_REG_F0 = 32, RISCV_N_REGS = 64 };

struct riscv_vcpu {
    struct vcpu cpu;    /* cpu.r[] are x0-x31; cpu.mode is frm (0-7) */
    uint64_t f[32];     /* NaN-boxed */
};

extern const struct guest_arch riscv64_arch;

/*
 * A CPU model from QEMU's form "NAME[,feature=on|off]...[,+feature][,-feature]". Names: rv64, max,
 * rva22u64, rva22s64, rv64i, rv64e is refused, and so on as QEMU 10 has them where the model is
 * supported. Caller frees with riscv_model_free. NULL and *error names the nearest right one.
 */
struct riscv_model *riscv_model_parse(const char *text, GError **error);
/* The same for a machine: what isn't there can't be switched on (a program doesn't notice). */
struct riscv_model *riscv_model_parse_machine(const char *text, GError **error);
void riscv_model_free(struct riscv_model *model);
/* "-cpu help": one name a line, as QEMU's. Caller frees. */
char *riscv_model_help(void);
/* The models that can be had, one by one: NULL past the last. */
const char *riscv_model_name(unsigned index);
/* The switches of a model, one by one, and whether they are on: NULL past the last. */
const char *riscv_model_feature(const struct riscv_model *model, unsigned index, bool *on);
/* "rv64imafdc_zicsr_...", of a program's /proc/cpuinfo, and of a device tree's riscv,isa. Caller
 * frees. */
char *riscv_model_isa_string(const struct riscv_model *model);
char *riscv_model_machine_isa_string(const struct riscv_model *model);

#endif
