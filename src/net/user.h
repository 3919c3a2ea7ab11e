/* netdev user: what its files have in common. Main loop's thread. */
#ifndef NANDU_NET_USER_H
#define NANDU_NET_USER_H

#include <slirp/libslirp.h>

#include "net/netdev.h"

struct user_net {
    struct netdev netdev;
    Slirp *slirp;
    struct event_loop *loop;
    struct clocks *clocks;
    struct log *log;
    bool inside;                /* libslirp is running: it isn't to be entered again */
    struct bottom_half *update; /* what it waits for may have changed */
    struct bottom_half *ready;  /* some descriptor is ready */
    struct timer *timeout;
    GHashTable *fds;            /* int -> struct user_fd */
    GPtrArray *polled;          /* struct user_fd or NULL if it is closed, in libslirp's order */
    unsigned round;
    GPtrArray *guest_forwards;  /* struct guest_forward */
};

/* libslirp's configuration, and what it points to. */
struct user_config {
    SlirpConfig slirp;
    GPtrArray *dnssearch;       /* const char *, borrowed, NULL at the end; NULL: none */
};

/* What the options say; their strings are borrowed. Clear it in any case. */
bool user_config_init(struct user_config *config, const struct qapi_netdev_user_options *options,
                      GError **error);
void user_config_clear(struct user_config *config);

/* Text as of hostfwd and guestfwd. */
bool user_add_host_forward(struct user_net *user, const char *rule, GError **error);
bool user_add_guest_forward(struct user_net *user, const struct netdev_context *context,
                            const char *rule, GError **error);
/* Chardevs of guestfwd may have bytes that are wanted now. */
void user_guest_forwards_ready(struct user_net *user);
void user_close_guest_forwards(struct user_net *user);
/* Something was given to libslirp. */
void user_changed(struct user_net *user);

#endif
