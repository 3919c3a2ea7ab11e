/*
 * RISC-V control and status registers: one table (Privileged 20240411, chapter 2, and the chapters
 * of the extensions). A row says who has the register, what may be read and written in it, and what
 * has to follow.
 */
#include "dbt/dbt.h"
#include "guest/riscv/helpers.h"
#include "guest/riscv/system_priv.h"

#define BIT(name) (UINT64_C(1) << RISCV_EXT_##name)

struct csr_row {
    uint16_t first, last; /* numbers */
    uint16_t base;        /* index of the first one */
    bool numbered;        /* the index is part of the name */
    const char *name;
    uint64_t needs;     /* all of these extensions */
    uint64_t needs_any; /* one of these; 0: no such condition */
    bool priv_1_12;     /* came with Privileged 1.11 or 1.12 */
    bool plain;         /* a register without anything else to it */
    bool epc;           /* plain, and holds an address of an instruction */
    uint32_t offset;    /* of the uint64_t in the hart; [index] if it is numbered */
    /* Whether the hart's enables let it be accessed in the present privilege; NULL: always. */
    bool (*allowed)(const struct riscv_hart *h, unsigned index);
    uint64_t (*read)(struct riscv_hart *h, unsigned index); /* NULL: the field */
    void (*write)(struct riscv_hart *h, unsigned index, uint64_t value);
    /* Instead of write, where what is read isn't what is written: sets the bits of mask to value's.
     */
    void (*write_bits)(struct riscv_hart *h, unsigned index, uint64_t value, uint64_t mask);
};

static uint64_t read_zero(struct riscv_hart *h, unsigned index)
{
    return 0;
}

/* Registers of which no bit can be changed: extensions in misa, sstateen (there is nothing that
 * user mode could be kept from), events of counters that aren't there, and what seed ignores. */
static void write_nothing(struct riscv_hart *h, unsigned index, uint64_t value)
{
}

/* ---- Floating point ---- */

/* mstatus.FS is Off: no such registers (3.1.6.6). */
static bool fp_allowed(const struct riscv_hart *h, unsigned index)
{
    return h->mstatus & MSTATUS_FS;
}

static void fp_dirty(struct riscv_hart *h)
{
    h->mstatus |= MSTATUS_FS;
    hart_update_mode(h);
}

static uint64_t read_fflags(struct riscv_hart *h, unsigned index)
{
    return dbt_fp_flags_get(&h->rv.cpu);
}

static void write_fflags(struct riscv_hart *h, unsigned index, uint64_t value)
{
    dbt_fp_flags_set(&h->rv.cpu, value & 31);
    fp_dirty(h);
}

static uint64_t read_frm(struct riscv_hart *h, unsigned index)
{
    return h->rv.cpu.mode & MODE_FRM;
}

static void write_frm(struct riscv_hart *h, unsigned index, uint64_t value)
{
    h->rv.cpu.mode = (h->rv.cpu.mode & ~(uint32_t)MODE_FRM) | (value & MODE_FRM);
    fp_dirty(h);
}

static uint64_t read_fcsr(struct riscv_hart *h, unsigned index)
{
    return read_frm(h, 0) << 5 | read_fflags(h, 0);
}

static void write_fcsr(struct riscv_hart *h, unsigned index, uint64_t value)
{
    write_fflags(h, 0, value);
    write_frm(h, 0, value >> 5);
}

/* ---- Counters and time ---- */

/* 3.1.11, 10.1.5 */
static bool counter_allowed(const struct riscv_hart *h, unsigned index)
{
    if (h->priv != PRIV_M && !(h->mcounteren >> index & 1)) {
        return false;
    }
    return h->priv != PRIV_U || !hart_has(h, RISCV_EXT_S) || h->scounteren >> index & 1;
}

static void write_mcounteren(struct riscv_hart *h, unsigned index, uint64_t value)
{
    h->mcounteren = value & counters_mask(hart_model(h));
}

static void write_scounteren(struct riscv_hart *h, unsigned index, uint64_t value)
{
    h->scounteren = value & counters_mask(hart_model(h));
}

static void write_mcountinhibit(struct riscv_hart *h, unsigned index, uint64_t value)
{
    counters_update(h);
    h->mcountinhibit = value & counters_mask(hart_model(h)) & ~(UINT64_C(1) << COUNTER_TIME);
    counters_update(h);
}

