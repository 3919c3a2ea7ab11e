/* What authz-list and authz-listfile have in common. */
#ifndef NANDU_CRYPTO_AUTHZ_RULES_H
#define NANDU_CRYPTO_AUTHZ_RULES_H

#include "qapi/qapi_types.h"

/* Whether the first rule that matches identity, or else fallback, allows. */
bool authz_rules_allow(const struct qapi_qauth_zlist_rule_list *rules,
                       enum qapi_qauth_zlist_policy fallback, const char *identity);

#endif
