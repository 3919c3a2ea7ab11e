/*
 * Packets of gdb's remote serial protocol (GDB manual, appendix E "GDB Remote Serial Protocol"):
 * framing, checksums, acknowledgements, and the small encodings used inside packets.
 */
#ifndef NANDU_DEBUG_GDB_PACKET_H
#define NANDU_DEBUG_GDB_PACKET_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GDB_PACKET_SIZE = 0x4000 }; /* bytes of payload, both ways */

/* Takes all of it (false: the connection is gone); must not call back. */
typedef bool gdb_write_fn(void *opaque, const void *data, size_t size);

struct gdb_conn {
    int fd;         /* owned by the caller; -1: write is called, and the caller feeds */
    gdb_write_fn *write;
    void *write_opaque;
    bool no_ack;    /* QStartNoAckMode */
    GByteArray *in; /* received, not yet taken */
    GString *sent;  /* the last packet as it was framed, for a retransmission */
};

enum gdb_input {
    GDB_INPUT_NONE, /* no complete packet yet */
    GDB_INPUT_PACKET,
    GDB_INPUT_INTERRUPT, /* the byte 0x03 between packets */
};

void gdb_conn_init(struct gdb_conn *conn, int fd);
void gdb_conn_init_fed(struct gdb_conn *conn, gdb_write_fn *write, void *opaque);
void gdb_conn_clear(struct gdb_conn *conn);

/* What was received. False when the peer sends more than a packet can be. */
bool gdb_conn_feed(struct gdb_conn *conn, const void *data, size_t size);

/* Read what there is (blocks if there is nothing). False at the end of the connection, or when the
 * peer sends more than a packet can be. */
bool gdb_conn_fill(struct gdb_conn *conn);

/* Take the next packet (acknowledged; its payload goes to [packet], NUL-terminated, still escaped)
 * or interrupt. A packet with a wrong checksum is refused and dropped. With [interrupt_only], a
 * packet stays where it is. */
enum gdb_input gdb_conn_next(struct gdb_conn *conn, GString *packet, bool interrupt_only);

/* Send a packet. False if the connection is gone. */
bool gdb_conn_send(struct gdb_conn *conn, const char *payload, size_t size);

/* Wait up to a second until the last packet was acknowledged, if the peer does that. */
void gdb_conn_flush(struct gdb_conn *conn);

/* ---- Encodings ---- */

void gdb_put_hex(GString *out, const void *data, size_t size);
/* Two digits a byte; returns how many bytes were read, up to [size] or the first non-digit. */
size_t gdb_get_hex(const char **text, void *data, size_t size);
/* A big-endian hexadecimal number; false if there is no digit or it has more than 64 bits. */
bool gdb_get_number(const char **text, uint64_t *value);
/* True and moves on if [text] starts with [token]. */
bool gdb_get_token(const char **text, const char *token);
void gdb_put_binary(GString *out, const void *data, size_t size);
/* Binary data with its escapes to [data] (room for [size]); returns how many bytes it was. */
size_t gdb_get_binary(const char *in, size_t in_size, void *data, size_t size);

/* Number of a Linux signal (the generic numbers) in the protocol, and back (0: none such). */
unsigned gdb_signal_from_linux(unsigned sig);
unsigned gdb_signal_to_linux(unsigned sig);

#endif
