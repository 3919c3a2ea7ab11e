"""What a schema means: definitions with types resolved and conditions applied, all checked."""

import re

from generator.parser import Expr, SchemaError

BUILTINS = ("bool", "str", "number", "int", "int8", "int16", "int32", "int64", "uint8", "uint16",
            "uint32", "uint64", "size", "any", "null")

# Which JSON types a type is read from: an alternate's branches must not share one.
JSON_KIND = {"bool": "boolean", "str": "string", "number": "number", "null": "null"}

DEFINITIONS = {
    # kind: required keys, optional keys
    "enum": (("data",), ("prefix", "if", "features")),
    "struct": (("data",), ("base", "if", "features")),
    "union": (("base", "discriminator", "data"), ("if", "features")),
    "alternate": (("data",), ("if", "features")),
    "command": ((), ("data", "returns", "boxed", "gen", "success-response", "allow-oob",
                     "allow-preconfig", "coroutine", "if", "features")),
    "event": ((), ("data", "boxed", "if", "features")),
}

NAME = re.compile(r"(__[a-z0-9.-]+_)?[A-Za-z][A-Za-z0-9_-]*$")
ENUM_NAME = re.compile(r"(__[a-z0-9.-]+_)?[A-Za-z0-9][A-Za-z0-9_.-]*$")


class Member:
    def __init__(self, name, type_name, optional, features, info):
        self.name = name
        self.type = type_name       # a name until the schema resolves it, then a type
        self.optional = optional
        self.features = features
        self.info = info


class Value:
    """An enumeration's."""

    def __init__(self, name, features, info):
        self.name = name
        self.features = features
        self.info = info


class Type:
    """Of the schema, or a list of one, or a built-in one."""

    def __init__(self, kind, name, info=None, doc=None, features=()):
        self.kind = kind            # builtin, enum, struct, union, alternate, list
        self.name = name
        self.info = info
        self.doc = doc
        self.features = features
        self.prefix = None          # enum
        self.values = []            # enum
        self.base = None            # struct, union: a type, or None
        self.local = []             # struct, union: members that the base doesn't have
        self.members = []           # struct, union: the base's, then the local ones
        self.tag = None             # union: the Member that is the discriminator
        self.branches = []          # union, alternate: Members; type None: no members of its own
        self.element = None         # list
        self.implicit = False       # arguments written in place
        self.off = []               # names of members, values, branches whose condition is off

    def is_struct(self):
        """Whether a member of this type is a pointer."""
        return self.kind in ("struct", "union", "alternate")


class Command:
    def __init__(self, name, info, doc, features):
        self.name = name
        self.info = info
        self.doc = doc
        self.features = features
        self.arg = None
        self.ret = None
        self.options = {}           # 'gen', 'allow-oob' and so on, with their values


class Event:
    def __init__(self, name, info, doc, features):
        self.name = name
        self.info = info
        self.doc = doc
        self.features = features
        self.arg = None


