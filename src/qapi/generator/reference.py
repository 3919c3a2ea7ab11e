"""The reference page: a schema's documentation as Markdown."""

import re

from generator.parser import Doc
from generator.schema import Command, Event

HEAD = """# {title}

Made by `src/qapi/generate.py` from the schema in `src/qapi/schema/`; a test says when this page is
stale.

How a definition reads: a member with a `?` may be left out; a list of T is `[ T ]`; numbers are
integers unless it says `number`; `size` is a number of bytes; `any` is any JSON value.

"""


def reference(schema, title):
    parts = [HEAD.format(title=title)]
    for item in schema.items:
        if isinstance(item, Doc):
            parts.append(_free_text(item))
        elif isinstance(item, Command):
            parts.append(_command(item))
        elif isinstance(item, Event):
            parts.append(_event(item))
        else:
            parts.append(_type(item))
    text = "\n".join(part.strip("\n") + "\n" for part in parts if part.strip())
    return re.sub(r"\n{3,}", "\n\n", text)


# ---- text ----

def _inline(text):
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("*", "\\*")
    return re.sub(r"@([A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)", r"`\1`", text)


def _paragraphs(lines, indent=""):
    """Lines of documentation as Markdown: indentation that only continues is taken away."""
    lines = [line.rstrip() for line in lines]
    depth = min([len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()], default=0)
    lines = [line.strip() if number == 0 else line[depth:] for number, line in enumerate(lines)]
    text = "\n".join(indent + _inline(line) if line else "" for line in lines)
    return text.strip("\n").rstrip()


def _item(head, lines):
    """One item of a list; the text may have several lines."""
    text = _paragraphs(lines, "  ").lstrip()
    return f"- {head}: {text}" if text else f"- {head}"


def _free_text(doc):
    parts = []
    if doc.title:
        parts.append("#" * (doc.title[0] + 1) + " " + doc.title[1] + "\n")
    parts.append(_paragraphs([""] + doc.text))
    return "\n".join(parts)


def _type_name(item):
    if item is None:
        return "nothing"
    if item.kind == "list":
        return f"[ {_type_name(item.element)} ]"
    if item.kind == "builtin" or item.implicit:
        return item.name
    return f"[{item.name}](#{item.name.lower()})"


# ---- definitions ----

def _heading(kind, item):
    return f"### {item.name}\n\n*{kind}*" + (_text(item) and "  \n" + _text(item)) + "\n"


def _text(item):
    return _paragraphs([""] + item.doc.text) if item.doc else ""


def _members(doc, members):
    out = []
    for member in members:
        mark = "?" if member.optional else ""
        lines = doc.members.get(member.name, []) if doc else []
        out.append(_item(f"`{member.name}`{mark} ({_type_name(member.type)})", lines))
    return out


def _tail(item):
    """Sections after the members."""
    out = []
    doc = item.doc
    if not doc:
        return ""
    if doc.features:
        out.append("Features:\n")
        out += [_item(f"`{name}`", lines) for name, lines in doc.features.items()] + [""]
    for tag, lines in doc.tags.items():
        text = _paragraphs(lines)
        if tag not in ("Features", "Returns", "TODO") and text:
            out.append(f"{tag}:" + ("\n\n" if text.startswith("- ") else " ") + text + "\n")
    return "\n".join(out)


def _lines(*parts):
    return "\n".join(part for part in parts if part) + "\n"


def _arguments(item):
    if not item.arg:
        return ""
    if item.arg.implicit:
        return "\n".join(_members(item.doc, item.arg.local)) + "\n"
    return f"Members: those of {_type_name(item.arg)}\n"


def _command(command):
    notes = []
    if command.options["allow-oob"]:
        notes.append("may be executed out of band")
    if command.options["allow-preconfig"]:
        notes.append("works before the machine is made")
    returns = ""
    if command.ret:
        lines = command.doc.tags.get("Returns", []) if command.doc else []
        text = _paragraphs(lines)
        returns = f"Returns {_type_name(command.ret)}" + (f": {text}" if text else "") + "\n"
    kind = "command" + "".join("; " + note for note in notes)
    return _lines(_heading(kind, command), _arguments(command), returns, _tail(command))


def _event(event):
    return _lines(_heading("event", event), _arguments(event), _tail(event))


def _type(item):
    out = []
    if item.kind == "enum":
        for value in item.values:
            lines = item.doc.members.get(value.name, []) if item.doc else []
            out.append(_item(f"`{value.name}`", lines))
    elif item.kind == "alternate":
        for branch in item.branches:
            lines = item.doc.members.get(branch.name, []) if item.doc else []
            out.append(_item(_type_name(branch.type), lines))
    else:
        out = _members(item.doc, item.local)
        if item.base:
            out.append(f"- and the members of {_type_name(item.base)}")
        for branch in item.branches:
            if branch.type:
                out.append(f"- if `{item.tag.name}` is `{branch.name}`: the members of "
                           f"{_type_name(branch.type)}")
    kind = {"struct": "object", "union": "object", "enum": "one of these strings",
            "alternate": "one of these types"}[item.kind]
    return _lines(_heading(kind, item), "\n".join(out) + "\n", _tail(item))
