/*
 * RISC-V disassembler, from the tables that riscv.decode makes.
 */
#ifndef NANDU_RISCV_DISAS_H
#define NANDU_RISCV_DISAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Text of the instruction in bytes[0 .. size-1], at guest address [pc], as GNU objdump writes it
 * ("addi\ta0,a0,-16"; pseudo-instructions where they apply; branch targets as 0x... addresses).
 * All extensions are known. Undefined instructions are written as .insn with their bits. Returns
 * the length of the instruction, 2 or 4; 0 if [size] is too small.
 */
unsigned riscv_disassemble(const uint8_t *bytes, size_t size, uint64_t pc, char *text,
                           size_t text_size);

/* The same for the instruction in the low bits of [w]. With ![aliases] the name is that of the
 * encoding ("c.addi", "jalr"). */
void riscv_disassemble_word(uint32_t w, uint64_t pc, bool aliases, char *text, size_t text_size);

#endif