static uint64_t read_event(struct riscv_hart *h, unsigned index)
{
    counters_check_overflow(h);
    return h->mhpmevent[index];
}

static uint64_t read_scountovf(struct riscv_hart *h, unsigned index)
{
    uint64_t seen = h->priv == PRIV_M ? UINT64_MAX : h->mcounteren;

    counters_check_overflow(h);
    return counters_overflowed(h) & seen;
}

/* Sstc, 17.1.1 */
static bool stimecmp_allowed(const struct riscv_hart *h, unsigned index)
{
    return h->priv == PRIV_M || (h->menvcfg & MENVCFG_STCE && h->mcounteren >> COUNTER_TIME & 1);
}

static void write_stimecmp(struct riscv_hart *h, unsigned index, uint64_t value)
{
    h->stimecmp = value;
    hart_update_stimer(h);
    hart_check_interrupts(h);
}

/* Zkr: machine mode always, the others by mseccfg; reading alone is illegal, which the lifter sees
 * to. */
static bool seed_allowed(const struct riscv_hart *h, unsigned index)
{
    enum { USEED = 8, SSEED = 9 };

    return h->priv == PRIV_M || h->mseccfg >> (h->priv == PRIV_S ? SSEED : USEED) & 1;
}

static uint64_t read_seed(struct riscv_hart *h, unsigned index)
{
    return riscv_helper_seed.fn(&h->rv.cpu, 0, 0, 0, 0);
}

/* ---- What the hart is ---- */

static uint64_t read_mhartid(struct riscv_hart *h, unsigned index)
{
    return h->config.hart_id;
}

static uint64_t read_misa(struct riscv_hart *h, unsigned index)
{
    static const struct {
        uint8_t ext;
        char letter;
    } letters[] = {
        {RISCV_EXT_A, 'a'}, {RISCV_EXT_C, 'c'}, {RISCV_EXT_D, 'd'}, {RISCV_EXT_F, 'f'},
        {RISCV_EXT_M, 'm'}, {RISCV_EXT_S, 's'}, {RISCV_EXT_U, 'u'},
    };
    uint64_t misa = UINT64_C(2) << 62 | 1 << ('i' - 'a');

    for (size_t i = 0; i < G_N_ELEMENTS(letters); i++) {
        misa |= (uint64_t)hart_has(h, letters[i].ext) << (letters[i].letter - 'a');
    }
    return misa | (uint64_t)hart_model(h)->b << 1;
}

/* ---- mstatus ---- */

static uint64_t with_sd(uint64_t status)
{
    return (status & MSTATUS_FS) == MSTATUS_FS ? status | MSTATUS_SD : status;
}

static uint64_t read_mstatus(struct riscv_hart *h, unsigned index)
{
    return with_sd(h->mstatus);
}

static void write_mstatus(struct riscv_hart *h, unsigned index, uint64_t value)
{
    uint64_t mask = MSTATUS_MIE | MSTATUS_MPIE | MSTATUS_MPP;
    uint64_t mpp = (value & MSTATUS_MPP) >> MSTATUS_MPP_SHIFT;
    bool s = hart_has(h, RISCV_EXT_S), u = hart_has(h, RISCV_EXT_U);

    mask |= u ? MSTATUS_MPRV | MSTATUS_TW : 0;
    mask |= s ? SSTATUS_WRITABLE | MSTATUS_TVM | MSTATUS_TSR : 0;
    mask = hart_has(h, RISCV_EXT_F) ? mask | MSTATUS_FS : mask & ~MSTATUS_FS;
    if (mpp == 2 || (mpp == PRIV_S && !s) || (mpp == PRIV_U && !u)) {
        mask &= ~MSTATUS_MPP; /* no such privilege: stays as it is */
    }
    h->mstatus = (h->mstatus & ~mask) | (value & mask);
    hart_update_mode(h);
    hart_check_interrupts(h);
}

static uint64_t read_sstatus(struct riscv_hart *h, unsigned index)
{
    return with_sd(h->mstatus & (SSTATUS_WRITABLE | MSTATUS_UXL));
}

static void write_sstatus(struct riscv_hart *h, unsigned index, uint64_t value)
{
    write_mstatus(h, 0, (h->mstatus & ~SSTATUS_WRITABLE) | (value & SSTATUS_WRITABLE));
}

/* ---- Interrupts and traps ---- */

