#!/usr/bin/env python3
"""Makes a decoder in C from a list of instructions (src/guest/*/*.decode, which says its own form).

  decodegen.py FILE --header OUT.h    operand structs, numbers of instructions, prototypes
  decodegen.py FILE --source OUT.c    the decoder (nested switches), tables for the disassembler
  decodegen.py FILE --list            JSON for test generators: name, mask, match, fields, ext
"""

import argparse
import json
import os
import re
import sys


class SpecError(Exception):
    pass


class Field:
    """An operand: bit ranges (most significant first), signed, scaled, offset; or a constant."""

    def __init__(self, name, text):
        self.name, self.ranges, self.const = name, [], None
        self.signed, self.shift, self.add = False, 0, 0
        if text.startswith("#"):
            self.const = int(text[1:], 0)
            return
        match = re.fullmatch(r"(s?)([0-9:,]+)(?:<<(\d+))?(?:\+(\d+))?", text)
        if not match:
            raise SpecError(f"field {name}: bad bits '{text}'")
        self.signed = bool(match[1])
        for part in match[2].split(","):
            high, _, low = part.partition(":")
            high, low = int(high), int(low or high)
            if high < low:
                raise SpecError(f"field {name}: range {part} is upside down")
            self.ranges.append((high, low))
        self.shift, self.add = int(match[3] or 0), int(match[4] or 0)

    @property
    def width(self):
        return sum(high - low + 1 for high, low in self.ranges)

    @property
    def bits(self):
        return sum(((1 << (high - low + 1)) - 1) << low for high, low in self.ranges)

    def c_expr(self):
        """C expression of the value, from the instruction in w (uint32_t)."""
        if self.const is not None:
            return str(self.const)
        if self.signed and len(self.ranges) == 1 and self.ranges[0][0] == 31 and not self.shift:
            return f"(int32_t)w >> {self.ranges[0][1]}"
        parts, position = [], self.width
        for high, low in self.ranges:
            position -= high - low + 1
            part = f"bits(w, {high}, {low})"
            parts.append(f"{part} << {position}" if position else part)
        text = " | ".join(parts)
        if self.signed:
            text = f"sign({text}, {self.width})"
        if self.shift:
            text = f"{text} * {1 << self.shift}" if self.signed or len(parts) == 1 \
                else f"({text}) * {1 << self.shift}"
        if self.add:
            text = f"{text} + {self.add}"
        return text if self.signed else text

    def json(self):
        if self.const is not None:
            return {"name": self.name, "const": self.const}
        return {"name": self.name, "bits": [list(r) for r in self.ranges], "signed": self.signed,
                "shift": self.shift, "add": self.add}


class Format:
    def __init__(self, name, args, fields, syntax):
        self.name, self.args, self.fields, self.syntax = name, args, fields, syntax

    @property
    def bits(self):
        bits = 0
        for f in self.fields:
            bits |= f.bits
        return bits


class Row:
    def __init__(self, name, pattern, fmt, ext):
        self.name, self.format, self.ext_text = name, fmt, ext
        self.width = len(pattern)
        self.mask = int("".join("1" if c in "01" else "0" for c in pattern), 2)
        self.match = int("".join("1" if c == "1" else "0" for c in pattern), 2)
        self.field_bits = int("".join("1" if c == "." else "0" for c in pattern), 2)
        self.definition = None   # name, for =DEFINITION
        self.conditions = []     # (field, value): value != field
        self.syntax = fmt.syntax
        self.line = 0
        self.index = 0
        parts = re.split(r"[|+]", ext)
        if "|" in ext and "+" in ext:
            raise SpecError(f"extension '{ext}': | and + can't be mixed")
        self.any_of = parts if "|" in ext else []
        self.all_of = [] if "|" in ext else [p for p in parts if p != "I"]

    @property
    def ident(self):
        return self.name.replace(".", "_")

    def overlaps(self, other):
        return self.width == other.width and \
            not (self.match ^ other.match) & self.mask & other.mask

    def special_case_of(self, other):
        return self.mask & other.mask == other.mask and self.mask != other.mask


