/* The object type "authz-list": rules, of which the first that matches decides. */
#include <string.h>

#include "crypto/authz.h"
#include "crypto/authz_rules.h"
#include "object/object.h"

struct authz_list {
    struct object obj;
    enum qapi_qauth_zlist_policy policy;
    struct qapi_qauth_zlist_rule_list rules;
};

static bool rule_matches(const struct qapi_qauth_zlist_rule *rule, const char *identity)
{
    if (rule->has_format && rule->format == QAPI_QAUTH_ZLIST_FORMAT_GLOB) {
        return g_pattern_match_simple(rule->match, identity);
    }
    return strcmp(rule->match, identity) == 0;
}

bool authz_rules_allow(const struct qapi_qauth_zlist_rule_list *rules,
                       enum qapi_qauth_zlist_policy fallback, const char *identity)
{
    for (size_t i = 0; i < rules->n; i++) {
        if (rule_matches(&rules->v[i], identity)) {
            return rules->v[i].policy == QAPI_QAUTH_ZLIST_POLICY_ALLOW;
        }
    }
    return fallback == QAPI_QAUTH_ZLIST_POLICY_ALLOW;
}

static bool list_is_allowed(struct object *obj, const char *identity)
{
    const struct authz_list *list = (const struct authz_list *)obj;

    return authz_rules_allow(&list->rules, list->policy, identity);
}

static const struct authz_ops list_ops = {.is_allowed = list_is_allowed};

/* Clients may change both while the object is in use. */
static const struct property list_properties[] = {
    {.name = "policy",
     .offset = offsetof(struct authz_list, policy),
     .type = &qapi_type_qauth_zlist_policy,
     .default_value = "deny",
     .flags = PROPERTY_RUNTIME,
     .description = "What is said if no rule matches: deny or allow"},
    {.name = "rules",
     .offset = offsetof(struct authz_list, rules),
     .type = &qapi_type_qauth_zlist_rule_list,
     .flags = PROPERTY_RUNTIME,
     .description = "The rules, in their order"},
};

static const char *const list_interfaces[] = {"user-creatable", NULL};

static const struct object_type authz_list_type = {
    .name = "authz-list",
    .parent = "authz",
    .description = "Authorisation by a list of rules",
    .instance_size = sizeof(struct authz_list),
    .properties = list_properties,
    .n_properties = G_N_ELEMENTS(list_properties),
    .interfaces = list_interfaces,
    .class_data = &list_ops,
};
OBJECT_TYPE(authz_list_type);