/* Those that supervisor mode can have. */
static uint64_t supervisor_interrupts(const struct riscv_hart *h)
{
    return MIP_SSIP | MIP_STIP | MIP_SEIP | (hart_has(h, RISCV_EXT_SSCOFPMF) ? MIP_LCOFIP : 0);
}

static void write_medeleg(struct riscv_hart *h, unsigned index, uint64_t value)
{
    /* All but ecall from machine mode and what is reserved. */
    h->medeleg = value & 0xb3ff;
}

static void write_mideleg(struct riscv_hart *h, unsigned index, uint64_t value)
{
    h->mideleg = value & supervisor_interrupts(h);
    hart_check_interrupts(h);
}

static void write_mie(struct riscv_hart *h, unsigned index, uint64_t value)
{
    h->mie = value & (MIP_MSIP | MIP_MTIP | MIP_MEIP |
                      (hart_has(h, RISCV_EXT_S) ? supervisor_interrupts(h) : 0));
    hart_check_interrupts(h);
}

static uint64_t read_sie(struct riscv_hart *h, unsigned index)
{
    return h->mie & h->mideleg;
}

static void write_sie(struct riscv_hart *h, unsigned index, uint64_t value)
{
    write_mie(h, 0, (h->mie & ~h->mideleg) | (value & h->mideleg));
}

static uint64_t read_mip(struct riscv_hart *h, unsigned index)
{
    counters_check_overflow(h);
    hart_update_stimer(h);
    return hart_pending(h);
}

/* Pins can't be written: SEIP that is set is the software's own, which is or-ed with the pin
 * (3.1.9). */
static void set_pending(struct riscv_hart *h, uint64_t value, uint64_t mask)
{
    __atomic_or_fetch(&h->soft_pending, value & mask, __ATOMIC_SEQ_CST);
    __atomic_and_fetch(&h->soft_pending, value | ~mask, __ATOMIC_SEQ_CST);
    hart_check_interrupts(h);
}

static void write_mip(struct riscv_hart *h, unsigned index, uint64_t value, uint64_t mask)
{
    uint64_t legal = hart_has(h, RISCV_EXT_S) ? supervisor_interrupts(h) : 0;

    if (hart_has_sstc(h)) {
        legal &= ~MIP_STIP; /* that is stimecmp's */
    }
    set_pending(h, value, mask & legal);
}

static uint64_t read_sip(struct riscv_hart *h, unsigned index)
{
    return read_mip(h, 0) & h->mideleg;
}

static void write_sip(struct riscv_hart *h, unsigned index, uint64_t value, uint64_t mask)
{
    set_pending(h, value, mask & h->mideleg & (MIP_SSIP | (supervisor_interrupts(h) & MIP_LCOFIP)));
}

/* Modes above 1 are reserved: the register keeps its value. */
static void write_mtvec(struct riscv_hart *h, unsigned index, uint64_t value)
{
    h->mtvec = value & 2 ? h->mtvec : value;
}

static void write_stvec(struct riscv_hart *h, unsigned index, uint64_t value)
{
    h->stvec = value & 2 ? h->stvec : value;
}

/* ---- Environment, state enables ---- */

static uint64_t legal_envcfg(uint64_t value)
{
    value &= ENVCFG_FIOM | ENVCFG_CBIE | ENVCFG_CBCFE | ENVCFG_CBZE;
    /* CBIE = 2 is reserved. */
    return (value & ENVCFG_CBIE) == UINT64_C(2) << 4 ? value & ~ENVCFG_CBIE : value;
}

static void write_menvcfg(struct riscv_hart *h, unsigned index, uint64_t value)
{
    uint64_t bits = (hart_has(h, RISCV_EXT_SSTC) ? MENVCFG_STCE : 0) |
                    (hart_has(h, RISCV_EXT_SVPBMT) ? MENVCFG_PBMTE : 0) |
                    (hart_has(h, RISCV_EXT_SVADU) ? MENVCFG_ADUE : 0);
    uint64_t old = h->menvcfg;

    h->menvcfg = legal_envcfg(value) | (value & bits);
    if ((old ^ h->menvcfg) & (MENVCFG_PBMTE | MENVCFG_ADUE)) {
        mmu_fence(h, false, 0, false, 0);
    }
    hart_update_mode(h);
    hart_update_stimer(h);
    hart_check_interrupts(h);
}

/* Bits of mstateen0 (Smstateen 1.0, chapter 2). */
#define STATEEN_SE     (UINT64_C(1) << 63)
#define STATEEN_ENVCFG (UINT64_C(1) << 62)

