"""Checks that documentation and definitions agree."""

from difflib import get_close_matches

from generator.parser import Doc, SchemaError
from generator.schema import Command, Event


def check_docs(schema):
    """What is documented must exist; with the pragma doc-required also the other way round."""
    for item in schema.items:
        if not isinstance(item, Doc):
            _check(item, schema.doc_required, item.name not in schema.doc_exceptions)


def _check(item, required, members_required):
    doc = item.doc
    if doc is None:
        if required:
            raise SchemaError(item.info, f"'{item.name}' isn't documented; write a block '##' in "
                                         "front of it")
        return
    names = _names_in(item)
    off = _switched_off(item)
    for name in doc.members:
        if name not in names and name not in off:
            raise SchemaError(doc.member_info[name], f"'{item.name}' has no '{name}'"
                              + _nearest(name, names))
    for name in names if required and members_required else ():
        if name not in doc.members:
            raise SchemaError(doc.info, f"'{item.name}': '{name}' isn't documented")
    for name in doc.members:
        if not any(line.strip() for line in doc.members[name]):
            raise SchemaError(doc.member_info[name], f"'{name}' has no text")
    features = _features_in(item)
    for name in doc.features:
        if name not in features:
            raise SchemaError(doc.member_info[name], f"'{item.name}' has no feature '{name}'")
    for name in features if required else ():
        if name not in doc.features:
            raise SchemaError(doc.info, f"'{item.name}': the feature '{name}' isn't documented")
    for tag in ("Returns", "Errors"):
        if tag in doc.tags and not isinstance(item, Command):
            raise SchemaError(doc.info, f"'{tag}:' is for commands")
    if "Returns" in doc.tags and item.ret is None and isinstance(item, Command):
        raise SchemaError(doc.info, f"'{item.name}' returns nothing")


def _names_in(item):
    """What a block must name, in order."""
    if isinstance(item, (Command, Event)):
        return [member.name for member in item.arg.local] if item.arg and item.arg.implicit else []
    if item.kind == "enum":
        return [value.name for value in item.values]
    if item.kind == "alternate":
        return [branch.name for branch in item.branches]
    return [member.name for member in item.local]


def _switched_off(item):
    if isinstance(item, (Command, Event)):
        return item.arg.off if item.arg and item.arg.implicit else []
    return item.off


def _features_in(item):
    found = list(item.features)
    if isinstance(item, (Command, Event)):
        inner = item.arg.local if item.arg and item.arg.implicit else []
    else:
        inner = item.values + item.local
    for each in inner:
        found += [feature for feature in each.features if feature not in found]
    return found


def _nearest(name, names):
    match = get_close_matches(name, names, 1)
    return f"; is '{match[0]}' meant?" if match else ""
