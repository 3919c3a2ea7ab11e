#include "qapi/compat.h"

#include <stdlib.h>

#include "qapi/qapi_types.h"

static bool has_feature(const char *const *features, const char *name)
{
    return features && g_strv_contains(features, name);
}

static bool accept_input(enum qapi_compat_policy_input input, const char *which, const char *kind,
                         const char *name, GError **error)
{
    switch (input) {
    case QAPI_COMPAT_POLICY_INPUT_REJECT:
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "%s %s %s disabled by policy", which,
                    kind, name);
        return false;
    case QAPI_COMPAT_POLICY_INPUT_CRASH:
        abort(); /* what the user asked for, to find the client that does it */
    default: return true;
    }
}

static bool check_features(const struct qapi_compat_policy *policy, const char *const *features,
                           const char *kind, const char *name, GError **error)
{
    if (has_feature(features, "deprecated") && policy->has_deprecated_input &&
        !accept_input(policy->deprecated_input, "Deprecated", kind, name, error)) {
        return false;
    }
    return !has_feature(features, "unstable") || !policy->has_unstable_input ||
           accept_input(policy->unstable_input, "Unstable", kind, name, error);
}

static bool hides(const struct qapi_compat_policy *policy, const char *const *features)
{
    return (has_feature(features, "deprecated") && policy->has_deprecated_output &&
            policy->deprecated_output == QAPI_COMPAT_POLICY_OUTPUT_HIDE) ||
           (has_feature(features, "unstable") && policy->has_unstable_output &&
            policy->unstable_output == QAPI_COMPAT_POLICY_OUTPUT_HIDE);
}

/* The type of a union's branch that json's tag picks, or NULL. */
static const struct qapi_type *branch_type(const struct qapi_type *type, json_object *json)
{
    json_object *tag;
    int value;

    if (type->kind != QAPI_KIND_UNION || !json_object_object_get_ex(json, type->tag->name, &tag)) {
        return NULL;
    }
    value = qapi_enum_parse(type->tag->type, json_object_get_string(tag), NULL);
    return value >= 0 ? type->branches[value].type : NULL;
}

static bool check_value(const struct qapi_compat_policy *policy, const struct qapi_type *type,
                        json_object *json, GError **error)
{
    const struct qapi_type *branch;

    if (type->kind == QAPI_KIND_LIST && json_object_is_type(json, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(json); i++) {
            if (!check_value(policy, type->element, json_object_array_get_idx(json, i), error)) {
                return false;
            }
        }
        return true;
    }
    if (type->kind == QAPI_KIND_ENUM && json_object_is_type(json, json_type_string)) {
        int value = qapi_enum_parse(type, json_object_get_string(json), NULL);

        return value < 0 || check_features(policy, type->values[value].features, "value",
                                           type->values[value].name, error);
    }
    if (!json_object_is_type(json, json_type_object)) {
        return true;
    }
    for (uint32_t i = 0; i < type->n_members; i++) {
        const struct qapi_member *member = &type->members[i];
        json_object *value;

        if (json_object_object_get_ex(json, member->name, &value) &&
            (!check_features(policy, member->features, "parameter", member->name, error) ||
             !check_value(policy, member->type, value, error))) {
            return false;
        }
    }
    branch = branch_type(type, json);
    return !branch || check_value(policy, branch, json, error);
}

bool qapi_compat_check(const struct qapi_compat_policy *policy, const struct qapi_command *command,
                       json_object *arguments, GError **error)
{
    return !policy ||
           (check_features(policy, command->features, "command", command->name, error) &&
            (!arguments || !command->arg || check_value(policy, command->arg, arguments, error)));
}

void qapi_compat_hide(const struct qapi_compat_policy *policy, const struct qapi_type *type,
                      json_object *json)
{
    const struct qapi_type *branch;

    if (!policy || !type || !json) {
        return;
    }
    if (type->kind == QAPI_KIND_LIST) {
        for (size_t i = 0; i < json_object_array_length(json); i++) {
            qapi_compat_hide(policy, type->element, json_object_array_get_idx(json, i));
        }
        return;
    }
    if (!json_object_is_type(json, json_type_object)) {
        return;
    }
    branch = branch_type(type, json);
    for (uint32_t i = 0; i < type->n_members; i++) {
        const struct qapi_member *member = &type->members[i];
        json_object *value;

        if (!json_object_object_get_ex(json, member->name, &value)) {
            continue;
        }
        if (hides(policy, member->features)) {
            json_object_object_del(json, member->name);
        } else {
            qapi_compat_hide(policy, member->type, value);
        }
    }
    qapi_compat_hide(policy, branch, json);
}

bool qapi_compat_hides_event(const struct qapi_compat_policy *policy,
                             const struct qapi_event *event)
{
    return policy && hides(policy, event->features);
}