static bool senvcfg_allowed(const struct riscv_hart *h, unsigned index)
{
    return h->priv == PRIV_M || !hart_has(h, RISCV_EXT_SMSTATEEN) ||
           h->mstateen[0] & STATEEN_ENVCFG;
}

static void write_senvcfg(struct riscv_hart *h, unsigned index, uint64_t value)
{
    h->senvcfg = legal_envcfg(value);
    hart_update_mode(h);
}

static void write_mstateen(struct riscv_hart *h, unsigned index, uint64_t value)
{
    h->mstateen[index] = value & (STATEEN_SE | (index ? 0 : STATEEN_ENVCFG));
}

static bool sstateen_allowed(const struct riscv_hart *h, unsigned index)
{
    return h->priv == PRIV_M || h->mstateen[index] & STATEEN_SE;
}

/* ---- Translation and protection ---- */

static bool satp_allowed(const struct riscv_hart *h, unsigned index)
{
    return h->priv != PRIV_S || !(h->mstatus & MSTATUS_TVM);
}

/* 10.1.11: with a mode that isn't there nothing is written. */
static void write_satp(struct riscv_hart *h, unsigned index, uint64_t value)
{
    uint64_t mode = value >> SATP_MODE_SHIFT;

    if (mode != RISCV_SATP_BARE && (mode < RISCV_SATP_SV39 || mode > hart_model(h)->satp_mode)) {
        return;
    }
    h->satp = value;
    if (mode != RISCV_SATP_BARE) {
        mmu_root_changed(h);
    }
    hart_update_mode(h);
}

static void write_mseccfg(struct riscv_hart *h, unsigned index, uint64_t value)
{
    mseccfg_write(h, value);
}

static uint64_t read_pmpcfg(struct riscv_hart *h, unsigned index)
{
    return pmpcfg_read(h, index / 2);
}

static void write_pmpcfg(struct riscv_hart *h, unsigned index, uint64_t value)
{
    pmpcfg_write(h, index / 2, value);
}

/* ---- The table ---- */

#define FIELD(member)         .offset = offsetof(struct riscv_hart, member)
#define PLAIN(member)         .plain = true, FIELD(member)
#define NUMBERED(first_index) .numbered = true, .base = (first_index)
#define FP                    .needs = BIT(F), .allowed = fp_allowed
#define COUNTER               .read = counter_read, .write = counter_write

