# A line for each CSR that can be read in machine mode: its number, its value, and, unless it is
# read-only, what is read back after all ones and after zero were written. The accesses are made at
# run time.

#include "riscv_bare.S"

main:
    mv s10, ra
    la t0, skip
    csrw mtvec, t0
    li s0, 0                    # number
each:
    li s2, 0                    # 1: it trapped
    li s5, 0
    slli s1, s0, 20
    li t0, 0x2b73               # csrrs s6, number, x0
    or t0, t0, s1
    la t1, slot_read
    sw t0, 0(t1)
    sw t0, 4(t1)
    li t0, 0x13                 # nop
    la t1, slot_write
    sw t0, 0(t1)
    la t1, slot_restore
    sw t0, 0(t1)
    call access
    bnez s2, next
    mv s4, s6                   # its value
    mv a0, s0
    li a1, 3
    li a2, ' '
    call print_hex
    mv a0, s4
    li a1, 16
    li a2, ' '
    call print_hex
    srli t0, s0, 10
    li t1, 3
    beq t0, t1, end_line
    li t0, 0xa9073              # csrrw x0, number, s5
    or t0, t0, s1
    la t1, slot_write
    sw t0, 0(t1)
    li t0, 0xa1073              # csrrw x0, number, s4
    or t0, t0, s1
    la t1, slot_restore
    sw t0, 0(t1)
    li s5, -1
    call access
    mv a0, s6
    li a1, 16
    li a2, ' '
    call print_hex
    li s5, 0
    call access
    mv a0, s6
    li a1, 16
    li a2, ' '
    call print_hex
end_line:
    li a0, '\n'
    call print_char
next:
    addi s0, s0, 1
    # Left out, since ones shut out the program: pmpcfg (locks), mseccfg.
    li t0, 0x3a0
    bne s0, t0, 1f
    li s0, 0x3b0
1:  li t0, 0x747
    bne s0, t0, 1f
    addi s0, s0, 1
    # And the triggers, of which there are none here.
1:  li t0, 0x7a0
    bne s0, t0, 1f
    li s0, 0x7b0
1:  li t0, 4096
    blt s0, t0, each
    mv ra, s10
    ret

# Nothing but registers is used between writing and restoring: with mstatus all ones memory is
# another's.
    .balign 64
access:
    fence.i
    j slot_write
    .balign 64
slot_write:
    nop
slot_read:
    nop
    nop
slot_restore:
    nop
    la t0, skip
    csrw mtvec, t0
    ret

    .balign 4
skip:
    li s2, 1
    csrr t0, mepc
    addi t0, t0, 4
    csrw mepc, t0
    li t0, 0x1800
    csrs mstatus, t0
    mret

    .balign 16
    .space 256
stack:
