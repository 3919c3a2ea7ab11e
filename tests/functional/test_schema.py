"""The schema's generator: errors name the place; conditions; the reference page is up to date."""

import os
import re
import subprocess
import sys

import pytest

from conftest import TOP, run

sys.dont_write_bytecode = True

GENERATE = os.path.join(TOP, "src", "qapi", "generate.py")
SYSTEM = os.path.join(TOP, "src", "qapi", "schema", "system.json")
sys.path.insert(0, os.path.dirname(GENERATE))

from generator.check_docs import check_docs
from generator.parser import Parser, SchemaError
from generator.schema import Schema

PAGE = os.path.join(TOP, "docs", "qmp-reference.md")


def generate(folder, text, *options):
    """Runs the generator on a schema; the output's files are in folder."""
    path = os.path.join(folder, "x.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return run([GENERATE, path, "--output", folder, "--name", "x", *options])


def check(folder, text):
    """The error of a schema, or None; in this process, which is faster."""
    path = os.path.join(folder, "x.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        check_docs(Schema(Parser(path).items, set()))
    except SchemaError as error:
        return str(error)
    return None


def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.read()


ENUM = "{ 'enum': 'E', 'data': [ 'a' ] }"
STRUCT = "{ 'struct': 'S', 'data': {} }"
A = "{ 'struct': 'A', 'data': {} }"
A_WITH_B = "{ 'struct': 'A', 'data': { 'b': 'str' } }"
UNION = "\n{ 'union': 'U', 'base': { 't': 'E' }, 'discriminator': 't', "

# (line of the error, a part of it, schema)
ERRORS = [
    # syntax
    (1, "unexpected character '$'", "$"),
    (1, "'{' expected, not '['", "[]"),
    (1, "a key in quotes expected, not '}'", "{ 'a': true, }"),
    (1, "unexpected character", "{ 'struct: 1 }"),
    (2, "':' expected, not '}'", "{ 'struct'\n}"),
    (1, "',' expected, not 'b'", "{ 'a': 'x' 'b': 'y' }"),
    (1, "a value expected, not ':'", "{ 'a': : }"),
    (1, "'a' a second time", "{ 'a': 'x', 'a': 'y' }"),
    (2, "a key in quotes expected, not the end of the file", "{ 'a': 'x',\n"),
    (1, "a definition has one of the keys", "{ 'strukt': 'A', 'data': {} }"),
    (1, "a definition has one of the keys", "{ 'struct': 'A', 'enum': 'A', 'data': {} }"),
    (1, "unknown key 'dat'", "{ 'struct': 'A', 'dat': {} }"),
    (1, "the key 'data' is missing", "{ 'struct': 'A' }"),
    (1, "no file", "{ 'include': 'nope.json' }"),
    (1, "write { 'include': 'FILE' }", "{ 'include': 'x.json', 'a': 'b' }"),
    (1, "unknown key 'fast'", "{ 'pragma': { 'fast': true } }"),
    # names
    (1, "is no name for a definition", "{ 'struct': '1A', 'data': {} }"),
    (1, "is no name for a definition", "{ 'struct': { }, 'data': {} }"),
    (1, "the name 'str' is reserved", "{ 'struct': 'str', 'data': {} }"),
    (1, "the name 'FooList' is reserved", "{ 'struct': 'FooList', 'data': {} }"),
    (2, "'A' is already defined at", "{ 'struct': 'A', 'data': {} }\n{ 'enum': 'A', 'data': [] }"),
    (2, "'a b' is no name for a member", "{ 'struct': 'A', 'data': {\n'a b': 'str' } }"),
    (1, "'has-x' is no name for a member", "{ 'struct': 'A', 'data': { 'has-x': 'str' } }"),
    (1, "clashes with 'a-b'", "{ 'struct': 'A', 'data': { 'a-b': 'str', 'a_b': 'str' } }"),
    (1, "member 'a' is there twice", "{ 'struct': 'A', 'data': { 'a': 'str', '*a': 'str' } }"),
    # types
    (2, "no type 'B'", "{ 'struct': 'A', 'data': {\n'b': 'B' } }"),
    (1, "a type is the name of one", "{ 'struct': 'A', 'data': { 'b': [ 'str', 'str' ] } }"),
    (1, "a type is the name of one", "{ 'struct': 'A', 'data': { 'b': true } }"),
    (1, "no type 'B' (its condition is off)",
     "{ 'struct': 'A', 'data': { 'b': 'B' } } { 'struct': 'B', 'data': {}, 'if': 'OFF' }"),
    (1, "the base 'E' isn't a struct", "{ 'struct': 'A', 'base': 'E', 'data': {} }" + ENUM),
    (1, "is its own base", "{ 'struct': 'A', 'base': 'A', 'data': {} }"),
    (1, "needs a 'A' in it", "{ 'struct': 'A', 'data': { 'b': 'B' } } "
                             "{ 'struct': 'B', 'data': { 'a': 'A' } }"),
    (2, "clashes with 'x'", "{ 'struct': 'B', 'data': { 'x': 'str' } }\n"
                            "{ 'struct': 'A', 'base': 'B', 'data': { 'x': 'str' } }"),
    # enums
    (1, "value 'a' is there twice", "{ 'enum': 'E', 'data': [ 'a', 'a' ] }"),
    (1, "is no name for a value", "{ 'enum': 'E', 'data': [ 'a b' ] }"),
    (1, "is no name for a value", "{ 'enum': 'E', 'data': [ true ] }"),
    (1, "'data' is a list", "{ 'enum': 'E', 'data': { } }"),
    # unions
    (1, "the discriminator 'x' must be", "{ 'union': 'U', 'base': { 'a': 'str' }, "
     "'discriminator': 'x', 'data': { 'a': 'S' } }" + STRUCT),
    (1, "the discriminator 'a' must be", "{ 'union': 'U', 'base': { 'a': 'str' }, "
     "'discriminator': 'a', 'data': { 'a': 'S' } }" + STRUCT),
    (2, "the discriminator 't' must be", ENUM + STRUCT + "\n{ 'union': 'U', "
     "'base': { '*t': 'E' }, 'discriminator': 't', 'data': { 'a': 'S' } }"),
    (2, "branch 'b' isn't a value of 'E'", ENUM + STRUCT + UNION + "'data': { 'b': 'S' } }"),
    (2, "must be a struct or union", ENUM + UNION + "'data': { 'a': 'str' } }"),
    (2, "has itself as a branch", ENUM + UNION + "'data': { 'a': 'U' } }"),
    (1, "clashes with 't'", "{ 'struct': 'S', 'data': { 't': 'str' } }" + ENUM
     + UNION + "'data': { 'a': 'S' } }"),
    # alternates
    (1, "can't be told from 'a'", "{ 'alternate': 'A', 'data': { 'a': 'int', 'b': 'number' } }"),
    (1, "can't be told from 'a'",
     ENUM + "{ 'alternate': 'A', 'data': { 'a': 'str', 'b': 'E' } }"),
    (1, "can't be a branch", "{ 'alternate': 'A', 'data': { 'a': 'any' } }"),
    (1, "with the branches", "{ 'alternate': 'A', 'data': { } }"),
    # commands and events
    (1, "no type 'X'", "{ 'command': 'c', 'data': 'X' }"),
    (1, "'data' must be a struct", "{ 'command': 'c', 'data': 'str' }"),
    (3, "'data' must be a struct, or with 'boxed' a union",
     ENUM + STRUCT + UNION + "'data': { 'a': 'S' } }\n{ 'command': 'c', 'data': 'U' }"),
    (1, "'boxed' is true where", "{ 'command': 'c', 'data': { 'a': 'str' }, 'boxed': true }"),
    (1, "'gen' is true or false", "{ 'command': 'c', 'gen': 'no' }"),
    (1, "never answers", "{ 'command': 'c', 'returns': 'str', 'success-response': false }"),
    (1, "don't go together", "{ 'command': 'c', 'allow-oob': true, 'coroutine': true }"),
    (1, "unknown key 'returns'", "{ 'event': 'E', 'returns': 'str' }"),
    # conditions and features
    (1, "'if' is a name", "{ 'struct': 'A', 'data': {}, 'if': [ 'X' ] }"),
    (1, "'if' is a name", "{ 'struct': 'A', 'data': {}, 'if': { 'any': [] } }"),
    (1, "'if' is a name", "{ 'struct': 'A', 'data': {}, 'if': { 'none': [ 'X' ] } }"),
    (1, "is no name for a condition", "{ 'struct': 'A', 'data': {}, 'if': 'defined(X)' }"),
    (1, "'features' is a list", "{ 'struct': 'A', 'data': {}, 'features': 'x' }"),
    (1, "feature 'x' is there twice", "{ 'struct': 'A', 'data': {}, 'features': [ 'x', 'x' ] }"),
    # documentation
    (1, "begins a block that doesn't end", "##\n# @A:\n"),
    (2, "begins with '#'", "##\nA\n##\n"),
    (2, "begins with '# '", "##\n#A\n##\n" + A),
    (1, "no definition of 'A' follows", "##\n# @A:\n##\n"),
    (1, "documents 'A' but 'B' follows", "##\n# @A:\n##\n{ 'struct': 'B', 'data': {} }"),
    (2, "nothing may follow '@A:'", "##\n# @A: text\n##\n" + A),
    (4, "'A' has no 'bb'; is 'b' meant?", "##\n# @A:\n#\n# @bb: x\n##\n" + A_WITH_B),
    (5, "'b' is documented twice", "##\n# @A:\n#\n# @b: x\n# @b: x\n##\n" + A_WITH_B),
    (4, "'b' has no text", "##\n# @A:\n#\n# @b:\n##\n" + A_WITH_B),
    (6, "indent what belongs", "##\n# @A:\n#\n# @b: x\n#\n# y\n##\n" + A_WITH_B),
    (1, "'c' returns nothing", "##\n# @c:\n#\n# Returns: x\n##\n{ 'command': 'c' }"),
    (1, "'Returns:' is for commands", "##\n# @A:\n#\n# Returns: x\n##\n" + A),
    (6, "'c' has no feature 'f'", "##\n# @c:\n#\n# Features:\n#\n# @f: x\n##\n{ 'command': 'c' }"),
]

REQUIRED = "{ 'pragma': { 'doc-required': true } }\n"
EXCEPTION = "{ 'pragma': { 'doc-required': true, 'documentation-exceptions': [ 'A' ] } }\n"
DOC_ERRORS = [
    (1, "is a list of names", "{ 'pragma': { 'documentation-exceptions': 'A' } }"),
    (2, "'A' isn't documented", EXCEPTION + "{ 'struct': 'A', 'data': {} }"),
    (2, "'A' isn't documented", REQUIRED + "{ 'struct': 'A', 'data': {} }"),
    (2, "'b' isn't documented", REQUIRED + "##\n# @A:\n##\n" + A_WITH_B),
    (2, "the feature 'f' isn't documented",
     REQUIRED + "##\n# @c:\n##\n{ 'command': 'c', 'features': [ 'f' ] }"),
]


@pytest.mark.parametrize("line, message, text", ERRORS + DOC_ERRORS,
                         ids=[f"{n}" for n in range(len(ERRORS + DOC_ERRORS))])
def test_error(tmp_path, line, message, text):
    error = check(tmp_path, text)
    assert error and error.startswith(f"{tmp_path}/x.json:{line}: "), error
    assert message in error and "\n" not in error, error


def test_error_is_printed(tmp_path):
    result = generate(tmp_path, "{ 'struct': 'A' }")
    assert result.status == 1 and not result.out
    assert result.error == f"{tmp_path}/x.json:1: struct 'A': the key 'data' is missing\n"
    assert not os.path.exists(tmp_path / "qapi_types.h")


def test_every_prefix(tmp_path):
    """A schema that ends anywhere gets an error, never a traceback."""
    text = ("##\n# @c:\n#\n# @a: x\n#\n# Returns: y\n##\n"
            "{ 'command': 'c',\n  'data': { '*a': [ 'str' ] }, 'returns': 'int' }\n")
    for end in range(len(text)):
        error = check(tmp_path, text[:end])
        assert error is None or re.fullmatch(r"[^\n]*x.json:\d+: [^\n]+", error), (end, error)


def test_documentation_exception(tmp_path):
    text = EXCEPTION + "##\n# @A:\n##\n{ 'struct': 'A', 'data': { 'b': 'str' } }"
    assert check(tmp_path, text) is None


CONDITIONS = """
{ 'enum': 'E', 'data': [ 'always', { 'name': 'sometimes', 'if': 'X' } ] }
{ 'struct': 'S', 'data': { 'a': 'int', '*b': { 'type': 'int', 'if': { 'not': 'X' } } } }
{ 'union': 'U', 'base': { 'e': 'E' }, 'discriminator': 'e',
  'data': { 'sometimes': { 'type': 'S', 'if': 'X' } } }
{ 'command': 'both', 'if': { 'all': [ 'X', 'Y' ] }, 'data': { 'q': 'int' } }
{ 'command': 'any-one', 'if': { 'any': [ 'X', 'Y' ] } }
{ 'event': 'NEITHER', 'if': { 'not': { 'any': [ 'X', 'Y' ] } } }
{ 'command': 'plain', 'features': [ { 'name': 'f', 'if': 'X' } ] }
"""


@pytest.mark.parametrize("defines, there, gone", [
    ([], ["NEITHER", "has_b", "QAPI_E_ALWAYS"], ["both", "any-one", "SOMETIMES", '"f"']),
    (["X"], ["any-one", "QAPI_E_SOMETIMES", '"f"'], ["both", "NEITHER", "has_b"]),
    (["X", "Y"], ["both", "any-one"], ["NEITHER"]),
])
def test_conditions(tmp_path, defines, there, gone):
    options = [word for name in defines for word in ("--define", name)]
    assert generate(tmp_path, CONDITIONS, *options).status == 0
    text = "".join(read(tmp_path, name) for name in os.listdir(tmp_path)
                   if name.startswith("qapi_"))
    for word in there:
        assert re.search(rf"\b{re.escape(word)}\b" if word[0] != '"' else word, text), word
    for word in gone:
        assert word not in text, word


def test_unchanged(tmp_path):
    """Files whose text stays the same aren't written again; the depfile names what was read."""
    assert generate(tmp_path, CONDITIONS, "--depfile", tmp_path / "d").status == 0
    before = os.stat(tmp_path / "qapi_types.h").st_mtime_ns
    os.utime(tmp_path / "qapi_types.h", ns=(1, 1))
    assert generate(tmp_path, CONDITIONS + "\n# more\n").status == 0
    assert os.stat(tmp_path / "qapi_types.h").st_mtime_ns == 1 != before
    assert generate(tmp_path, CONDITIONS + "{ 'enum': 'More', 'data': [] }").status == 0
    assert os.stat(tmp_path / "qapi_types.h").st_mtime_ns != 1
    depends = read(tmp_path, "d")
    assert depends.startswith(f"{tmp_path}/qapi_types.h: ") and "x.json" in depends
    assert "generator/parser.py" in depends


def test_empty(tmp_path):
    """A schema without anything is C all the same."""
    assert generate(tmp_path, "", "--prefix", "x_").status == 0
    flags = subprocess.run(["pkg-config", "--cflags", "glib-2.0"], capture_output=True, text=True,
                           check=True).stdout.split()
    for name in ("types", "commands", "events"):
        done = run(["cc", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *flags,
                    "-I", os.path.join(TOP, "src"), "-I", tmp_path, tmp_path / f"x_qapi_{name}.c"])
        assert done.status == 0, done


def test_reference_text(tmp_path):
    text = """
##
# = Section
#
# Words.
##

##
# @do-it:
#
# Does @it to <that>.
#
# @it: the thing
#     that is done
#
# Returns: how it went
#
# Errors:
#     - If not
##
{ 'command': 'do-it', 'data': { '*it': [ 'Thing' ] }, 'returns': 'int', 'allow-oob': true }
{ 'struct': 'Thing', 'data': { 'name': 'str' } }
"""
    assert generate(tmp_path, text, "--reference", tmp_path / "page.md").status == 0
    page = read(tmp_path, "page.md")
    for part in ["\n## Section\n\nWords.\n", "\n### do-it\n", "Does `it` to &lt;that>.",
                 "out of band", "- `it`? ([ [Thing](#thing) ]): the thing\n  that is done\n",
                 "Returns int: how it went\n", "Errors:\n\n- If not\n",
                 "### Thing\n\n*object*\n\n- `name` (str)\n"]:
        assert part in page, (part, page)


def test_reference_is_current():
    result = run([GENERATE, SYSTEM, "--reference", "-"])
    assert result.status == 0, result
    with open(PAGE, encoding="utf-8") as file:
        assert file.read() == result.text, (
            "run  src/qapi/generate.py src/qapi/schema/system.json "
            "--reference docs/qmp-reference.md")
