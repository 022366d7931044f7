"""JSON Schema: `close` refuses what a schema doesn't declare, wherever it doesn't say otherwise.

By default an object takes any further property, so a tool's server is sent whatever a caller invents. `close` adds
`additionalProperties: false` (or `unevaluatedProperties: false` where branches declare properties, JSON Schema 2020-12
core, section 11.3) to each object that declares properties and neither allows nor forbids others. The root, the
arguments themselves, is closed whatever it says.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

Schema = Any
"""A JSON Schema or a part of one: an object or a boolean."""

# Keywords by what they hold: schemas for the same value (branches), or for values inside it.
BRANCH_LISTS = ("allOf", "anyOf", "oneOf")
BRANCHES = ("if", "then", "else", "not")
_INNER = ("items", "additionalItems", "contains", "additionalProperties", "unevaluatedItems", "unevaluatedProperties")
_INNER_LISTS = ("prefixItems", "items")
_INNER_MAPS = ("properties", "patternProperties")
_BRANCH_MAPS = ("$defs", "definitions", "dependentSchemas")
_SAYS_OTHERWISE = ("additionalProperties", "unevaluatedProperties")


def close(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A closed copy of the input schema of a tool.

    Raises:
        ValueError: it isn't a schema of an object, or its dialect (before 2019-09) can't close properties that are
            declared in branches or behind a reference.
    """
    if schema.get("type", "object") != "object":
        raise ValueError("its type is not object")
    closer = _Closer(schema)
    root = {"type": "object", **closer.inside(schema)}
    branches = closer.branches_declare(schema)
    if not closer.knows_unevaluated and (branches or "$ref" in schema):  # there, $ref switches off what is beside it
        raise ValueError("its dialect can't close properties that are declared in branches")
    if not branches:
        return {**root, "additionalProperties": False}
    root.pop("additionalProperties", None)
    return {**root, "unevaluatedProperties": False}


class _Closer:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        dialect = str(root.get("$schema", "2020-12"))
        self.knows_unevaluated = "2019-09" in dialect or "2020-12" in dialect

    def inside(self, schema: Schema) -> Schema:
        """A copy of `schema`, itself left open, with the values inside it closed."""
        if not isinstance(schema, Mapping):
            return schema
        copy = dict(schema)
        for keyword, held in schema.items():
            if keyword in BRANCHES:
                copy[keyword] = self.inside(held)
            elif keyword in BRANCH_LISTS and isinstance(held, list):
                copy[keyword] = [self.inside(branch) for branch in held]
            elif keyword in _BRANCH_MAPS and isinstance(held, Mapping):
                copy[keyword] = {name: self.inside(branch) for name, branch in held.items()}
            elif keyword in _INNER_MAPS and isinstance(held, Mapping):
                copy[keyword] = {name: self.value(inner) for name, inner in held.items()}
            elif keyword in _INNER_LISTS and isinstance(held, list):
                copy[keyword] = [self.value(inner) for inner in held]
            elif keyword in _INNER:
                copy[keyword] = self.value(held)
        return copy

    def value(self, schema: Schema) -> Schema:
        """A copy of `schema`, which stands for a value of its own, closed."""
        if not isinstance(schema, Mapping) or any(keyword in schema for keyword in _SAYS_OTHERWISE):
            return self.inside(schema)
        alternatives = _only_alternatives(schema)
        if alternatives is not None:  # each is a value of its own: an open one stays open beside a closed one
            rest = {keyword: held for keyword, held in schema.items() if keyword != alternatives}
            return {**self.inside(rest), alternatives: [self.value(branch) for branch in schema[alternatives]]}
        copy = self.inside(schema)
        if not self.branches_declare(schema):
            return {**copy, "additionalProperties": False} if "properties" in copy else copy
        return {**copy, "unevaluatedProperties": False} if self.knows_unevaluated else copy

    def branches_declare(self, schema: Schema, seen: set[str] | None = None) -> bool:
        """Whether a branch of `schema`, or what it refers to, declares properties of the same object.

        `seen` holds the references followed so far: each is followed once, however often it stands there.
        """
        if not isinstance(schema, Mapping):
            return False
        seen = set() if seen is None else seen
        branches = [schema[keyword] for keyword in BRANCHES if keyword in schema and keyword != "not"]
        branches += [branch for keyword in BRANCH_LISTS for branch in schema.get(keyword, ())]
        branches += schema.get("dependentSchemas", {}).values()
        references = {schema[keyword] for keyword in ("$ref", "$dynamicRef") if keyword in schema} - seen
        seen |= references
        branches += [referred(self._root, reference) for reference in references]
        return any(
            isinstance(branch, Mapping) and ("properties" in branch or self.branches_declare(branch, seen))
            for branch in branches
        )


def referred(root: Schema, reference: str) -> Schema:
    """What a JSON pointer into `root` (RFC 6901) means; anything else counts as declaring, to be closed."""
    if not is_pointer(reference):
        return {"properties": {}}
    target: Any = root
    for token in unquote(reference).split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list) and name.isdecimal() and int(name) < len(target):
            target = target[int(name)]
        elif isinstance(target, Mapping) and name in target:
            target = target[name]
        else:
            return {"properties": {}}
    return target


def is_pointer(reference: str) -> bool:
    return reference == "#" or reference.startswith("#/")


def _only_alternatives(schema: Mapping[str, Any]) -> str | None:
    """`anyOf` or `oneOf` if that alone says what `schema` is."""
    says = [
        keyword
        for keyword in ("properties", "patternProperties", "$ref", "$dynamicRef", *BRANCH_LISTS, *BRANCHES)
        if keyword in schema
    ]
    return says[0] if says in (["anyOf"], ["oneOf"]) else None
