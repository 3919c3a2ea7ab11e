"""Reads schema files: the syntax of QEMU's QAPI, no meaning yet.

A file is a sequence of expressions, { 'struct': 'Foo', ... }, in JSON with single quotes; "#"
begins a comment, and a comment between two lines "##" is documentation.  Each expression becomes an
Expr with the documentation in front of it.
"""

import os
import re


class SchemaError(Exception):
    """What is wrong with a schema, and where."""

    def __init__(self, info, message):
        super().__init__(f"{info}: {message}")


class Info:
    """A place in a file."""

    def __init__(self, path, line):
        self.path = path
        self.line = line

    def __str__(self):
        return f"{self.path}:{self.line}"


class Object(dict):
    """A JSON object that knows where it and its keys are."""

    def __init__(self, info):
        super().__init__()
        self.info = info
        self.key_info = {}


class Doc:
    """One documentation block: text, members, features, tagged sections (Returns, Since, ...)."""

    TAGS = ("Returns", "Errors", "Since", "Features", "Note", "Notes", "Example", "Examples",
            "TODO")

    def __init__(self, info, lines):
        self.info = info
        self.symbol = None          # of a definition; None: free text
        self.title = None           # (level, text) of a free block "# = Title"
        self.text = []              # lines before the first section
        self.members = {}           # name -> lines
        self.features = {}
        self.tags = {}              # "Returns" and so on -> lines
        self.member_info = {}
        self._parse(lines)

    def _parse(self, lines):
        into = self.text
        members = self.members
        for number, line in enumerate(lines):
            info = Info(self.info.path, self.info.line + 1 + number)
            text = self._strip(info, line)
            symbol = re.match(r"@([A-Za-z0-9_.-]+):(?:\s+(.*))?$", text)
            tag = re.match(r"(%s):(?:\s+(.*))?$" % "|".join(self.TAGS), text)
            title = re.match(r"(=+) (.*)", text)
            if symbol and self.symbol is None and not any(self.text):
                if symbol.group(2):
                    raise SchemaError(info, f"nothing may follow '@{symbol.group(1)}:' here; "
                                            "write the text two lines below")
                self.symbol = symbol.group(1)
            elif symbol:
                name = symbol.group(1)
                if self.symbol is None:
                    raise SchemaError(info, f"'@{name}:' in a block that documents no definition")
                if name in members:
                    raise SchemaError(info, f"'{name}' is documented twice")
                into = members[name] = [symbol.group(2) or ""]
                self.member_info[name] = info
            elif tag and self.symbol is not None:
                name = tag.group(1)
                if name in self.tags:
                    raise SchemaError(info, f"a second section '{name}:'")
                into = self.tags[name] = [tag.group(2) or ""]
                members = self.features if name == "Features" else self.members
            elif title and self.symbol is None:
                if any(self.text) or self.title:
                    raise SchemaError(info, "a title must be the first line of its block")
                self.title = (len(title.group(1)), title.group(2).strip())
            else:
                if text and not text.startswith(" ") and into is not self.text \
                        and "" in into and into is not self.tags.get("Features"):
                    raise SchemaError(info, "indent what belongs to the section above")
                into.append(text)

    @staticmethod
    def _strip(info, line):
        if line == "#":
            return ""
        if not line.startswith("# "):
            raise SchemaError(info, "a line of documentation begins with '# '")
        return line[2:].rstrip()


class Expr:
    """An expression and the block in front of it."""

    def __init__(self, value, doc):
        self.value = value
        self.info = value.info
        self.doc = doc


