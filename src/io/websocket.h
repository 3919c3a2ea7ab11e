/* The WebSocket protocol (RFC 6455), server's side, without input and output. */
#ifndef NANDU_IO_WEBSOCKET_H
#define NANDU_IO_WEBSOCKET_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEBSOCKET_MAX_REQUEST = 4096,   /* bytes of a request with its header lines */
    WEBSOCKET_MAX_HEADER = 14,      /* bytes in front of a frame's payload */
    WEBSOCKET_MAX_CONTROL = 125,    /* bytes of a control frame's payload (5.5) */
};

enum websocket_opcode {             /* 11.8 */
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

enum websocket_status {             /* 7.4.1 */
    WEBSOCKET_NORMAL_CLOSURE = 1000,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_UNSUPPORTED_DATA = 1003,
};

/* Where in the stream of frames the bytes that come next are. All zero at the start. */
struct websocket_decoder {
    uint8_t header[WEBSOCKET_MAX_HEADER];
    unsigned header_size;           /* bytes of the header that are here */
    bool in_payload;
    uint8_t opcode;
    bool fin;
    uint64_t left;                  /* bytes of the payload that are to come */
    uint8_t mask[4];
    unsigned mask_at;
    bool in_message;                /* the next data frame must be a continuation */
    uint8_t control[WEBSOCKET_MAX_CONTROL];
    unsigned control_size;
    enum websocket_status status;   /* what to tell the peer after an error */
};

struct websocket_step {
    size_t consumed;                /* bytes of in */
    size_t produced;                /* bytes of out */
    enum websocket_opcode control;  /* a control frame ended: its payload is in decoder.control;
                                       WEBSOCKET_CONTINUATION: none did */
};

/*
 * Goes on until in is used up, out is full or a control frame ended. The contents of binary
 * messages go to out, one after another. False and *error: the client broke the protocol, nothing
 * more can be read.
 */
bool websocket_decode(struct websocket_decoder *decoder, const uint8_t *in, size_t n_in,
                      uint8_t *out, size_t n_out, struct websocket_step *step, GError **error);

/* The header of a frame with length bytes, the last (and only) one of its message; its size. */
size_t websocket_header(uint8_t header[WEBSOCKET_MAX_HEADER], enum websocket_opcode opcode,
                        uint64_t length);

/*
 * The answer to a client's request (4.2), which ends with an empty line. *response is set in any
 * case and to be sent; the caller frees it. False and *error: the client asked for something else.
 */
bool websocket_answer(const char *request, size_t size, char **response, GError **error);

#endif
