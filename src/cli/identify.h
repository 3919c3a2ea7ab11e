/* What a file is: for "nandu run", which starts it. By its first bytes, never by its name. */
#ifndef NANDU_CLI_IDENTIFY_H
#define NANDU_CLI_IDENTIFY_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum file_kind {
    FILE_UNKNOWN,
    FILE_KERNEL,        /* Linux Image, EFI zboot, an ELF kernel, or one of them packed */
    FILE_FIRMWARE,      /* runs where the machine starts, or after OpenSBI */
    FILE_FLASH,         /* a UEFI firmware volume */
    FILE_INITRD,        /* a cpio archive, or one packed */
    FILE_DEVICE_TREE,
    FILE_DISK,
    FILE_ISO,           /* ISO 9660: a read-only disk */
    FILE_PROGRAM,       /* a Linux program */
    FILE_EFI_PROGRAM,   /* that isn't a Linux kernel */
    FILE_SCRIPT,
};

struct file_identity {
    enum file_kind kind;
    const char *what;           /* "a Linux kernel (Image)": for messages; static */
    const char *arch;           /* "riscv64", "aarch64", ...; NULL: any, or unknown. Static */
    const char *format;         /* of a disk: the block driver's name. Static */
    unsigned root;              /* of a raw disk: the partition that may be Linux's root; 0: none */
    bool has_partitions;        /* of a raw disk */
    bool is_boot_loader;        /* of a kernel: it takes no command line */
    char *interpreter;          /* of a dynamic program, owned; NULL: static */
};

/* Reads the file's first 2 MiB at most. False and *error: it can't be read, or isn't a file or a
 * block device. What is none of the kinds is FILE_UNKNOWN without an error. */
bool file_identify(const char *path, struct file_identity *identity, GError **error);
void file_identity_clear(struct file_identity *identity);

#endif
