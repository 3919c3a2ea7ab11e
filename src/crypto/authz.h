/* Who may connect: objects authz-simple, -list, -listfile ask whether an identity is allowed. */
#ifndef NANDU_CRYPTO_AUTHZ_H
#define NANDU_CRYPTO_AUTHZ_H

#include "object/object.h"

/*
 * Is identity (an X.509 distinguished name, a SASL or PSK user name) allowed by the object id? An
 * object that isn't there or isn't of type "authz" is an error.
 */
bool authz_is_allowed(struct object *root, const char *id, const char *identity, bool *allowed,
                      GError **error);

/* The class data of types that descend from "authz". */
struct authz_ops {
    bool (*is_allowed)(struct object *obj, const char *identity);
};

#endif
