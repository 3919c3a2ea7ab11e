/* Errors that QMP clients tell apart. Any other GError is of class GenericError. */
#ifndef NANDU_QAPI_ERROR_H
#define NANDU_QAPI_ERROR_H

#include <glib.h>

#define QAPI_ERROR qapi_error_quark()
GQuark qapi_error_quark(void);

enum qapi_error {
    QAPI_ERROR_GENERIC,             /* "GenericError" */
    QAPI_ERROR_COMMAND_NOT_FOUND,   /* "CommandNotFound" */
    QAPI_ERROR_DEVICE_NOT_ACTIVE,   /* "DeviceNotActive" */
    QAPI_ERROR_DEVICE_NOT_FOUND,    /* "DeviceNotFound" */
    QAPI_ERROR_KVM_MISSING_CAP,     /* "KVMMissingCap" */
};

/* The class's name as in QMP's "class". */
const char *qapi_error_class(const GError *error);

#endif
