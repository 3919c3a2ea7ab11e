/* Objects authz-simple, authz-list and authz-listfile. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "control.h"
#include "crypto/authz.h"

static bool ask(struct control *c, const char *identity)
{
    GError *error = NULL;
    bool allowed = true;

    g_assert_true(authz_is_allowed(c->root, "a", identity, &allowed, &error));
    g_assert_no_error(error);
    return allowed;
}

static void test_simple(void)
{
    struct control c;

    control_init(&c);
    control_add(&c, "{'qom-type': 'authz-simple', 'id': 'a', 'identity': 'CN=fred'}");
    g_assert_true(ask(&c, "CN=fred"));
    g_assert_false(ask(&c, "CN=bob"));
    g_assert_false(ask(&c, ""));
    g_assert_false(ask(&c, "CN=fred,O=x"));
    control_add_fails(&c, "*identity*", "{'qom-type': 'authz-simple', 'id': 'b'}");
    control_clear(&c);
}

static void test_list(void)
{
    GError *error = NULL;
    struct control c;

    control_init(&c);
    control_add(&c, "{'qom-type': 'authz-list', 'id': 'a', 'policy': 'deny', 'rules': ["
                    "{'match': 'fred', 'policy': 'allow', 'format': 'exact'},"
                    "{'match': 'bob', 'policy': 'allow'},"
                    "{'match': 'danger*', 'policy': 'deny', 'format': 'glob'},"
                    "{'match': 'dan*', 'policy': 'allow', 'format': 'glob'},"
                    "{'match': 'star*', 'policy': 'allow', 'format': 'exact'}]}");
    g_assert_true(ask(&c, "fred"));
    g_assert_true(ask(&c, "bob"));
    g_assert_true(ask(&c, "dan"));
    g_assert_true(ask(&c, "danish"));
    g_assert_false(ask(&c, "dangermouse"));
    g_assert_false(ask(&c, "joe"));
    g_assert_false(ask(&c, "starry"));
    g_assert_true(ask(&c, "star*"));
    control_delete(&c, "a");

    control_add(&c, "{'qom-type': 'authz-list', 'id': 'a'}");
    g_assert_false(ask(&c, "fred"));
    /* Both may be changed while it is in use. */
    g_assert_true(object_set_str(object_resolve(c.root, "/objects/a", NULL, NULL), "policy",
                                 "allow", &error));
    g_assert_no_error(error);
    g_assert_true(ask(&c, "fred"));
    control_delete(&c, "a");

    control_add_fails(&c, "*polic*", "{'qom-type': 'authz-list', 'id': 'a', 'policy': 'maybe'}");
    control_add_fails(&c, "*polic*",
                      "{'qom-type': 'authz-list', 'id': 'a', 'rules': [{'match': 'x'}]}");
    control_clear(&c);
}

static void test_unknown(void)
{
    GError *error = NULL;
    bool allowed = true;
    struct control c;

    control_init(&c);
    g_assert_false(authz_is_allowed(c.root, "none", "fred", &allowed, &error));
    g_assert_false(allowed);
    assert_error_matches(error, "No authz object with id 'none'");
    g_clear_error(&error);
    control_add(&c, "{'qom-type': 'secret', 'id': 's', 'data': 'x'}");
    g_assert_false(authz_is_allowed(c.root, "s", "fred", &allowed, &error));
    assert_error_matches(error, "*not an authz object but of type secret");
    g_clear_error(&error);
    control_clear(&c);
}

static const char fred[] =
    "{\"rules\": [{\"match\": \"fred\", \"policy\": \"allow\"}], \"policy\": \"deny\"}";
static const char bob[] = "{\"rules\": [{\"match\": \"bob\", \"policy\": \"allow\"}]}";

/* Runs the loop until identity is (not) allowed, a second at most. */
static bool becomes(struct control *c, const char *identity, bool allowed)
{
    for (unsigned i = 0; i < 100; i++) {
        event_loop_iterate(c->loop, false);
        if (ask(c, identity) == allowed) {
            return true;
        }
        g_usleep(10000);
    }
    return false;
}

static void test_file(void)
{
    g_autofree char *path = NULL, *other = NULL;
    struct control c;

    control_init(&c);
    path = control_file(&c, "rules.json", fred, -1);
    control_add(&c, "{'qom-type': 'authz-listfile', 'id': 'a', 'filename': '%s'}", path);
    g_assert_true(ask(&c, "fred"));
    g_assert_false(ask(&c, "bob"));

    /* Replaced by a rename, as g_file_set_contents does. */
    g_free(control_file(&c, "rules.json", bob, -1));
    g_assert_true(becomes(&c, "bob", true));
    g_assert_false(ask(&c, "fred"));
    /* Written in place. */
    FILE *file = fopen(path, "w");
    fputs(fred, file);
    fclose(file);
    g_assert_true(becomes(&c, "fred", true));
    g_assert_false(ask(&c, "bob"));
    /* Broken: nobody is let in until it is whole again. */
    g_free(control_file(&c, "rules.json", "{\"rules\": [", -1));
    g_assert_true(becomes(&c, "fred", false));
    g_free(control_file(&c, "rules.json", fred, -1));
    g_assert_true(becomes(&c, "fred", true));
    other = g_build_filename(c.dir, "other", NULL);
    g_assert_cmpint(g_rename(path, other), ==, 0);
    g_assert_true(becomes(&c, "fred", false));
    g_assert_cmpint(g_rename(other, path), ==, 0);
    g_assert_true(becomes(&c, "fred", true));
    control_delete(&c, "a");

    control_add(&c, "{'qom-type': 'authz-listfile', 'id': 'a', 'filename': '%s', 'refresh': false}",
                path);
    g_free(control_file(&c, "rules.json", bob, -1));
    g_usleep(50000);
    event_loop_iterate(c.loop, false);
    g_assert_true(ask(&c, "fred"));
    control_clear(&c);
}

static void test_bad_file(void)
{
    g_autofree char *path = NULL;
    struct control c;

    control_init(&c);
    control_add_fails(&c, "*filename*", "{'qom-type': 'authz-listfile', 'id': 'a'}");
    control_add_fails(&c, "Unable to *'/nonexistent/x'*",
                      "{'qom-type': 'authz-listfile', 'id': 'a', 'filename': '/nonexistent/x'}");
    control_add_fails(&c, "Unable to read '/nonexistent': No such file or directory",
                      "{'qom-type': 'authz-listfile', 'id': 'a', 'filename': '/nonexistent'}");
    /* A pipe isn't waited for. */
    path = g_build_filename(c.dir, "pipe", NULL);
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    control_add_fails(&c, "Unable to read '*': Invalid argument",
                      "{'qom-type': 'authz-listfile', 'id': 'a', 'filename': '%s'}", path);
    g_clear_pointer(&path, g_free);
    for (unsigned i = 0; i < 5; i++) {
        const char *const bad[] = {"", "[]", "null", "{\"rules\": [{\"match\": \"x\"}]}",
                                   "{\"polcy\": \"allow\"}"};

        path = control_file(&c, "bad", bad[i], -1);
        control_add_fails(&c, "Unable to parse '*bad'*",
                          "{'qom-type': 'authz-listfile', 'id': 'a', 'filename': '%s'}", path);
        g_clear_pointer(&path, g_free);
    }
    control_clear(&c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/authz/simple", test_simple);
    g_test_add_func("/authz/list", test_list);
    g_test_add_func("/authz/unknown", test_unknown);
    g_test_add_func("/authz/file", test_file);
    g_test_add_func("/authz/bad-file", test_bad_file);
    return g_test_run();
}
