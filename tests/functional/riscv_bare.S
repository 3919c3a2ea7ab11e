# What the bare-metal programs beside this file share: hart 0 runs main in machine mode, with a UART
# of the 16550 kind at 0x10000000; the program ends through the test device at 0x100000. s11 is the
# UART's.

    .option norvc
    .globl _start
_start:
    csrr a0, mhartid
    bnez a0, 1f
    la sp, stack
    li s11, 0x10000000
    call main
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
1:  wfi
    j 1b

# Writes the low a1 hexadecimal digits of a0, and the character a2. Changes t registers.
print_hex:
    mv t5, ra
    slli t0, a1, 2
    li t1, 64
    sub t1, t1, t0
    sll t4, a0, t1
1:  srli a0, t4, 60
    slli t4, t4, 4
    addi a0, a0, '0'
    li t0, '9' + 1
    blt a0, t0, 2f
    addi a0, a0, 'a' - '9' - 1
2:  call print_char
    addi a1, a1, -1
    bnez a1, 1b
    mv a0, a2
    call print_char
    mv ra, t5
    ret

print_char:
    lbu t6, 5(s11)
    andi t6, t6, 0x20
    beqz t6, print_char
    sb a0, 0(s11)
    ret
