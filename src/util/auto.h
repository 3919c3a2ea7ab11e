/*
 * auto_ptr(TAG) p = ...;   a struct TAG * that is freed when it goes out of scope, by the function
 * that DEFINE_AUTO_PTR(TAG, FUNCTION) named; not if it is NULL. g_steal_pointer(&p) hands it on.
 * (g_autoptr is for types with a typedef, which our structures don't have.)
 */
#ifndef NANDU_UTIL_AUTO_H
#define NANDU_UTIL_AUTO_H

#define DEFINE_AUTO_PTR(tag, function)                       \
    static inline void tag##_auto_free(struct tag **pointer) \
    {                                                        \
        if (*pointer) {                                      \
            function(*pointer);                              \
        }                                                    \
    }

#define auto_ptr(tag) __attribute__((cleanup(tag##_auto_free), unused)) struct tag *

#endif