class Parser:
    """Reads one file and those that it includes, each once."""

    TOKEN = re.compile(r"(?P<punctuation>[{}\[\]:,])"
                       r"|'(?P<string>[^'\\\n]*)'"
                       r"|(?P<word>true|false)\b"
                       r"|(?P<space>[ \t\r]+)"
                       r"|(?P<newline>\n)"
                       r"|(?P<comment>\#[^\n]*)")

    def __init__(self, path, seen=None):
        self.path = path
        self.files = seen if seen is not None else []
        self.files.append(os.path.realpath(path))
        self.items = []             # Expr and free Doc, in order
        try:
            with open(path, encoding="utf-8") as file:
                self.text = file.read()
        except OSError as error:
            raise SchemaError(Info(path, 1), error.strerror) from error
        except UnicodeDecodeError as error:
            raise SchemaError(Info(path, 1), "not UTF-8") from error
        self.at = 0
        self.line = 1
        self._next()
        self._parse_file()

    # ---- tokens ----

    def _error(self, message):
        return SchemaError(Info(self.path, self.line), message)

    def _next(self):
        """Sets self.token: None at the end, ('doc', Doc), ('string', s), ('word', b), or a
        character."""
        while self.at < len(self.text):
            match = self.TOKEN.match(self.text, self.at)
            if not match:
                raise self._error(f"unexpected character {self.text[self.at]!r}")
            kind = match.lastgroup
            self.at = match.end()
            if kind == "newline":
                self.line += 1
            elif kind == "comment" and match.group() == "##":
                self._read_doc()
                return
            elif kind == "punctuation":
                self.token = match.group()
                return
            elif kind == "string":
                self.token = ("string", match.group("string"))
                return
            elif kind == "word":
                self.token = ("word", match.group() == "true")
                return
        self.token = None

    def _read_doc(self):
        start = self.line
        lines = []
        while True:
            self.at += 1            # the newline
            self.line += 1
            end = self.text.find("\n", self.at)
            if self.at >= len(self.text) or end < 0:
                raise SchemaError(Info(self.path, start), "'##' begins a block that doesn't end")
            line = self.text[self.at:end]
            self.at = end
            if line == "##":
                break
            if not line.startswith("#"):
                raise self._error("a line of documentation begins with '#'; '##' ends the block")
            lines.append(line)
        self.token = ("doc", Doc(Info(self.path, start), lines))

    def _is(self, kind):
        return isinstance(self.token, tuple) and self.token[0] == kind

    def _describe(self):
        if self.token is None:
            return "the end of the file"
        if self._is("string"):
            return f"'{self.token[1]}'"
        if self._is("word"):
            return "true" if self.token[1] else "false"
        return "documentation" if self._is("doc") else f"'{self.token}'"

    def _expect(self, token):
        if self.token != token:
            raise self._error(f"'{token}' expected, not {self._describe()}")
        self._next()

    # ---- values ----

    def _value(self):
        if self.token == "{":
            return self._object()
        if self.token == "[":
            return self._list()
        if self._is("string") or self._is("word"):
            value = self.token[1]
            self._next()
            return value
        raise self._error(f"a value expected, not {self._describe()}")

    def _object(self):
        value = Object(Info(self.path, self.line))
        self._expect("{")
        while self.token != "}":
            if value:
                self._expect(",")
            info = Info(self.path, self.line)
            if not self._is("string"):
                raise self._error(f"a key in quotes expected, not {self._describe()}")
            key = self.token[1]
            if key in value:
                raise self._error(f"'{key}' a second time")
            self._next()
            self._expect(":")
            value[key] = self._value()
            value.key_info[key] = info
        self._next()
        return value

    def _list(self):
        value = []
        self._expect("[")
        while self.token != "]":
            if value:
                self._expect(",")
            value.append(self._value())
        self._next()
        return value

    # ---- the file ----

    def _parse_file(self):
        doc = None
        while self.token is not None:
            if self._is("doc"):
                if doc:
                    raise SchemaError(doc.info, f"no definition of '{doc.symbol}' follows")
                doc = self.token[1]
                if doc.symbol is None:
                    self.items.append(doc)
                    doc = None
                self._next()
                continue
            if self.token != "{":
                raise self._error(f"'{{' expected, not {self._describe()}")
            value = self._object()
            if "include" in value:
                self._include(value, doc)
            else:
                self.items.append(Expr(value, doc))
            doc = None
        if doc:
            raise SchemaError(doc.info, f"no definition of '{doc.symbol}' follows")

    def _include(self, value, doc):
        name = value["include"]
        if doc:
            raise SchemaError(doc.info, f"no definition of '{doc.symbol}' follows")
        if len(value) != 1 or not isinstance(name, str):
            raise SchemaError(value.info, "write { 'include': 'FILE' }")
        path = os.path.join(os.path.dirname(self.path), name)
        if os.path.realpath(path) in self.files:
            return
        if not os.path.exists(path):
            raise SchemaError(value.info, f"no file '{path}'")
        self.items += Parser(path, self.files).items