class Spec:
    def __init__(self, path):
        self.path, self.prefix = path, None
        self.args, self.formats, self.rows, self.aliases = {}, {}, [], []
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                line = re.sub(r"(^|\s)#(?![0-9-]).*", "", line).strip()
                if not line:
                    continue
                try:
                    self.parse(line, number)
                except (SpecError, KeyError, ValueError) as e:
                    raise SpecError(f"{path}:{number}: {e}") from e
        self.check()

    def parse(self, line, number):
        syntax = None
        match = re.search(r'"([^"]*)"\s*$', line)
        if match:
            syntax, line = match[1], line[:match.start()]
        words = line.split()
        kind = words[0]
        if kind == "prefix":
            self.prefix = words[1]
        elif kind == "args":
            self.args[words[1]] = words[2:]
        elif kind == "format":
            name, args = words[1], words[2]
            fields = {w.partition("=")[0]: w.partition("=")[2] for w in words[3:]}
            if args != "none" and set(fields) != set(self.args[args]):
                raise SpecError(f"format {name} doesn't give the fields of args {args}")
            # In the order of the set, which is the order in the struct.
            self.formats[name] = Format(name, args,
                                        [Field(f, fields[f]) for f in self.args.get(args, [])],
                                        syntax or "")
        elif kind == "alias":
            conditions = [tuple(w.split("=")) for w in words[3:]]
            self.aliases.append((words[1], words[2], conditions, syntax, number))
        else:
            self.parse_row(words, syntax, number)

    def parse_row(self, words, syntax, number):
        pattern, rest = "", list(words[1:])
        while rest and re.fullmatch(r"[01.-]+", rest[0]):
            pattern += rest.pop(0)
        if len(pattern) not in (16, 32):
            raise SpecError(f"{words[0]}: pattern has {len(pattern)} bits")
        if len(rest) < 2 or not rest[0].startswith("@"):
            raise SpecError(f"{words[0]}: wants @FORMAT and an extension")
        fmt = self.formats[rest[0][1:]]
        row = Row(words[0], pattern, fmt, rest[1])
        if row.field_bits != fmt.bits:
            raise SpecError(f"{row.name}: bits {row.field_bits ^ fmt.bits:#x} are in either the "
                            f"pattern's fields or in format {fmt.name}, not in both")
        for word in rest[2:]:
            if word.startswith("="):
                row.definition = word[1:]
            elif "!=" in word:
                field, _, value = word.partition("!=")
                row.conditions.append((field, int(value)))
            else:
                raise SpecError(f"{row.name}: what is '{word}'?")
        if syntax is not None:
            row.syntax = syntax
        row.line = number
        row.index = len(self.rows)
        self.rows.append(row)

    def check(self):
        if not self.prefix or not self.rows:
            raise SpecError(f"{self.path}: no prefix or no instructions")
        by_name = {}
        for row in self.rows:
            if row.name in by_name:
                raise SpecError(f"{self.path}:{row.line}: {row.name} is there twice")
            by_name[row.name] = row
        for row in self.rows:
            if row.definition:
                target = by_name.get(row.definition)
                if not target or target.definition or target.format.args != row.format.args:
                    raise SpecError(f"{self.path}:{row.line}: {row.name} can't be {row.definition}")
            for other in self.rows[:row.index]:
                if row.overlaps(other) and not other.special_case_of(row) and \
                        not (other.mask == row.mask and other.conditions):
                    raise SpecError(f"{self.path}:{row.line}: {row.name} overlaps {other.name}, "
                                    "which isn't a special case of it")
        for name, target, conditions, _, line in self.aliases:
            if target not in by_name:
                raise SpecError(f"{self.path}:{line}: alias {name}: no instruction {target}")
            fields = self.args[by_name[target].format.args]
            for field, value in conditions:
                if field not in fields:
                    raise SpecError(f"{self.path}:{line}: alias {name}: no field {field}")
        self.by_name = by_name

    def definitions(self):
        return [r for r in self.rows if not r.definition]


