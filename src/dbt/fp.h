/*
 * Floating point in software, IEEE 754: exact results and flags in every rounding mode, for the
 * interpreter and for the cases that host instructions don't cover. Values are raw bits in the low
 * part of a uint64_t. NaN results are the default NaN (positive, quiet, payload 0), as RISC-V
 * wants; tininess is detected after rounding.
 */
#ifndef NANDU_DBT_FP_H
#define NANDU_DBT_FP_H

#include <stdbool.h>
#include <stdint.h>

#include "dbt/ir.h"

/* [type] is IR_F16, IR_F32 or IR_F64. Flags (IR_FLAG_*) raised are or-ed into *flags. */
uint64_t fp_add(enum ir_type type, uint64_t a, uint64_t b, enum ir_rm rm, unsigned *flags);
uint64_t fp_sub(enum ir_type type, uint64_t a, uint64_t b, enum ir_rm rm, unsigned *flags);
uint64_t fp_mul(enum ir_type type, uint64_t a, uint64_t b, enum ir_rm rm, unsigned *flags);
uint64_t fp_div(enum ir_type type, uint64_t a, uint64_t b, enum ir_rm rm, unsigned *flags);
uint64_t fp_sqrt(enum ir_type type, uint64_t a, enum ir_rm rm, unsigned *flags);
/* a * b + c rounded once; [neg] IR_FMA_*. Inf * 0 raises invalid also if c is a quiet NaN. */
uint64_t fp_fma(enum ir_type type, uint64_t a, uint64_t b, uint64_t c, unsigned neg,
                enum ir_rm rm, unsigned *flags);
/* [kind] IR_FMM_* */
uint64_t fp_min(enum ir_type type, uint64_t a, uint64_t b, unsigned kind, unsigned *flags);
uint64_t fp_max(enum ir_type type, uint64_t a, uint64_t b, unsigned kind, unsigned *flags);
bool fp_compare(enum ir_type type, uint64_t a, uint64_t b, enum ir_fcond cond, unsigned *flags);
uint64_t fp_classify(enum ir_type type, uint64_t a);
uint64_t fp_convert(enum ir_type to, enum ir_type from, uint64_t a, enum ir_rm rm, unsigned *flags);
/* To an integer of [to] = IR_I32 or IR_I64, saturating (NaN: the greatest). The result is
 * sign-extended to 64 bits from the width of [to], also for unsigned (as RISC-V's fcvt.wu). */
uint64_t fp_to_int(enum ir_type to, bool is_signed, enum ir_type from, uint64_t a, enum ir_rm rm,
                   unsigned *flags);
uint64_t fp_from_int(enum ir_type to, enum ir_type from, bool is_signed, uint64_t a, enum ir_rm rm,
                     unsigned *flags);
uint64_t fp_round_to_int(enum ir_type type, uint64_t a, enum ir_rm rm, bool inexact,
                         unsigned *flags);
/* RISC-V fcvtmod.w.d: modular conversion, truncating, result sign-extended from 32 bits. */
uint64_t fp_to_int_modular(uint64_t a, unsigned *flags);
/* [sign] IR_FSGN_*: a with b's sign. */
uint64_t fp_sign_inject(enum ir_type type, uint64_t a, uint64_t b, unsigned sign);
uint64_t fp_default_nan(enum ir_type type);
bool fp_is_nan(enum ir_type type, uint64_t a);
bool fp_is_snan(enum ir_type type, uint64_t a);

#endif
