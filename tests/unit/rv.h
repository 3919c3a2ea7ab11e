/*
 * Encodings of the RISC-V instructions that tests put together by hand (Unprivileged ISA 20240411,
 * chapter 34). Registers by number; offsets in bytes.
 */
#ifndef NANDU_TEST_RV_H
#define NANDU_TEST_RV_H

#include <stdint.h>

/* clang-format off */
enum {
    ZERO, RA, SP, GP, TP, T0, T1, T2, S0, S1, A0, A1, A2, A3, A4, A5, A6, A7,
    S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, T3, T4, T5, T6,
};
/* clang-format on */

/* The formats, as constant expressions. [bits] of v from [low] on, moved to [to]. */
#define RV_BITS(v, low, bits, to)      (((uint32_t)(v) >> (low) & ((1u << (bits)) - 1)) << (to))
#define RV_REGS(rd, rs1, rs2)          ((uint32_t)(rd) << 7 | (uint32_t)(rs1) << 15 | (uint32_t)(rs2) << 20)
#define RV_R(op, f3, f7, rd, rs1, rs2) ((op) | RV_REGS(rd, rs1, rs2) | (f3) << 12 | (f7) << 25)
#define RV_I(op, f3, rd, rs1, imm) \
    ((op) | RV_REGS(rd, rs1, 0) | (f3) << 12 | RV_BITS(imm, 0, 12, 20))
#define RV_S(op, f3, rs1, rs2, imm) \
    ((op) | RV_REGS(0, rs1, rs2) | (f3) << 12 | RV_BITS(imm, 0, 5, 7) | RV_BITS(imm, 5, 7, 25))
#define RV_B(f3, rs1, rs2, off)                                                                   \
    (0x63u | RV_REGS(0, rs1, rs2) | (f3) << 12 | RV_BITS(off, 11, 1, 7) | RV_BITS(off, 1, 4, 8) | \
     RV_BITS(off, 5, 6, 25) | RV_BITS(off, 12, 1, 31))
#define RV_J(rd, off)                                                                \
    (0x6fu | RV_REGS(rd, 0, 0) | RV_BITS(off, 12, 8, 12) | RV_BITS(off, 11, 1, 20) | \
     RV_BITS(off, 1, 10, 21) | RV_BITS(off, 20, 1, 31))