NOTE = "/* Made by tools/decodegen.py from {}: edit that. */\n"


def make_header(spec):
    p, up = spec.prefix, spec.prefix.upper()
    out = [NOTE.format(os.path.basename(spec.path)),
           f"#ifndef NANDU_{up}_DECODE_H", f"#define NANDU_{up}_DECODE_H", "",
           "#include <stdbool.h>", "#include <stdint.h>", "",
           f"struct {p}_lift;", "",
           "/* Operands of an instruction, as its definition gets them. */"]
    sets = {name: fields for name, fields in spec.args.items() if fields}
    for name, fields in sets.items():
        out += [f"struct {p}_arg_{name} {{", f"    int32_t {', '.join(fields)};", "};", ""]
    widest = max(len(f) for f in sets.values())
    out += [f"union {p}_args {{"]
    out += [f"    struct {p}_arg_{name} {name};" for name in sets]
    out += [f"    int32_t v[{widest}]; /* any of them, in the order of the struct */", "};", ""]
    out += ["/* The instructions that have a definition. */", f"enum {p}_insn {{"]
    out += [f"    {up}_INSN_{r.ident}," for r in spec.definitions()]
    out += [f"    {up}_INSN_COUNT", "};", ""]
    out += ["/* All encodings. */", f"enum {p}_row_number {{"]
    out += [f"    {up}_ROW_{r.ident}," for r in spec.rows]
    out += [f"    {up}_ROW_COUNT", "};", "",
            f"enum {{ {up}_ALIAS_COUNT = {len(spec.aliases)} }};", ""]
    alias_conditions = max([1] + [len(a[2]) for a in spec.aliases])
    out += [f"""/* One encoding; several may have the same definition. */
struct {p}_row {{
    const char *name;
    const char *syntax;         /* of the operands; field names stand for values */
    const char *const *fields;  /* names of args.v[] */
    uint32_t mask, match;
    uint64_t all_of, any_of;    /* extensions; any_of 0: no such condition */
    uint16_t insn;              /* enum {p}_insn */
    uint8_t length;             /* bytes */
    uint8_t n_fields;
}};

/* What the disassembler says instead, if all conditions hold. */
struct {p}_alias {{
    const char *name;
    const char *syntax;
    uint16_t insn;
    uint8_t n_conditions;
    struct {{
        uint8_t field;
        int8_t same_as; /* -1, or the field that it must be equal to */
        int32_t value;
    }} conditions[{alias_conditions}];
}};

extern const struct {p}_row {p}_rows[{up}_ROW_COUNT];
extern const struct {p}_alias {p}_aliases[{up}_ALIAS_COUNT];

/* The row (enum {p}_row_number) of the instruction in the low bits of w, and its operands in *args;
 * -1 if there is none with the extensions ext (bits 1 << enum {p}_ext). A w whose low two bits are
 * 3 is 32 bits long. */
int {p}_decode(uint32_t w, uint64_t ext, union {p}_args *args);

/* Calls the definition of insn (enum {p}_insn). False: the operands are reserved. */
bool {p}_lift_insn(struct {p}_lift *c, unsigned insn, const union {p}_args *args);

/* The definitions. */"""]
    for r in spec.definitions():
        args = r.format.args
        extra = f", const struct {p}_arg_{args} *a" if spec.args[args] else ""
        out += [f"bool {p}_lift_{r.ident}(struct {p}_lift *c{extra});"]
    out += ["", "#endif", ""]
    return "\n".join(out)