/* By number. */
static const struct csr_row rows[] = {
    {0x001, 0x001, .name = "fflags", FP, .read = read_fflags, .write = write_fflags},
    {0x002, 0x002, .name = "frm", FP, .read = read_frm, .write = write_frm},
    {0x003, 0x003, .name = "fcsr", FP, .read = read_fcsr, .write = write_fcsr},
    {0x015, 0x015, .name = "seed", .needs = BIT(ZKR), .allowed = seed_allowed, .read = read_seed,
     .write = write_nothing},

    {0x100, 0x100, .name = "sstatus", .needs = BIT(S), .read = read_sstatus,
     .write = write_sstatus},
    {0x104, 0x104, .name = "sie", .needs = BIT(S), .read = read_sie, .write = write_sie},
    {0x105, 0x105, .name = "stvec", .needs = BIT(S), FIELD(stvec), .write = write_stvec},
    {0x106, 0x106, .name = "scounteren", .needs = BIT(S), FIELD(scounteren),
     .write = write_scounteren},
    {0x10a, 0x10a, .name = "senvcfg", .needs = BIT(S), .priv_1_12 = true,
     .allowed = senvcfg_allowed, FIELD(senvcfg), .write = write_senvcfg},
    {0x10c, 0x10f, .name = "sstateen", .needs = BIT(S) | BIT(SMSTATEEN), NUMBERED(0),
     .allowed = sstateen_allowed, .read = read_zero, .write = write_nothing},
    {0x140, 0x140, .name = "sscratch", .needs = BIT(S), PLAIN(sscratch)},
    {0x141, 0x141, .name = "sepc", .needs = BIT(S), PLAIN(sepc), .epc = true},
    {0x142, 0x142, .name = "scause", .needs = BIT(S), PLAIN(scause)},
    {0x143, 0x143, .name = "stval", .needs = BIT(S), PLAIN(stval)},
    {0x144, 0x144, .name = "sip", .needs = BIT(S), .read = read_sip, .write_bits = write_sip},
    {0x14d, 0x14d, .name = "stimecmp", .needs = BIT(S) | BIT(SSTC), .allowed = stimecmp_allowed,
     FIELD(stimecmp), .write = write_stimecmp},
    {0x180, 0x180, .name = "satp", .needs = BIT(S), .allowed = satp_allowed, FIELD(satp),
     .write = write_satp},

    {0x300, 0x300, .name = "mstatus", .read = read_mstatus, .write = write_mstatus},
    {0x301, 0x301, .name = "misa", .read = read_misa, .write = write_nothing},
    {0x302, 0x302, .name = "medeleg", .needs = BIT(S), FIELD(medeleg), .write = write_medeleg},
    {0x303, 0x303, .name = "mideleg", .needs = BIT(S), FIELD(mideleg), .write = write_mideleg},
    {0x304, 0x304, .name = "mie", FIELD(mie), .write = write_mie},
    {0x305, 0x305, .name = "mtvec", FIELD(mtvec), .write = write_mtvec},
    {0x306, 0x306, .name = "mcounteren", .needs = BIT(U), FIELD(mcounteren),
     .write = write_mcounteren},
    {0x30a, 0x30a, .name = "menvcfg", .needs = BIT(U), .priv_1_12 = true, FIELD(menvcfg),
     .write = write_menvcfg},
    {0x30c, 0x30f, .name = "mstateen", .needs = BIT(SMSTATEEN), NUMBERED(0), FIELD(mstateen),
     .write = write_mstateen},
    {0x320, 0x320, .name = "mcountinhibit", .priv_1_12 = true, FIELD(mcountinhibit),
     .write = write_mcountinhibit},
    {0x323, 0x332, .name = "mhpmevent", .needs = BIT(ZIHPM), NUMBERED(3), .read = read_event,
     .write = counter_event_write},
    {0x333, 0x33f, .name = "mhpmevent", .needs = BIT(ZIHPM), NUMBERED(19), .read = read_zero,
     .write = write_nothing},
    {0x340, 0x340, .name = "mscratch", PLAIN(mscratch)},
    {0x341, 0x341, .name = "mepc", PLAIN(mepc), .epc = true},
    {0x342, 0x342, .name = "mcause", PLAIN(mcause)},
    {0x343, 0x343, .name = "mtval", PLAIN(mtval)},
    {0x344, 0x344, .name = "mip", .read = read_mip, .write_bits = write_mip},
    {0x3a0, 0x3a0, .name = "pmpcfg", .needs = BIT(PMP), NUMBERED(0), .read = read_pmpcfg,
     .write = write_pmpcfg},
    {0x3a2, 0x3a2, .name = "pmpcfg", .needs = BIT(PMP), NUMBERED(2), .read = read_pmpcfg,
     .write = write_pmpcfg},
    {0x3b0, 0x3bf, .name = "pmpaddr", .needs = BIT(PMP), NUMBERED(0), FIELD(pmpaddr),
     .write = pmpaddr_write},
    {0x747, 0x747, .name = "mseccfg", .needs_any = BIT(SMEPMP) | BIT(ZKR), FIELD(mseccfg),
     .write = write_mseccfg},

    {0xb00, 0xb00, .name = "mcycle", .base = COUNTER_CYCLE, COUNTER},
    {0xb02, 0xb02, .name = "minstret", .base = COUNTER_INSTRET, COUNTER},
    {0xb03, 0xb12, .name = "mhpmcounter", .needs = BIT(ZIHPM), NUMBERED(3), COUNTER},

    {0xc00, 0xc00, .name = "cycle", .needs = BIT(ZICNTR), .base = COUNTER_CYCLE,
     .allowed = counter_allowed, .read = counter_read},
    {0xc01, 0xc01, .name = "time", .needs = BIT(ZICNTR), .base = COUNTER_TIME,
     .allowed = counter_allowed, .read = counter_read},
    {0xc02, 0xc02, .name = "instret", .needs = BIT(ZICNTR), .base = COUNTER_INSTRET,
     .allowed = counter_allowed, .read = counter_read},
    {0xc03, 0xc12, .name = "hpmcounter", .needs = BIT(ZIHPM), NUMBERED(3),
     .allowed = counter_allowed, .read = counter_read},
    {0xda0, 0xda0, .name = "scountovf", .needs = BIT(S) | BIT(SSCOFPMF), .read = read_scountovf},

    {0xf11, 0xf11, .name = "mvendorid", .read = read_zero},
    {0xf12, 0xf12, .name = "marchid", .read = read_zero},
    {0xf13, 0xf13, .name = "mimpid", .read = read_zero},
    {0xf14, 0xf14, .name = "mhartid", .read = read_mhartid},
    {0xf15, 0xf15, .name = "mconfigptr", .priv_1_12 = true, .read = read_zero},
};

