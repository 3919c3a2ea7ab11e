/*
 * key=value,key2.sub=value,... as QEMU's options are: "," in values is doubled, "a.b=" nests,
 * "a.0=" makes lists, a first value without a key goes to implied_key.
 */
#ifndef NANDU_QAPI_KEYVAL_H
#define NANDU_QAPI_KEYVAL_H

#include "qapi/type.h"

/*
 * An object whose scalars are strings. *help (may be NULL) is set if "help" or "?" stands alone.
 * Errors name the place.
 */
json_object *keyval_parse(const char *text, const char *implied_key, bool *help, GError **error);
/*
 * As an option's argument: JSON if it begins with "{", the contents of FILE for "@FILE", else
 * key=value. *is_json tells which of qapi_from_json and qapi_from_keyval reads it.
 */
json_object *keyval_parse_option(const char *text, const char *implied_key, bool *help,
                                 bool *is_json, GError **error);
/*
 * The flat form of older options ("-chardev socket,id=a,host=b,server=on,wait"): keys don't nest, a
 * key without "=" is a boolean ("nofoo": off), a later one wins.
 */
json_object *keyval_parse_flat(const char *text, const char *implied_key, bool *help,
                               GError **error);
/* "4k", "1.5G", "0x1000" -> bytes; default_unit 'B', 'M'... for a bare number. */
bool keyval_parse_size(const char *text, char default_unit, uint64_t *bytes, GError **error);
/* on/off, yes/no, true/false, y/n */
bool keyval_parse_bool(const char *text, bool *value, GError **error);

#endif
