/*
 * Classic BPF as seccomp filters use it (seccomp(2)). Private to seccomp.c.
 */
#ifndef NANDU_LINUX_USER_SECCOMP_BPF_H
#define NANDU_LINUX_USER_SECCOMP_BPF_H

#include <stdbool.h>
#include <stdint.h>

struct seccomp_data;
struct sock_filter;

/* Whether the kernel would take a program of [length] instructions, which may be anything. */
bool lu_bpf_is_valid(const struct sock_filter *code, unsigned length);

/* What a valid program returns for [data]: SECCOMP_RET_* with its data. It ends, since jumps go
 * forward only and the last instruction returns. */
uint32_t lu_bpf_run(const struct sock_filter *code, const struct seccomp_data *data);

#endif