#define ADDI(rd, rs1, imm)   RV_I(0x13u, 0u, rd, rs1, imm)
#define ANDI(rd, rs1, imm)   RV_I(0x13u, 7u, rd, rs1, imm)
#define XORI(rd, rs1, imm)   RV_I(0x13u, 4u, rd, rs1, imm)
#define SLLI(rd, rs1, n)     RV_I(0x13u, 1u, rd, rs1, n)
#define SRLI(rd, rs1, n)     RV_I(0x13u, 5u, rd, rs1, n)
#define SLTU(rd, rs1, rs2)   RV_R(0x33u, 3u, 0u, rd, rs1, rs2)
#define ADDIW(rd, rs1, imm)  RV_I(0x1bu, 0u, rd, rs1, imm)
#define ADDW(rd, rs1, rs2)   RV_R(0x3bu, 0u, 0u, rd, rs1, rs2)
#define LUI(rd, imm20)       (0x37 | (uint32_t)(rd) << 7 | (uint32_t)(imm20) << 12)
#define AUIPC(rd, imm20)     (0x17 | (uint32_t)(rd) << 7 | (uint32_t)(imm20) << 12)
#define ADD(rd, rs1, rs2)    RV_R(0x33u, 0u, 0u, rd, rs1, rs2)
#define SUB(rd, rs1, rs2)    RV_R(0x33u, 0u, 0x20u, rd, rs1, rs2)
#define AND(rd, rs1, rs2)    RV_R(0x33u, 7u, 0u, rd, rs1, rs2)
#define OR(rd, rs1, rs2)     RV_R(0x33u, 6u, 0u, rd, rs1, rs2)
#define XOR(rd, rs1, rs2)    RV_R(0x33u, 4u, 0u, rd, rs1, rs2)
#define MUL(rd, rs1, rs2)    RV_R(0x33u, 0u, 1u, rd, rs1, rs2)
#define MULHU(rd, rs1, rs2)  RV_R(0x33u, 3u, 1u, rd, rs1, rs2)
#define DIVU(rd, rs1, rs2)   RV_R(0x33u, 5u, 1u, rd, rs1, rs2)
#define REM(rd, rs1, rs2)    RV_R(0x33u, 6u, 1u, rd, rs1, rs2)
#define SH2ADD(rd, rs1, rs2) RV_R(0x33u, 4u, 0x10u, rd, rs1, rs2)
#define SH3ADD(rd, rs1, rs2) RV_R(0x33u, 6u, 0x10u, rd, rs1, rs2)
#define LB(rd, rs1, off)     RV_I(0x03u, 0u, rd, rs1, off)
#define LBU(rd, rs1, off)    RV_I(0x03u, 4u, rd, rs1, off)
#define LW(rd, rs1, off)     RV_I(0x03u, 2u, rd, rs1, off)
#define LD(rd, rs1, off)     RV_I(0x03u, 3u, rd, rs1, off)
#define SB(rs2, rs1, off)    RV_S(0x23u, 0u, rs1, rs2, off)
#define SW(rs2, rs1, off)    RV_S(0x23u, 2u, rs1, rs2, off)
#define SD(rs2, rs1, off)    RV_S(0x23u, 3u, rs1, rs2, off)
#define BEQ(rs1, rs2, off)   RV_B(0u, rs1, rs2, off)
#define BNE(rs1, rs2, off)   RV_B(1u, rs1, rs2, off)
#define BLT(rs1, rs2, off)   RV_B(4u, rs1, rs2, off)
#define BLTU(rs1, rs2, off)  RV_B(6u, rs1, rs2, off)
#define BGEU(rs1, rs2, off)  RV_B(7u, rs1, rs2, off)
#define JAL(rd, off)         RV_J(rd, off)
#define JALR(rd, rs1, off)   RV_I(0x67u, 0u, rd, rs1, off)
#define RET                  JALR(ZERO, RA, 0)
#define NOP                  ADDI(ZERO, ZERO, 0)
#define ECALL                0x73u
#define EBREAK               0x100073u
#define FENCE_I              0x100fu
#define FSRM(rs1)            RV_I(0x73u, 1u, ZERO, rs1, 2)
#define FRFLAGS(rd)          RV_I(0x73u, 2u, rd, ZERO, 1)
/* Rounding mode 7 is the dynamic one. */
#define FADD_D(rd, rs1, rs2)       RV_R(0x53u, 7u, 0x01u, rd, rs1, rs2)
#define FMUL_D(rd, rs1, rs2)       RV_R(0x53u, 7u, 0x09u, rd, rs1, rs2)
#define FDIV_D(rd, rs1, rs2)       RV_R(0x53u, 7u, 0x0du, rd, rs1, rs2)
#define FMADD_D(rd, rs1, rs2, rs3) (RV_R(0x43u, 7u, 1u, rd, rs1, rs2) | (uint32_t)(rs3) << 27)
#define FADD_S(rd, rs1, rs2)       RV_R(0x53u, 7u, 0x00u, rd, rs1, rs2)
#define FLT_D(rd, rs1, rs2)        RV_R(0x53u, 1u, 0x51u, rd, rs1, rs2)
#define FCVT_D_L(rd, rs1)          RV_R(0x53u, 7u, 0x69u, rd, rs1, 2)
#define FCVT_L_D_RTZ(rd, rs1)      RV_R(0x53u, 1u, 0x61u, rd, rs1, 2)
#define FCVT_D_S(rd, rs1)          RV_R(0x53u, 0u, 0x21u, rd, rs1, 0)
#define FMV_D(rd, rs1)             RV_R(0x53u, 0u, 0x11u, rd, rs1, rs1)
#define FMV_X_D(rd, rs1)           RV_R(0x53u, 0u, 0x71u, rd, rs1, 0)
#define FLD(rd, rs1, off)          RV_I(0x07u, 3u, rd, rs1, off)
#define FLW(rd, rs1, off)          RV_I(0x07u, 2u, rd, rs1, off)
#define FSD(rs2, rs1, off)         RV_S(0x27u, 3u, rs1, rs2, off)
#define AMOADD_W(rd, rs2, rs1)     RV_R(0x2fu, 2u, 0u, rd, rs1, rs2)
#define AMOADD_D(rd, rs2, rs1)     RV_R(0x2fu, 3u, 0u, rd, rs1, rs2)
#define AMOSWAP_W(rd, rs2, rs1)    RV_R(0x2fu, 2u, 4u, rd, rs1, rs2)
#define LR_W(rd, rs1)              RV_R(0x2fu, 2u, 8u, rd, rs1, 0)
#define SC_W(rd, rs2, rs1)         RV_R(0x2fu, 2u, 0xcu, rd, rs1, rs2)

#endif
