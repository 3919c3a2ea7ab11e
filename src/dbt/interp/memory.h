/*
 * Guest memory as the interpreter accesses it: by host address, of any alignment.
 */
#ifndef NANDU_DBT_INTERP_MEMORY_H
#define NANDU_DBT_INTERP_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "dbt/ir.h"

/* Plain accesses of [size] 1, 2, 4 or 8 bytes: one host access, without order (but never moved by
 * the compiler over changes of the vCPU's state). Results are zero-extended. */
uint64_t interp_load(const void *host, unsigned size);
void interp_store(void *host, unsigned size, uint64_t value);

/* Atomic, sequentially consistent. Compare-and-swap: if memory holds *expected, store [desired] and
 * return true; else *expected becomes what it holds. */
bool interp_compare_swap(void *host, unsigned size, uint64_t *expected, uint64_t desired);
/* What an atomic operation stores, given the old value. */
uint64_t interp_atomic_result(enum ir_amo kind, enum ir_type type, uint64_t old, uint64_t operand);
/* Returns the old value, zero-extended. [type] is I8 .. I64. */
uint64_t interp_atomic(enum ir_amo kind, enum ir_type type, void *host, uint64_t operand);

#endif
