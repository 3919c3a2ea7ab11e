# Executes instructions in machine, supervisor and user mode, and writes for each what came of it:
# mcause, mtval (as an offset from the instruction, if it is that), how far mepc is from the
# instruction, and mstatus. One that doesn't trap is followed by an ecall.

#include "riscv_bare.S"

    .macro try insn:vararg
    la s1, 9f
    j 8f
    .balign 16
9:  \insn
    nop
    .option push
    .option norvc
    ecall
    .option pop
    .balign 4
8:  call run
    .endm

main:
    mv s10, ra
    la t0, trap
    csrw mtvec, t0
    li t0, -1
    csrw pmpaddr0, t0
    li t0, 0x1f
    csrw pmpcfg0, t0
    li gp, 0x1f000000           # nothing is there
    la tp, data
    addi s2, tp, 2
    li s0, 3                    # privilege
each:
    try ebreak
    try .2byte 0x9002           # c.ebreak
    try ecall
    try .4byte 0
    try .2byte 0
    try .4byte 0xffffffff
    try .2byte 0x8002           # c.jr x0
    try .4byte 0xc0102073       # csrr x0, time
    try .4byte 0xc0002573       # csrr a0, cycle
    try ld a0, 0(gp)
    try sd a0, 8(gp)
    try lw a0, 1(gp)
    try lr.w a0, (gp)
    try sc.w a0, a0, (gp)
    try lr.d a0, (s2)
    try ld a0, (s2)
    try sd a0, (s2)
    try jr gp
    try fadd.d f0, f0, f0
    try fld f0, (tp)
    try csrr a0, sstatus
    try csrr a0, satp
    try csrr a0, mstatus
    try csrr a0, mhartid
    try csrw mhartid, a0
    try csrw sscratch, a0
    try sfence.vma
    try fence.i
    try csrr a0, 0x14d          # stimecmp
    try csrr a0, 0x10a          # senvcfg
    try csrr a0, fcsr
    try csrr a0, hpmcounter3
    try csrr a0, 0x7c0
    addi s0, s0, -1
    li t0, 2
    bne s0, t0, 1f
    li s0, 1
1:  bgez s0, each
    mv ra, s10
    ret

# Runs the instruction at s1 with privilege s0, until it traps.
run:
    mv s8, ra
    csrw mepc, s1
    li t0, 0x1800
    csrc mstatus, t0
    slli t0, s0, 11
    csrs mstatus, t0
    li a0, 0
    mret

    .balign 4
trap:
    csrr a0, mcause
    li a1, 2
    li a2, ' '
    call print_hex
    csrr a0, mtval
    sub t0, a0, s1
    li t1, 64
    bgeu t0, t1, 1f
    mv a0, t0
1:  la t0, data
    sub t1, a0, t0
    li t0, 64
    bgeu t1, t0, 1f
    mv a0, t1
1:  li a1, 16
    li a2, ' '
    call print_hex
    csrr a0, mepc
    sub t0, a0, s1
    li t1, 64
    bgeu t0, t1, 1f
    mv a0, t0
1:  li a1, 16
    li a2, ' '
    call print_hex
    csrr a0, mstatus
    li a1, 16
    li a2, '\n'
    call print_hex
    li t0, 0x1800
    csrs mstatus, t0
    csrw mepc, s8
    mret

    .balign 16
data:
    .space 256
stack:
