/*
 * Host code in assembler text, for -d out_asm; in hexadecimal if there is no disassembler.
 */
#include <inttypes.h>
#ifdef NANDU_HAVE_CAPSTONE
#include <capstone/capstone.h>
#endif

#include "dbt/dbt_priv.h"

#ifdef NANDU_HAVE_CAPSTONE

void host_log_code(struct dbt *dbt, const struct block *b, FILE *f)
{
    csh handle;
    cs_insn *insn;
    uint32_t size = b->code_end - b->code;

    fprintf(f, "OUT: [size=%u]\n", size);
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK)
        return;
    size_t n = cs_disasm(handle, dbt->cache.rx + b->code, size,
                         (uint64_t)(uintptr_t)dbt->cache.rx + b->code, 0, &insn);
    unsigned fault = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t offset = insn[i].address - (uint64_t)(uintptr_t)dbt->cache.rx;
        if (fault < b->n_faults && b->faults[fault].host_offset <= offset) {
            fprintf(f, "  -- guest pc 0x%" PRIx64 "\n", b->pc + (uint64_t)b->faults[fault].guest);
            fault++;
        }
        fprintf(f, "0x%" PRIx64 ":  %s %s\n", insn[i].address, insn[i].mnemonic, insn[i].op_str);
    }
    cs_free(insn, n);
    cs_close(&handle);
    fprintf(f, "\n");
}
#else
void host_log_code(struct dbt *dbt, const struct block *b, FILE *f)
{
    fprintf(f, "OUT: [size=%u]", b->code_end - b->code);
    for (uint32_t i = b->code; i < b->code_end; i++)
        fprintf(f, "%s%02x", (i - b->code) % 32 ? "" : "\n", dbt->cache.rx[i]);
    fprintf(f, "\n\n");
}
#endif
