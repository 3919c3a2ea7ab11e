/* -compat: what happens to parts of QMP that have the feature "deprecated" or "unstable". */
#ifndef NANDU_QAPI_COMPAT_H
#define NANDU_QAPI_COMPAT_H

#include "qapi/command.h"

/* policy NULL: everything is accepted. */

/* Whether a command with these arguments (may be NULL) may be executed. False and *error: rejected.
 * Doesn't return if the policy is to crash. */
bool qapi_compat_check(const struct qapi_compat_policy *policy, const struct qapi_command *command,
                       json_object *arguments, GError **error);
/* Takes members out of a value of this type that the policy hides. type and json may be NULL. */
void qapi_compat_hide(const struct qapi_compat_policy *policy, const struct qapi_type *type,
                      json_object *json);
bool qapi_compat_hides_event(const struct qapi_compat_policy *policy,
                             const struct qapi_event *event);

#endif
