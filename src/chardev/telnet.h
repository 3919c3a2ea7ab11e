/* The Telnet protocol (RFC 854) of a server that wants a character at a time, in binary. */
#ifndef NANDU_CHARDEV_TELNET_H
#define NANDU_CHARDEV_TELNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TELNET_IAC = 255 };

enum telnet_state {
    TELNET_DATA,
    TELNET_COMMAND,
    TELNET_OPTION,
    TELNET_SUBOPTION,
    TELNET_SUBOPTION_COMMAND
};

struct telnet {
    enum telnet_state state; /* of what is received */
    bool owed_iac;           /* the second byte of an escaped one is still to be sent */
};

/* What a server says first: echo, binary both ways, no go-aheads (RFC 856, 857, 858). */
extern const uint8_t telnet_greeting[];
extern const size_t telnet_greeting_size;

/*
 * Takes commands out of what was received, in place; returns the bytes that remain. *brk: a break
 * was among them.
 */
size_t telnet_filter(struct telnet *telnet, uint8_t *data, size_t size, bool *brk);

#endif