class Source:
    def __init__(self, spec):
        self.spec, self.out = spec, []

    def line(self, depth, text):
        self.out.append("    " * depth + text)

    def ext_mask(self, names):
        up = self.spec.prefix.upper()
        return " | ".join(f"UINT64_C(1) << {up}_EXT_{n.upper()}" for n in names) or "0"

    def make(self):
        spec, p = self.spec, self.spec.prefix
        self.out = [NOTE.format(os.path.basename(spec.path)),
                    f'#include "guest/{p}/{p}.h"', f'#include "{p}_decode.h"', ""]
        self.tables()
        self.out += ["""static inline uint32_t bits(uint32_t w, unsigned high, unsigned low)
{
    return w >> low & ((2u << (high - low)) - 1);
}

static inline int32_t sign(uint32_t value, unsigned width)
{
    uint32_t top = 1u << (width - 1);

    return (int32_t)((value ^ top) - top);
}
"""]
        used = []
        for row in spec.rows:
            if row.format not in used and spec.args[row.format.args]:
                used.append(row.format)
        for fmt in used:
            self.line(0, f"static inline void get_{fmt.name}(uint32_t w, union {p}_args *args)")
            self.line(0, "{")
            for field in fmt.fields:
                self.line(1, f"args->{fmt.args}.{field.name} = {field.c_expr()};")
            self.line(0, "}")
            self.line(0, "")
        for width in (16, 32):
            rows = [r for r in spec.rows if r.width == width]
            self.line(0, f"static int decode{width}(uint32_t w, uint64_t ext, "
                         f"union {p}_args *args)")
            self.line(0, "{")
            self.tree(1, rows, 0)
            self.line(1, "return -1;")
            self.line(0, "}")
            self.line(0, "")
        self.line(0, f"int {p}_decode(uint32_t w, uint64_t ext, union {p}_args *args)")
        self.line(0, "{")
        self.line(1, "return (w & 3) == 3 ? decode32(w, ext, args) "
                     ": decode16(w & 0xffff, ext, args);")
        self.line(0, "}")
        self.line(0, "")
        self.dispatch()
        return "\n".join(self.out)

    def tables(self):
        spec, p, up = self.spec, self.spec.prefix, self.spec.prefix.upper()
        for name, fields in spec.args.items():
            if fields:
                names = ", ".join(f'"{f}"' for f in fields)
                self.line(0, f"static const char *const fields_{name}[] = {{{names}}};")
        self.line(0, "")
        self.line(0, f"const struct {p}_row {p}_rows[{up}_ROW_COUNT] = {{")
        for r in spec.rows:
            target = spec.by_name[r.definition] if r.definition else r
            fields = spec.args[r.format.args]
            names = f"fields_{r.format.args}" if fields else "NULL"
            self.line(1, f'[{up}_ROW_{r.ident}] = {{"{r.name}", "{r.syntax}", {names}, '
                         f"{r.mask:#x}, {r.match:#x},")
            self.line(2, f"{self.ext_mask(r.all_of)}, {self.ext_mask(r.any_of)}, "
                         f"{up}_INSN_{target.ident}, {r.width // 8}, {len(fields)}}},")
        self.line(0, "};")
        self.line(0, "")
        self.line(0, f"const struct {p}_alias {p}_aliases[{up}_ALIAS_COUNT] = {{")
        for name, target, conditions, syntax, _ in spec.aliases:
            row = spec.by_name[target]
            fields = spec.args[row.format.args]
            texts = []
            for field, value in conditions:
                if value in fields:
                    texts.append(f"{{{fields.index(field)}, {fields.index(value)}, 0}}")
                else:
                    texts.append(f"{{{fields.index(field)}, -1, {int(value, 0)}}}")
            self.line(1, f'{{"{name}", "{syntax}", {up}_INSN_{row.ident}, {len(texts)}, '
                         f"{{{', '.join(texts)}}}}},")
        self.line(0, "};")
        self.line(0, "")

    def best_run(self, rows, decided, width):
        """The run of bits fixed in all rows that tells most of them apart: (high, low) or None."""
        common = (1 << width) - 1 & ~decided
        for r in rows:
            common &= r.mask
        best, best_count, low = None, 1, 0
        while low < width:
            if not common >> low & 1:
                low += 1
                continue
            high = low
            while high + 1 < width and common >> (high + 1) & 1:
                high += 1
            field = (2 << (high - low)) - 1
            count = len({r.match >> low & field for r in rows})
            if count > best_count:
                best, best_count = (high, low), count
            low = high + 1
        return best

    def tree(self, depth, rows, decided):
        """Code that decodes to one of rows, which agree in the bits decided, or falls out. True: it
        never falls out."""
        run = self.best_run(rows, decided, rows[0].width) if len(rows) > 1 else None
        if not run:
            for row in rows:
                if self.leaf(depth, row, decided):
                    return True
            return False
        high, low = run
        field = (2 << (high - low)) - 1
        self.line(depth, f"switch (bits(w, {high}, {low})) {{")
        groups = {}
        for r in rows:
            groups.setdefault(r.match >> low & field, []).append(r)
        for value in sorted(groups):
            self.line(depth, f"case {value:#x}:")
            if not self.tree(depth + 1, groups[value], decided | field << low):
                self.line(depth + 1, "break;")
        self.line(depth, "}")
        return False

    def leaf(self, depth, row, decided):
        up = self.spec.prefix.upper()
        rest = row.mask & ~decided
        tests = [f"(w & {rest:#x}) == {row.match & rest:#x}"] if rest else []
        if row.any_of:
            tests.append(f"ext & ({self.ext_mask(row.any_of)})")
        tests += [f"ext >> {up}_EXT_{n.upper()} & 1" for n in row.all_of]
        self.line(depth, f"/* {row.name} */")
        if tests:
            joined = " && ".join(f"({t})" if len(tests) > 1 else t for t in tests)
            self.line(depth, f"if ({joined}) {{")
        inner = depth + 1 if tests else depth
        if self.spec.args[row.format.args]:
            self.line(inner, f"get_{row.format.name}(w, args);")
        if row.conditions:
            joined = " && ".join(f"args->{row.format.args}.{f} != {v}" for f, v in row.conditions)
            self.line(inner, f"if ({joined})")
            self.line(inner + 1, f"return {up}_ROW_{row.ident};")
        else:
            self.line(inner, f"return {up}_ROW_{row.ident};")
        if tests:
            self.line(depth, "}")
        return not tests and not row.conditions

    def dispatch(self):
        p, up = self.spec.prefix, self.spec.prefix.upper()
        self.line(0, f"bool {p}_lift_insn(struct {p}_lift *c, unsigned insn, "
                     f"const union {p}_args *args)")
        self.line(0, "{")
        self.line(1, "switch (insn) {")
        for r in self.spec.definitions():
            extra = f", &args->{r.format.args}" if self.spec.args[r.format.args] else ""
            self.line(1, f"case {up}_INSN_{r.ident}: return {p}_lift_{r.ident}(c{extra});")
        self.line(1, "}")
        self.line(1, "return false;")
        self.line(0, "}")
        self.line(0, "")


def make_list(spec):
    rows = []
    for r in spec.rows:
        rows.append({
            "name": r.name, "width": r.width, "mask": r.mask, "match": r.match,
            "definition": r.definition or r.name, "args": r.format.args,
            "fields": [f.json() for f in r.format.fields],
            "ext": {"any" if r.any_of else "all": r.any_of or r.all_of},
            "conditions": [{"field": f, "not": v} for f, v in r.conditions],
            "syntax": r.syntax,
        })
    return json.dumps(rows, indent=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file")
    parser.add_argument("--header", metavar="OUT")
    parser.add_argument("--source", metavar="OUT")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    try:
        spec = Spec(args.file)
    except (OSError, SpecError) as e:
        sys.exit(f"decodegen: {e}")
    if args.header:
        with open(args.header, "w", encoding="utf-8") as f:
            f.write(make_header(spec))
    if args.source:
        with open(args.source, "w", encoding="utf-8") as f:
            f.write(Source(spec).make())
    if args.list:
        print(make_list(spec))


if __name__ == "__main__":
    main()
