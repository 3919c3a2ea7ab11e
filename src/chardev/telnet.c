#include "chardev/telnet.h"

/* RFC 854, "TELNET commands"; option codes of RFC 856 to 858. */
enum {
    SE = 240,
    BREAK = 243,
    SB = 250,
    WILL = 251,
    DO = 253,
    DONT = 254,
    OPTION_BINARY = 0,
    OPTION_ECHO = 1,
    OPTION_SUPPRESS_GO_AHEAD = 3,
};

const uint8_t telnet_greeting[] = {
    TELNET_IAC, WILL, OPTION_ECHO,   TELNET_IAC, WILL, OPTION_SUPPRESS_GO_AHEAD,
    TELNET_IAC, WILL, OPTION_BINARY, TELNET_IAC, DO,   OPTION_BINARY,
};
const size_t telnet_greeting_size = sizeof(telnet_greeting);

static enum telnet_state after_command(uint8_t command)
{
    if (command >= WILL && command <= DONT) {
        return TELNET_OPTION;
    }
    return command == SB ? TELNET_SUBOPTION : TELNET_DATA;
}

size_t telnet_filter(struct telnet *telnet, uint8_t *data, size_t size, bool *brk)
{
    size_t n = 0;

    *brk = false;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = data[i];

        switch (telnet->state) {
        case TELNET_DATA:
            if (byte == TELNET_IAC) {
                telnet->state = TELNET_COMMAND;
            } else {
                data[n++] = byte;
            }
            break;
        case TELNET_COMMAND:
            if (byte == TELNET_IAC) {
                data[n++] = byte;
            }
            *brk |= byte == BREAK;
            telnet->state = byte == TELNET_IAC ? TELNET_DATA : after_command(byte);
            break;
        case TELNET_OPTION: telnet->state = TELNET_DATA; break;
        case TELNET_SUBOPTION:
            if (byte == TELNET_IAC) {
                telnet->state = TELNET_SUBOPTION_COMMAND;
            }
            break;
        case TELNET_SUBOPTION_COMMAND:
            telnet->state = byte == SE ? TELNET_DATA : TELNET_SUBOPTION;
            break;
        }
    }
    return n;
}
