# A program for harts in machine mode, at the start of memory, which test_gdb_machine.py debugs. Its own
# software interrupt is pending (wfi ends at once), and never taken unless the debugger sets mstatus.MIE.

    .option nopic
    .globl _start, loop, load, store, store_done, add, call, after_call, idle, after_idle, second, again, trap
    .globl counter, sum, other
_start:
    la      t0, trap
    csrw    mtvec, t0
    csrr    t1, mhartid
    bnez    t1, second
    li      t0, 0x2000000       # the CLINT: msip of hart 0
    li      t1, 1
    sw      t1, 0(t0)
    li      t1, 8
    csrw    mie, t1
    la      s0, counter
    la      s1, sum
loop:
    nop
load:
    ld      t2, 0(s0)
    addi    t2, t2, 1
store:
    sd      t2, 0(s0)
store_done:
    nop
add:
    amoadd.d zero, t2, (s1)
    nop
call:
    ecall
after_call:
    nop
idle:
    wfi
after_idle:
    j       loop

second:
    la      s0, other
again:
    ld      t2, 0(s0)
    addi    t2, t2, 1
    sd      t2, 0(s0)
    j       again

    .balign 4
trap:
    csrr    t3, mepc
    addi    t3, t3, 4
    csrw    mepc, t3
    mret

    .data
    .balign 4096
counter:
    .quad   0
sum:
    .quad   0
    .balign 4096
other:
    .quad   0