class Schema:
    def __init__(self, items, defines):
        self.defines = defines
        self.doc_required = False   # pragmas
        self.doc_exceptions = []    # definitions whose members may go without
        self.types = {name: Type("builtin", name) for name in BUILTINS}
        self.commands = {}
        self.events = {}
        self.items = []             # free documentation and definitions, in the order of the files
        self.names = {}             # name -> where it is defined, also what is switched off
        for item in items:
            if isinstance(item, Expr):
                self._define(item)
            else:
                self.items.append(item)
        self._resolve()

    # ---- conditions ----

    def _enabled(self, value, info):
        """Whether the condition of an object (its 'if') holds."""
        return self._condition(value["if"], info) if "if" in value else True

    def _condition(self, condition, info):
        if isinstance(condition, str):
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", condition):
                raise SchemaError(info, f"'{condition}' is no name for a condition")
            return condition in self.defines
        if isinstance(condition, dict) and len(condition) == 1:
            (operator, operand), = condition.items()
            if operator == "not":
                return not self._condition(operand, info)
            if operator in ("all", "any") and isinstance(operand, list) and operand:
                # All of them are looked at, so that errors don't depend on what is on.
                results = [self._condition(each, info) for each in operand]
                return all(results) if operator == "all" else any(results)
        raise SchemaError(info, "'if' is a name, { 'all': [...] }, { 'any': [...] } or "
                                "{ 'not': ... }")

    # ---- definitions ----

    def _define(self, expr):
        value = expr.value
        if "pragma" in value:
            self._pragma(value)
            return
        kinds = [kind for kind in DEFINITIONS if kind in value]
        if len(kinds) != 1:
            raise SchemaError(expr.info, "a definition has one of the keys include, pragma, "
                                         + ", ".join(DEFINITIONS))
        kind = kinds[0]
        required, optional = DEFINITIONS[kind]
        name = value[kind]
        if not isinstance(name, str) or not NAME.match(name):
            raise SchemaError(expr.info, f"{name!r} is no name for a definition")
        self._check_keys(value, f"{kind} '{name}'", (kind,) + required, optional)
        if name in BUILTINS or name.endswith("List") and kind not in ("command", "event"):
            raise SchemaError(expr.info, f"the name '{name}' is reserved")
        if name in self.names:
            raise SchemaError(expr.info, f"'{name}' is already defined at {self.names[name]}")
        self.names[name] = expr.info
        if expr.doc and expr.doc.symbol != name:
            raise SchemaError(expr.doc.info, f"documents '{expr.doc.symbol}' but '{name}' follows")
        features = self._features(value)
        enabled = self._enabled(value, expr.info)
        definition = getattr(self, f"_define_{kind}")(name, value, expr.doc, features)
        if enabled:
            self.items.append(definition)
            table = {"command": self.commands, "event": self.events}.get(kind, self.types)
            table[name] = definition
        elif isinstance(definition, (Command, Event)) and definition.arg:
            self.types.pop(getattr(definition.arg, "name", None), None)

    def _pragma(self, value):
        pragma = value["pragma"]
        if len(value) != 1 or not isinstance(pragma, dict):
            raise SchemaError(value.info, "write { 'pragma': { ... } }")
        self._check_keys(pragma, "pragma", (), ("doc-required", "documentation-exceptions"))
        if not isinstance(pragma.get("doc-required", True), bool):
            raise SchemaError(value.info, "'doc-required' is true or false")
        self.doc_required = pragma.get("doc-required", self.doc_required)
        exceptions = pragma.get("documentation-exceptions", [])
        if (not isinstance(exceptions, list)
                or not all(isinstance(name, str) for name in exceptions)):
            raise SchemaError(value.info, "'documentation-exceptions' is a list of names")
        self.doc_exceptions += exceptions

    @staticmethod
    def _check_keys(value, what, required, optional):
        for key in value:
            if key not in required and key not in optional:
                raise SchemaError(value.key_info[key], f"{what}: unknown key '{key}'; there are "
                                  + ", ".join(required + optional))
        for key in required:
            if key not in value:
                raise SchemaError(value.info, f"{what}: the key '{key}' is missing")

    def _features(self, value):
        features = []
        if "features" not in value:
            return features
        info = value.key_info["features"]
        if not isinstance(value["features"], list):
            raise SchemaError(info, "'features' is a list")
        for feature in value["features"]:
            if isinstance(feature, dict):
                self._check_keys(feature, "feature", ("name",), ("if",))
                enabled = self._enabled(feature, info)
                feature = feature["name"]
            else:
                enabled = True
            if not isinstance(feature, str) or not NAME.match(feature):
                raise SchemaError(info, f"{feature!r} is no name for a feature")
            if feature in features:
                raise SchemaError(info, f"feature '{feature}' is there twice")
            if enabled:
                features.append(feature)
        return features

    def _type_name(self, value, info, allow_list=True):
        """'Foo' -> 'Foo', ['Foo'] -> ('Foo',)"""
        if isinstance(value, str):
            return value
        if allow_list and isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
            return (value[0],)
        raise SchemaError(info, "a type is the name of one"
                          + (", or a list with the name of its elements'" if allow_list else ""))

    def _members(self, data, what, off):
        members = []
        if not isinstance(data, dict):
            raise SchemaError(what[1], f"{what[0]}: 'data' is an object")
        for key, value in data.items():
            info = data.key_info[key]
            optional = key.startswith("*")
            name = key[1:] if optional else key
            if not NAME.match(name) or name == "u" or name.startswith("has-") \
                    or name.startswith("has_"):
                raise SchemaError(info, f"'{name}' is no name for a member")
            features = []
            enabled = True
            if isinstance(value, dict):
                self._check_keys(value, f"member '{name}'", ("type",), ("if", "features"))
                features = self._features(value)
                enabled = self._enabled(value, info)
                value = value["type"]
            type_name = self._type_name(value, info)
            if any(member.name == name for member in members):
                raise SchemaError(info, f"member '{name}' is there twice")
            if enabled:
                members.append(Member(name, type_name, optional, features, info))
            else:
                off.append(name)
        return members

    def _branches(self, data, what, off, allow_list):
        branches = []
        if not isinstance(data, dict) or not data:
            raise SchemaError(what[1], f"{what[0]}: 'data' is an object with the branches")
        for name, value in data.items():
            info = data.key_info[name]
            enabled = True
            if not ENUM_NAME.match(name):
                raise SchemaError(info, f"'{name}' is no name for a branch")
            if isinstance(value, dict):
                self._check_keys(value, f"branch '{name}'", ("type",), ("if",))
                enabled = self._enabled(value, info)
                value = value["type"]
            type_name = self._type_name(value, info, allow_list)
            if enabled:
                branches.append(Member(name, type_name, False, [], info))
            else:
                off.append(name)
        return branches

    def _define_enum(self, name, value, doc, features):
        enum = Type("enum", name, value.info, doc, features)
        info = value.key_info["data"]
        enum.prefix = value.get("prefix")
        if enum.prefix is not None and not isinstance(enum.prefix, str):
            raise SchemaError(info, "'prefix' is a string")
        if not isinstance(value["data"], list):
            raise SchemaError(info, f"enum '{name}': 'data' is a list")
        for item in value["data"]:
            item_features = []
            enabled = True
            if isinstance(item, dict):
                info = item.info
                self._check_keys(item, "value", ("name",), ("if", "features"))
                item_features = self._features(item)
                enabled = self._enabled(item, info)
                item = item["name"]
            if not isinstance(item, str) or not ENUM_NAME.match(item):
                raise SchemaError(info, f"enum '{name}': {item!r} is no name for a value")
            if any(other.name == item for other in enum.values):
                raise SchemaError(info, f"enum '{name}': value '{item}' is there twice")
            if enabled:
                enum.values.append(Value(item, item_features, info))
            else:
                enum.off.append(item)
        return enum

    def _define_struct(self, name, value, doc, features):
        struct = Type("struct", name, value.info, doc, features)
        if "base" in value:
            struct.base = self._type_name(value["base"], value.key_info["base"], False)
        struct.local = self._members(value["data"], (f"struct '{name}'", value.info), struct.off)
        return struct

    def _define_union(self, name, value, doc, features):
        union = Type("union", name, value.info, doc, features)
        if isinstance(value["base"], dict):
            union.local = self._members(value["base"], (f"union '{name}'", value.info), union.off)
        else:
            union.base = self._type_name(value["base"], value.key_info["base"], False)
        union.tag = value["discriminator"]
        union.branches = self._branches(value["data"], (f"union '{name}'", value.info), union.off,
                                        False)
        return union

    def _define_alternate(self, name, value, doc, features):
        alternate = Type("alternate", name, value.info, doc, features)
        alternate.branches = self._branches(value["data"], (f"alternate '{name}'", value.info),
                                            alternate.off, True)
        return alternate

    def _argument(self, name, value, suffix):
        """A type's name, or a new type for members that are written in place, or None."""
        data = value.get("data")
        boxed = value.get("boxed", False)
        if not isinstance(boxed, bool) or boxed and not isinstance(data, str):
            raise SchemaError(value.info, f"'{name}': 'boxed' is true where 'data' names a type")
        if data is None:
            return None
        if isinstance(data, str):
            return data
        implicit = Type("struct", f"{name}-{suffix}", value.info)
        implicit.implicit = True
        implicit.local = self._members(data, (f"'{name}'", value.info), implicit.off)
        self.types[implicit.name] = implicit
        return implicit

    def _define_command(self, name, value, doc, features):
        command = Command(name, value.info, doc, features)
        for key in ("gen", "success-response", "allow-oob", "allow-preconfig", "coroutine"):
            command.options[key] = value.get(key, key in ("gen", "success-response"))
            if not isinstance(command.options[key], bool):
                raise SchemaError(value.key_info[key], f"'{key}' is true or false")
        if command.options["allow-oob"] and command.options["coroutine"]:
            raise SchemaError(value.info, f"command '{name}': 'allow-oob' and 'coroutine' don't go "
                                          "together")
        command.arg = self._argument(name, value, "arg")
        command.boxed = value.get("boxed", False)
        if "returns" in value:
            command.ret = self._type_name(value["returns"], value.key_info["returns"])
            if not command.options["success-response"]:
                raise SchemaError(value.info, f"command '{name}' returns something, but never "
                                              "answers")
        return command

    def _define_event(self, name, value, doc, features):
        event = Event(name, value.info, doc, features)
        event.arg = self._argument(name, value, "event")
        event.boxed = value.get("boxed", False)
        return event

    # ---- resolving ----

    def _lookup(self, name, info):
        if isinstance(name, tuple):
            element = self._lookup(name[0], info)
            list_name = f"{element.name}List"
            if list_name not in self.types:
                self.types[list_name] = Type("list", list_name)
                self.types[list_name].element = element
            return self.types[list_name]
        if name not in self.types or self.types[name].implicit:
            hint = " (its condition is off)" if name in self.names else ""
            raise SchemaError(info, f"no type '{name}'{hint}")
        return self.types[name]

    def _resolve(self):
        definitions = [item for item in self.types.values() if item.kind != "builtin"]
        for item in definitions:
            for member in item.local + item.branches:
                member.type = self._lookup(member.type, member.info)
            if item.base:
                item.base = self._lookup(item.base, item.info)
                if item.base.kind != "struct":
                    raise SchemaError(item.info, f"'{item.name}': the base '{item.base.name}' "
                                                 "isn't a struct")
        for item in definitions:
            self._inherit(item, [])
        for item in definitions:
            if item.kind == "union":
                self._check_union(item)
        for item in definitions:
            if item.kind == "union":
                self._check_nesting(item, [])
            elif item.kind == "alternate":
                self._check_alternate(item)
            if item.kind in ("struct", "union"):
                self._check_clashes(item)
                self._check_endless(item, item, [])
        for item in list(self.commands.values()) + list(self.events.values()):
            self._resolve_use(item)

    def _inherit(self, item, path):
        if item in path:
            raise SchemaError(item.info, f"'{item.name}' is its own base")
        if item.members or item.kind not in ("struct", "union"):
            return
        if item.base:
            self._inherit(item.base, path + [item])
            item.members = item.base.members + item.local
        else:
            item.members = list(item.local)

    def _check_union(self, union):
        tags = [member for member in union.members if member.name == union.tag]
        if not tags or tags[0].type.kind != "enum" or tags[0].optional:
            raise SchemaError(union.info, f"union '{union.name}': the discriminator '{union.tag}' "
                                          "must be a required member of the base, of an enum type")
        union.tag = tags[0]
        given = {branch.name: branch for branch in union.branches}
        for name, branch in given.items():
            if name not in [value.name for value in union.tag.type.values]:
                raise SchemaError(branch.info, f"union '{union.name}': branch '{name}' isn't a "
                                               f"value of '{union.tag.type.name}'")
            if branch.type.kind not in ("struct", "union"):
                raise SchemaError(branch.info, f"union '{union.name}': the branch '{name}' must be "
                                               "a struct or union")
        union.branches = [given.get(value.name) or Member(value.name, None, False, [], union.info)
                          for value in union.tag.type.values]

    def _check_nesting(self, union, path):
        """Branches are inline, so a union can't be in itself."""
        if union in path:
            raise SchemaError(union.info, f"union '{union.name}' has itself as a branch")
        for branch in union.branches:
            if branch.type and branch.type.kind == "union":
                self._check_nesting(branch.type, path + [union])

    def _check_alternate(self, alternate):
        seen = {}
        for branch in alternate.branches:
            kinds = {JSON_KIND.get(branch.type.name, "integer")}
            if branch.type.kind == "enum":
                kinds = {"string"}
            elif branch.type.kind in ("struct", "union"):
                kinds = {"object"}
            elif branch.type.kind == "list":
                kinds = {"array"}
            elif branch.type.kind == "alternate" or branch.type.name == "any":
                raise SchemaError(branch.info, f"alternate '{alternate.name}': "
                                               f"'{branch.type.name}' can't be a branch")
            elif kinds == {"number"}:
                kinds = {"number", "integer"}
            for kind in kinds:
                if kind in seen:
                    raise SchemaError(branch.info, f"alternate '{alternate.name}': '{branch.name}' "
                                      f"can't be told from '{seen[kind]}'")
                seen[kind] = branch.name

    def _check_clashes(self, item):
        seen = {}
        for member in item.members:
            self._check_clash(item, member, seen)
        for branch in item.branches:
            branch_seen = dict(seen)
            for member in self._all_members(branch.type):
                self._check_clash(item, member, branch_seen)

    def _all_members(self, item):
        if not item:
            return []
        result = list(item.members)
        for branch in item.branches:
            result += [member for member in self._all_members(branch.type)
                       if member.name not in [other.name for other in result]]
        return result

    @staticmethod
    def _check_clash(item, member, seen):
        name = re.sub(r"[-.]", "_", member.name)
        if name in seen:
            raise SchemaError(member.info, f"'{item.name}': member '{member.name}' clashes with "
                                           f"'{seen[name]}'")
        seen[name] = member.name

    def _check_endless(self, item, root, path):
        """A struct that requires one of itself could never be complete."""
        if item in path:
            if item is root:
                raise SchemaError(root.info, f"'{root.name}' needs a '{root.name}' in it")
            return
        for member in item.members:
            if not member.optional and member.type.kind in ("struct", "union"):
                self._check_endless(member.type, root, path + [item])

    def _resolve_use(self, item):
        what = "command" if isinstance(item, Command) else "event"
        if isinstance(item.arg, str):
            item.arg = self._lookup(item.arg, item.info)
        if item.arg and not (item.arg.kind == "struct" or item.boxed and item.arg.kind == "union"):
            raise SchemaError(item.info, f"{what} '{item.name}': 'data' must be a struct, or with "
                                         "'boxed' a union")
        if item.arg and not (item.arg.members or item.arg.branches):
            item.arg = None
        if isinstance(item, Command) and item.ret:
            item.ret = self._lookup(item.ret, item.info)
