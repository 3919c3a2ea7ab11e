#!/usr/bin/env python3
"""Makes C (and the reference page) from a schema of commands, events and types.

    generate.py SCHEMA --output DIR --name NAME [--prefix P] [--define WORD]...
    generate.py SCHEMA --reference FILE.md

The first writes DIR/{qapi_types,qapi_commands,qapi_events}.{h,c}, with P in front of their names;
NAME is in `struct qapi_schema qapi_NAME_schema`.  The second writes the documentation as Markdown
("-": to stdout).

The language is QEMU's QAPI; what C it becomes is said in src/qapi/type.h and src/qapi/command.h.
Errors are printed as FILE:LINE: MESSAGE.
"""

import argparse
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from generator.check_docs import check_docs
from generator.emit_c import emit
from generator.parser import Parser, SchemaError
from generator.reference import reference
from generator.schema import Schema


def write_if_changed(path, text):
    """Leaves the file's time alone if it has the text already, so that nothing is built again."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    except OSError:
        pass
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def write_depfile(path, target, files):
    """What the output depends on, in Make's form: all schema files, and the generator itself."""
    folder = os.path.dirname(os.path.abspath(__file__))
    files = files + sorted(module.__file__ for module in sys.modules.values()
                           if (getattr(module, "__file__", None) or "").startswith(folder))
    names = [os.path.realpath(file).replace(" ", "\\ ") for file in files]
    write_if_changed(path, f"{target}: " + " ".join(names) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("schema")
    parser.add_argument("--output", metavar="DIR", help="where C files go")
    parser.add_argument("--name", default="system", help="of the struct qapi_schema")
    parser.add_argument("--prefix", default="", help="in front of the names of files")
    parser.add_argument("--define", action="append", default=[], metavar="WORD",
                        help="a condition ('if') that is on")
    parser.add_argument("--depfile", metavar="FILE")
    parser.add_argument("--reference", metavar="FILE", help="the reference page, - for stdout")
    args = parser.parse_args()

    try:
        parsed = Parser(args.schema)
        schema = Schema(parsed.items, set(args.define))
        check_docs(schema)
    except SchemaError as error:
        print(error, file=sys.stderr)
        return 1
    if args.output:
        os.makedirs(args.output, exist_ok=True)
        source = os.path.basename(args.schema)
        for name, text in emit(schema, args.name, args.prefix, source).items():
            write_if_changed(os.path.join(args.output, name), text)
        if args.depfile:
            write_depfile(args.depfile, os.path.join(args.output, f"{args.prefix}qapi_types.h"),
                          parsed.files)
    if args.reference:
        text = reference(schema, "QMP reference")
        if args.reference == "-":
            print(text, end="")
        else:
            write_if_changed(args.reference, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