const struct csr_row *csr_find(const struct riscv_model *model, unsigned number)
{
    size_t low = 0, high = G_N_ELEMENTS(rows);

    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct csr_row *row = &rows[middle];

        if (number < row->first) {
            high = middle;
        } else if (number > row->last) {
            low = middle + 1;
        } else {
            return !(row->needs & ~model->ext) &&
                           (!row->needs_any || row->needs_any & model->ext) &&
                           (!row->priv_1_12 || model->priv_1_12)
                       ? row
                       : NULL;
        }
    }
    return NULL;
}

/* 3.1.14: bit 0 is always 0, and bit 1 where instructions can't be there. */
static uint64_t epc_mask(const struct riscv_model *model)
{
    return riscv_has(model, RISCV_EXT_ZCA) ? ~UINT64_C(1) : ~UINT64_C(3);
}

bool csr_is_plain(const struct riscv_model *model, const struct csr_row *row, size_t *offset,
                  uint64_t *mask)
{
    *offset = row->offset;
    *mask = row->epc ? epc_mask(model) : UINT64_MAX;
    return row->plain;
}

/* Neither of these has anything to do with the privilege: the number says that (2.1). */
static uint64_t read_row(struct riscv_hart *h, const struct csr_row *row, unsigned index)
{
    const uint64_t *field = (const uint64_t *)(const void *)((const char *)h + row->offset);

    return row->read ? row->read(h, index) : field[row->numbered ? index : 0];
}

static void write_row(struct riscv_hart *h, const struct csr_row *row, unsigned index,
                      uint64_t value, uint64_t mask)
{
    uint64_t merged;

    if (row->write_bits) {
        row->write_bits(h, index, value, mask);
        return;
    }
    merged = mask == UINT64_MAX ? value : (read_row(h, row, index) & ~mask) | (value & mask);
    if (row->plain) {
        merged &= row->epc ? epc_mask(hart_model(h)) : UINT64_MAX;
        *(uint64_t *)(void *)((char *)h + row->offset) = merged;
    } else {
        row->write(h, index, merged);
    }
}

static bool is_read_only(unsigned number)
{
    return number >> 10 == 3;
}

bool csr_access(struct riscv_hart *h, unsigned number, bool write, uint64_t value, uint64_t mask,
                uint64_t *old)
{
    const struct csr_row *row = csr_find(hart_model(h), number);
    unsigned index;

    if (!row || h->priv < (number >> 8 & 3) || (write && is_read_only(number))) {
        return false;
    }
    index = row->base + number - row->first;
    if (row->allowed && !row->allowed(h, index)) {
        return false;
    }
    if (old) {
        *old = read_row(h, row, index);
    }
    if (write) {
        write_row(h, row, index, value, mask);
    }
    return true;
}

/* ---- From outside ---- */

char *riscv_csr_name(const struct vcpu *cpu, unsigned number)
{
    const struct csr_row *row = csr_find(cpu->model, number);

    if (!row) {
        return NULL;
    }
    return row->numbered ? g_strdup_printf("%s%u", row->name, row->base + number - row->first)
                         : g_strdup(row->name);
}

bool riscv_csr_get(struct vcpu *cpu, unsigned number, uint64_t *value)
{
    struct riscv_hart *h = riscv_hart(cpu);
    const struct csr_row *row = csr_find(cpu->model, number);

    if (!row || row->read == read_seed) { /* reading it takes entropy away */
        return false;
    }
    *value = read_row(h, row, row->base + number - row->first);
    return true;
}

bool riscv_csr_set(struct vcpu *cpu, unsigned number, uint64_t value)
{
    struct riscv_hart *h = riscv_hart(cpu);
    const struct csr_row *row = csr_find(cpu->model, number);

    if (!row || is_read_only(number)) {
        return false;
    }
    write_row(h, row, row->base + number - row->first, value, UINT64_MAX);
    return true;
}
