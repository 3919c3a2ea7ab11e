"""The C that a schema becomes: qapi_types, qapi_commands, qapi_events."""

import re

HEADER = "/* Made by src/qapi/generate.py from {source}; changes to this file are lost. */\n"

# What can't be the name of a member: C's words, and what is a macro in GNU C or the C library.
RESERVED = set("""
    auto break case char const continue default do double else enum extern float for goto if inline
    int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while asm typeof
    bool true false errno stdin stdout stderr linux unix i386 assert NULL u
    """.split())

SCALARS = {"bool": "bool", "number": "double", "int": "int64_t", "size": "uint64_t",
           "any": "json_object *", "null": "bool", "str": "char *"}
SCALARS.update({f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u")
                for bits in (8, 16, 32, 64)})

# Lists that type.h has.
BUILTIN_LISTS = ("str", "int", "size", "uint8", "uint16", "uint32", "uint64", "bool", "number",
                 "any")


def snake(name):
    """CamelCase, UPPER-CASE or lower-case to snake_case; a run of capitals is one word."""
    name = re.sub(r"[-.]", "_", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    # "XMLFoo" is XML_Foo; one letter in front of a word belongs to it, as in QCrypto.
    name = re.sub(r"([A-Z]{2,})([A-Z][a-z])", r"\1_\2", name)
    return name.lower()


def c_word(name):
    return re.sub(r"[-.]", "_", name)


def c_member(name):
    name = c_word(name)
    if name[0].isdigit():
        name = "_" + name
    return name + "_" if name in RESERVED else name


def c_tag(item):
    """The C name of a type, without struct or enum."""
    if item.kind == "list":
        return f"{c_tag(item.element)}_list"
    return "qapi_" + snake(item.name)


def c_type(item):
    """The C type of a value; ends in '*' or a space so that a name can follow."""
    if item.kind == "builtin":
        name = SCALARS[item.name]
        return name if name.endswith("*") else name + " "
    return f"{'enum' if item.kind == 'enum' else 'struct'} {c_tag(item)} "


def c_table(item):
    """The address of a type's table."""
    return "NULL" if item is None else "&qapi_type_" + c_tag(item)[len("qapi_"):]


def c_constant(enum, value):
    prefix = enum.prefix or snake(enum.name).upper()
    return f"QAPI_{prefix}_{c_word(value.name).upper()}"


def c_count(enum):
    return f"QAPI_{enum.prefix or snake(enum.name).upper()}__COUNT"


def has_flag(member):
    """Whether a member has a has_NAME, because its C value can't say that it is absent."""
    return (member.optional and not member.type.is_struct()
            and member.type.name not in ("str", "any"))


def features(item, indent):
    if not item.features:
        return ""
    names = ", ".join(f'"{name}"' for name in item.features)
    return f"\n{indent}.features = (const char *const[]){{{names}, NULL}},"


def end_row(row, item):
    """Closes the initializer of a table's row, which ends in a comma."""
    return (row + features(item, "     ")).rstrip(",") + "},"


class Types:
    """qapi_types.h and qapi_types.c."""

    def __init__(self, schema):
        self.schema = schema
        types = [item for item in schema.types.values() if item.kind != "builtin"]
        self.enums = [item for item in types if item.kind == "enum"]
        self.alternates = [item for item in types if item.kind == "alternate"]
        self.structs = self._in_order([item for item in types if item.is_struct()])
        self.lists = [item for item in types if item.kind == "list"
                      and item.element.name not in BUILTIN_LISTS]

    @staticmethod
    def _in_order(structs):
        """A union holds its branches, so they come first."""
        done = []

        def add(item):
            if item not in done:
                for branch in item.branches:
                    if branch.type and branch.type.is_struct():
                        add(branch.type)
                done.append(item)

        for item in structs:
            add(item)
        return done

    # ---- qapi_types.h ----

    def header(self, guard):
        out = [f"#ifndef {guard}\n#define {guard}\n", '#include "qapi/type.h"\n']
        out += [self._enum(item) for item in self.enums]
        out += [self._alternate_kind(item) for item in self.alternates]
        if self.structs:
            out.append("".join(f"struct {c_tag(item)};\n" for item in self.structs))
        out.append("".join(f"{c_type(item)}{{ size_t n; {c_type(item.element)}*v; }};\n"
                           for item in self.lists))
        out += [self._struct(item) for item in self.structs]
        out.append("".join(f"extern const struct qapi_type {c_table(item)[1:]};\n"
                           for item in self.enums + self.structs + self.lists))
        for item in self.structs:
            tag = c_tag(item)
            out.append(f"void {tag}_free(struct {tag} *value);\n"
                       f"DEFINE_AUTO_PTR({tag}, {tag}_free)\n")
        out.append("#endif\n")
        return "\n".join(out)

    @staticmethod
    def _enum(enum):
        lines = [f"enum {c_tag(enum)} {{"]
        lines += [f"    {c_constant(enum, value)}," for value in enum.values]
        lines += [f"    {c_count(enum)}", "};\n"]
        return "\n".join(lines)

    @staticmethod
    def _alternate_kind(item):
        tag = c_tag(item)
        lines = [f"enum {tag}_kind {{"]
        lines += [f"    {tag.upper()}_KIND_{c_word(branch.name).upper()},"
                  for branch in item.branches]
        return "\n".join(lines + ["};\n"])

    @staticmethod
    def _struct(item):
        lines = [f"struct {c_tag(item)} {{"]
        if item.kind == "alternate":
            lines.append(f"    enum {c_tag(item)}_kind kind;")
        for member in item.members:
            name = c_member(member.name)
            if has_flag(member):
                lines.append(f"    bool has_{c_word(member.name)};")
            star = "*" if member.type.is_struct() else ""
            lines.append(f"    {c_type(member.type)}{star}{name};")
        branches = [branch for branch in item.branches if branch.type]
        if branches:
            by = f"     /* by {c_member(item.tag.name)} */" if item.tag else ""
            lines.append("    union {" + by)
            lines += [f"        {c_type(branch.type)}{c_member(branch.name)};"
                      for branch in branches]
            lines.append("    } u;")
        if len(lines) == 1:
            lines.append("    char unused;            /* so that it has an address */")
        return "\n".join(lines + ["};\n"])

    # ---- qapi_types.c ----

    def source(self):
        out = [self._enum_table(item) for item in self.enums]
        out += [self._list_table(item) for item in self.lists]
        out += [self._struct_table(item) for item in self.structs]
        for item in self.structs:
            tag = c_tag(item)
            out.append(f"void {tag}_free(struct {tag} *value)\n{{\n"
                       f"    qapi_free({c_table(item)}, value);\n}}\n")
        return "\n".join(out)

    @staticmethod
    def _enum_table(enum):
        tag = c_tag(enum)
        lines = []
        if enum.values:
            lines.append(f"static const struct qapi_enum_value {tag}_values[] = {{")
            for value in enum.values:
                row = f'    [{c_constant(enum, value)}] = {{.name = "{value.name}",'
                lines.append(end_row(row, value))
            lines.append("};\n")
        lines += [f"const struct qapi_type {c_table(enum)[1:]} = {{",
                  f'    .name = "{enum.name}",',
                  "    .kind = QAPI_KIND_ENUM,",
                  f"    .size = sizeof({c_type(enum).strip()}),"]
        if enum.values:
            lines.append(f"    .values = {tag}_values,")
        lines.append(f"    .n_values = {c_count(enum)}," + features(enum, "    "))
        return "\n".join(lines + ["};\n"])

    @staticmethod
    def _list_table(item):
        return (f"const struct qapi_type {c_table(item)[1:]} = {{\n"
                f'    .name = "{item.name}",\n'
                "    .kind = QAPI_KIND_LIST,\n"
                f"    .size = sizeof({c_type(item).strip()}),\n"
                f"    .element = {c_table(item.element)},\n}};\n")

    def _struct_table(self, item):
        tag = c_tag(item)
        lines = []
        if item.members:
            lines.append(f"static const struct qapi_member {tag}_members[] = {{")
            lines += [self._member_row(tag, member) for member in item.members]
            lines.append("};\n")
        if item.branches:
            lines.append(f"static const struct qapi_branch {tag}_branches[] = {{")
            for branch in item.branches:
                row = f'    {{.name = "{branch.name}"'
                if branch.type:
                    row += (f", .type = {c_table(branch.type)},\n"
                            f"     .offset = offsetof(struct {tag}, u.{c_member(branch.name)})")
                lines.append(row + "},")
            lines.append("};\n")
        lines += [f"const struct qapi_type {c_table(item)[1:]} = {{",
                  f'    .name = "{item.name}",',
                  f"    .kind = QAPI_KIND_{item.kind.upper()},",
                  f"    .size = sizeof(struct {tag}),"]
        if item.members:
            lines += [f"    .members = {tag}_members,", f"    .n_members = {len(item.members)},"]
        if item.tag:
            lines.append(f"    .tag = &{tag}_members[{item.members.index(item.tag)}],"
                         f"    /* {item.tag.name} */")
        if item.branches:
            lines += [f"    .branches = {tag}_branches,",
                      f"    .n_branches = {len(item.branches)},"]
        return "\n".join(lines) + features(item, "    ") + "\n};\n"

    @staticmethod
    def _member_row(tag, member):
        has = "-1"
        if has_flag(member):
            has = f"offsetof(struct {tag}, has_{c_word(member.name)})"
        row = (f'    {{.name = "{member.name}", .type = {c_table(member.type)},\n'
               f"     .offset = offsetof(struct {tag}, {c_member(member.name)}), "
               f".has_offset = {has},")
        if member.optional:
            row += "\n     .optional = true,"
        return end_row(row, member)


class Commands:
    """qapi_commands.h and qapi_commands.c."""

    FLAGS = (("allow-oob", True, "QAPI_COMMAND_OOB"),
             ("allow-preconfig", True, "QAPI_COMMAND_PRECONFIG"),
             ("coroutine", True, "QAPI_COMMAND_COROUTINE"),
             ("success-response", False, "QAPI_COMMAND_NO_RESPONSE"))

    def __init__(self, schema, name):
        self.commands = sorted(schema.commands.values(), key=lambda command: command.name)
        self.events = schema.events
        self.name = name

    def header(self, guard, prefix):
        out = [f"#ifndef {guard}\n#define {guard}\n",
               f'#include "qapi/command.h"\n#include "{prefix}qapi_types.h"\n']
        out += [self._prototype(command) + ";\n" for command in self.commands]
        out.append(f"extern const struct qapi_schema qapi_{self.name}_schema;\n")
        out.append("#endif\n")
        return "\n".join(out)

    def _parameters(self, command):
        """(declaration, argument) of what a handler gets between ctx and error."""
        parameters = []
        if command.arg and not command.options["gen"]:
            parameters.append(("json_object *arg", "(json_object *)arg"))
        elif command.arg:
            parameters.append((f"const {c_type(command.arg)}*arg", "arg"))
        if command.ret and not command.options["gen"]:
            parameters.append(("json_object **ret", "ret"))
        elif command.ret:
            parameters.append((f"{c_type(command.ret)}*ret", "ret"))
        return parameters

    def _prototype(self, command):
        start = f"bool qmp_{c_member(snake(command.name))}("
        line = start
        parameters = ["struct qmp_context *ctx"]
        parameters += [declaration for declaration, _ in self._parameters(command)]
        parameters += ["GError **error)"]
        text = ""
        for index, parameter in enumerate(parameters):
            comma = "" if index == 0 else ", "
            if len(line) + len(comma) + len(parameter) > 98:
                text += line + ",\n"
                line, comma = " " * len(start), ""
            line += comma + parameter
        return text + line

    def source(self):
        out = [self._thunk(command) for command in self.commands]
        if self.commands:
            out.append("static const struct qapi_command commands[] = {\n"
                       + "\n".join(self._row(command) for command in self.commands) + "\n};\n")
        lines = [f"const struct qapi_schema qapi_{self.name}_schema = {{"]
        if self.commands:
            lines += ["    .commands = commands,", "    .n_commands = G_N_ELEMENTS(commands),"]
        if self.events:
            lines += [f"    .events = qapi_{self.name}_events,",
                      f"    .n_events = G_N_ELEMENTS(qapi_{self.name}_events),"]
        out.append("\n".join(lines + ["};\n"]))
        return "\n".join(out)

    def _thunk(self, command):
        name = snake(command.name)
        arguments = "".join(f", {argument}" for _, argument in self._parameters(command))
        return (f"static bool invoke_{name}(struct qmp_context *ctx, const void *arg, void *ret,\n"
                f"{' ' * len(f'static bool invoke_{name}(')}GError **error)\n{{\n"
                f"    return qmp_{c_member(name)}(ctx{arguments}, error);\n}}\n")

    def _row(self, command):
        flags = [flag for option, value, flag in self.FLAGS if command.options[option] == value]
        row = f'    {{.name = "{command.name}", .invoke = invoke_{snake(command.name)}'
        if command.options["gen"]:
            row += ", .gen = true"
        row += ","
        if command.arg:
            row += f"\n     .arg = {c_table(command.arg)},"
        if command.ret:
            row += f"\n     .ret = {c_table(command.ret)},"
        if flags:
            row += f"\n     .flags = {' | '.join(flags)},"
        return end_row(row, command)


class Events:
    """qapi_events.h and qapi_events.c."""

    def __init__(self, schema, name):
        self.events = sorted(schema.events.values(), key=lambda event: event.name)
        self.name = name

    def header(self, guard, prefix):
        out = [f"#ifndef {guard}\n#define {guard}\n",
               f'#include "qapi/command.h"\n#include "{prefix}qapi_types.h"\n']
        out += [self._prototype(event) + ";\n" for event in self.events]
        if self.events:
            out.append(f"extern const struct qapi_event {self._table()};\n")
        out.append("#endif\n")
        return "\n".join(out)

    @staticmethod
    def _prototype(event):
        arg = f", const {c_type(event.arg)}*arg" if event.arg else ""
        return f"void qapi_event_{snake(event.name)}(struct qapi_event_sink *sink{arg})"

    def source(self):
        if not self.events:
            return ""
        out = ["enum {\n" + "".join(f"    {self._index(event)},\n" for event in self.events)
               + "};\n",
               f"const struct qapi_event {self._table()} = {{\n"
               + "\n".join(self._row(event) for event in self.events) + "\n};\n"]
        for event in self.events:
            out.append(f"{self._prototype(event)}\n{{\n"
                       f"    qapi_emit(sink, &qapi_{self.name}_events[{self._index(event)}], "
                       f"{'arg' if event.arg else 'NULL'});\n}}\n")
        return "\n".join(out)

    def _table(self):
        return f"qapi_{self.name}_events[{len(self.events)}]"

    @staticmethod
    def _index(event):
        return f"EVENT_{snake(event.name).upper()}"

    def _row(self, event):
        row = f'    [{self._index(event)}] = {{.name = "{event.name}",'
        if event.arg:
            row += f" .arg = {c_table(event.arg)},"
        return end_row(row, event)


def emit(schema, name, prefix, source):
    """All files, {name: text}."""
    def guard(file):
        return re.sub(r"\W", "_", f"{prefix}{file}").upper()

    top = HEADER.format(source=source)
    types, commands, events = Types(schema), Commands(schema, name), Events(schema, name)
    # The program's own schema is included from its folder, others (of tests) from beside them.
    folder = "" if prefix else "qapi/"
    path = folder + prefix

    def include(*files):
        return "".join(f'#include "{path}{file}.h"\n' for file in files) + "\n"

    return {
        f"{prefix}qapi_types.h": top + types.header(guard("qapi_types_h")),
        f"{prefix}qapi_types.c": top + include("qapi_types") + types.source(),
        f"{prefix}qapi_commands.h": top + commands.header(guard("qapi_commands_h"), path),
        f"{prefix}qapi_commands.c": top + include("qapi_commands", "qapi_events")
                                    + commands.source(),
        f"{prefix}qapi_events.h": top + events.header(guard("qapi_events_h"), path),
        f"{prefix}qapi_events.c": top + include("qapi_events") + events.source(),
    }
