"""The documents say what the program does: options, variables, log items, paths, numbers."""

import os
import re
import subprocess

import pytest

from conftest import TOP, run

MAN = os.path.join(TOP, "man", "nandu-riscv64.1")
PAGES = ["README.md", "docs/architecture.md"]

# Something to log for each item: a signal for "int", a call that isn't there for "unimp".
PROGRAM = """
#include <signal.h>
#include <unistd.h>
static void handler(int sig) { (void)sig; }
int main(void)
{
    signal(SIGUSR1, handler);
    return raise(SIGUSR1) || syscall(9999) != -1;
}
"""


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def man_text(section):
    """A section of the manual page, with its escapes undone."""
    text = read(MAN).replace("\\-", "-")
    text = re.sub(r"\\f[BIRP]", "", text)
    return re.search(rf'^\.SH "?{section}"?\n(.*?)(?=^\.SH|\Z)', text, re.M | re.S).group(1)


def man_entries(text):
    """The first words of the entries (.TP) of a text without what is nested in it."""
    return re.findall(r"^\.TP\n\.BI? ([^\n]*)", text, re.M)


def without_nested(text):
    return re.sub(r"^\.RS\n.*?^\.RE\n", "", text, flags=re.M | re.S)


def nested_words(option):
    """What is listed below an option: the names of its entries, without values."""
    body = re.search(rf'^\.TP\n\.BI? -{option}\b.*?^\.RS\n(.*?)^\.RE', man_text("OPTIONS"),
                     re.M | re.S).group(1)
    return {re.split(r"[= ]", entry)[0] for entry in man_entries(body)}


@pytest.fixture(scope="module")
def help_text(nandu):
    done = run([nandu, "-h"])
    assert done.status == 0
    return done.text


def help_rows(help_text):
    """(option, variable or None) of each row."""
    return re.findall(r"^-(\S+)(?:.*? (QEMU_\w+))?", help_text, re.M)


def test_options(help_text):
    listed = {name for name, _ in help_rows(help_text)}
    entries = man_entries(without_nested(man_text("OPTIONS")))
    documented = {word.lstrip("-") for entry in entries
                  for word in re.split(r"[,\s]+", entry) if word.startswith("-")}
    assert documented == listed


def test_variables(help_text):
    listed = {(variable, name) for name, variable in help_rows(help_text) if variable}
    documented = set(re.findall(r"(QEMU_\w+)\s+-(\S+)", man_text("ENVIRONMENT")))
    assert documented == listed


def test_variables_work(nandu):
    """Under both names; Nandu's own wins."""
    bad, good = "no-such-model", "rv64"
    for env, ok in (({"QEMU_CPU": bad}, False), ({"NANDU_CPU": bad}, False),
                    ({"QEMU_CPU": bad, "NANDU_CPU": good}, True)):
        done = run([nandu, "/nonexistent"], extra_env=env)
        assert done.status == 1 and ("No such file" in done.error) == ok, done


def test_log_items(nandu):
    listed = set(re.findall(r"^(\w+) ", run([nandu, "-d", "help"]).text.split("\n", 1)[1], re.M))
    assert nested_words("d") == listed


def test_translator_keys(nandu):
    table = re.search(r"dbt_rows\[\] = \{\n(.*?)^\};", read("src/cli/user_options.c"),
                      re.M | re.S).group(1)
    keys = set(re.findall(r'\{"([\w-]+)"', table))
    assert nested_words("dbt") == keys
    help_text = run([nandu, "-h"]).text
    for key in keys:
        assert re.search(rf"\b{key}\b", help_text.split("Options of the translator")[1]), key


def test_each_log_item_logs(nandu, cross_gcc, tmp_path):
    """No item is accepted and ignored."""
    source, program = tmp_path / "program.c", tmp_path / "program"
    source.write_text(PROGRAM)
    subprocess.run([cross_gcc, "-static", "-o", program, source], check=True)
    silent = run([nandu, program])
    assert silent.status == 0 and not silent.err, silent
    for item in nested_words("d") - {"nochain"}:
        done = run([nandu, "-d", item, program])
        assert done.status == 0 and done.err, (item, done)
    chained = run([nandu, "-d", "exec", program])
    every = run([nandu, "-d", "exec,nochain", program], timeout=300)
    assert every.err.count(b"Trace ") > 2 * chained.err.count(b"Trace ")


@pytest.mark.parametrize("page", PAGES)
def test_paths(page):
    """Links and names of files and folders lead somewhere."""
    text = read(page)
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    for link in links:
        assert os.path.exists(os.path.join(TOP, os.path.dirname(page), link)), link
    for name in re.findall(r"`((?:src|tests|tools|docs|bench|man)/[\w./-]*)`", text):
        if name.startswith("bench/results/"):
            continue        # made by "make bench"
        assert os.path.exists(os.path.join(TOP, name)), name


def test_make_targets():
    known = set(re.findall(r"^([\w-]+):", read("Makefile"), re.M))
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", read(page), re.M):
            assert target in known, (page, target)


def test_count_of_system_calls():
    there = re.search(r"^## There: (\d+ of \d+)$", read("docs/syscalls.md"), re.M).group(1)
    assert there in read("README.md")
