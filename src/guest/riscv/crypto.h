/*
 * Scalar cryptography and crossbar instructions of RV64 as helpers for the lifter: Zknd, Zkne,
 * Zksed, Zbkx (RISC-V Cryptography Extensions, Volume I: Scalar & Entropy Source
 * Instructions, 1.0.1, chapter 3).
 *
 * All are pure: the result depends only on a = rs1, b = rs2 and c = the immediate (rnum of
 * aes64ks1i, bs of sm4ed and sm4ks). An rnum above 10 is reserved: the lifter makes it an illegal
 * instruction. The S-boxes are tables in memory, so the time is not independent of the data as Zkt
 * promises.
 */
#ifndef NANDU_GUEST_RISCV_CRYPTO_H
#define NANDU_GUEST_RISCV_CRYPTO_H

#include "dbt/ir.h"

extern const struct ir_helper riscv_helper_aes64ds;
extern const struct ir_helper riscv_helper_aes64dsm;
extern const struct ir_helper riscv_helper_aes64es;
extern const struct ir_helper riscv_helper_aes64esm;
extern const struct ir_helper riscv_helper_aes64im;
extern const struct ir_helper riscv_helper_aes64ks1i;
extern const struct ir_helper riscv_helper_aes64ks2;

extern const struct ir_helper riscv_helper_sm4ed;
extern const struct ir_helper riscv_helper_sm4ks;

extern const struct ir_helper riscv_helper_xperm4;
extern const struct ir_helper riscv_helper_xperm8;

#endif
