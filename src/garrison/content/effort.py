"""How much work it is to hold arguments against a schema: counted before the engine begins, which nobody can stop then.

Three things are more than linear in jsonschema-rs, so that a kilobyte could keep everybody waiting for hours. It looks
for all errors before it gives the first, those within each alternative too; where alternatives that refer to themselves
are closed by `unevaluatedProperties`, it tries all of them at every level; and it compares whole numbers beyond 64 bits
each with each other to find one that `uniqueItems` forbids.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from garrison.content.closing import BRANCH_LISTS, BRANCHES, Schema, is_pointer, referred

_TEXT_STEP = 1024
"""Characters of a text that count as much as a value: errors hold copies of what they are about."""
_OTHER_PROPERTIES = ("additionalProperties", "unevaluatedProperties")
_ITEMS = ("prefixItems", "items", "additionalItems", "contains", "unevaluatedItems")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_CONDITIONAL = ("anyOf", "oneOf", "dependentSchemas", *BRANCHES)
_UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


def is_more_than(limit: int, root: Mapping[str, Any], arguments: Any) -> bool:
    """Whether more than `limit` values are looked at, each once for every part of the schema that it is held against.

    Parts that nothing leads to count for the values under them all the same. It stops at `limit` itself.
    """
    work, todo = 0, [(root, arguments)]
    while todo:
        part, value = todo.pop()
        work += 1 + (len(value) // _TEXT_STEP if isinstance(value, str) else 0)
        todo.extend(islice(_parts(root, part, value), limit))
        if work + len(todo) > limit:
            return True
    return False


def tries_again(schema: Mapping[str, Any]) -> bool:
    """Whether something asks what alternatives have looked at that lead back to it."""
    asking = [part for part in _everything(schema) if any(keyword in part for keyword in _UNEVALUATED)]
    return any(_leads_back(schema, part, _alternatives(schema, part)) for part in asking)


def compares_all(schema: Mapping[str, Any]) -> bool:
    return any("uniqueItems" in part for part in _everything(schema))


def holds_large_number(arguments: Any) -> bool:
    """Whether a whole number in `arguments` has more than 64 bits."""
    return any(isinstance(value, int) and not _LEAST <= value <= _MOST for value in _values(arguments))


def _parts(root: Schema, part: Schema, value: Any) -> Iterator[tuple[Schema, Any]]:
    """What `value` and the values in it are held against next."""
    part = part if isinstance(part, Mapping) else {}
    yield from ((branch, value) for branch in _branches(root, part))
    if isinstance(value, dict):
        declared, patterns = part.get("properties", {}), list(part.get("patternProperties", {}).values())
        others = _held(part, _OTHER_PROPERTIES)
        for name, inner in value.items():
            yield from ((held, inner) for held in patterns + ([declared[name]] if name in declared else others))
    elif isinstance(value, list):
        held = _held(part, _ITEMS)
        yield from ((each, inner) for inner in value for each in held)


def _held(part: Mapping[str, Any], keywords: Sequence[str]) -> list[Schema]:
    """What is held against each of the values; without anything, they count all the same."""
    found = [part[keyword] for keyword in keywords if keyword in part]
    return list(chain.from_iterable(each if isinstance(each, list) else [each] for each in found)) or [True]


def _branches(root: Schema, part: Mapping[str, Any]) -> Iterator[Schema]:
    """What says more about the same value."""
    yield from chain.from_iterable(part[keyword] for keyword in BRANCH_LISTS if keyword in part)
    yield from (part[keyword] for keyword in BRANCHES if keyword in part)
    yield from part.get("dependentSchemas", {}).values()
    yield from (referred(root, part[keyword]) for keyword in _REFERENCES if keyword in part)


def _alternatives(root: Schema, part: Mapping[str, Any]) -> list[Schema]:
    """The branches of `part`, and of what it refers to, that may or may not hold."""
    found: list[Schema] = []
    todo: list[Schema] = [part]
    seen: set[int] = set()
    while todo:
        each = todo.pop()
        if isinstance(each, Mapping) and id(each) not in seen:
            seen.add(id(each))
            found += [each[keyword] for keyword in _CONDITIONAL if keyword in each]
            todo += _branches(root, each)
    return found


def _leads_back(root: Schema, start: Mapping[str, Any], branches: list[Schema]) -> bool:
    """Whether `branches` of `start` lead to it again, by what they hold and what that refers to."""
    todo, seen = branches, set[int]()
    while todo:
        for part in _everything(todo.pop()):
            references = [part[keyword] for keyword in _REFERENCES if isinstance(part.get(keyword), str)]
            if part is start or not all(map(is_pointer, references)):  # what can't be followed may lead anywhere
                return True
            if id(part) not in seen:
                seen.add(id(part))
                todo += [referred(root, reference) for reference in references]
    return False


def _everything(schema: Any) -> Iterator[Mapping[str, Any]]:
    return (value for value in _values(schema) if isinstance(value, Mapping))


def _values(value: Any) -> Iterator[Any]:
    """`value` and all values in it."""
    todo = [value]
    while todo:
        yield (each := todo.pop())
        if isinstance(each, dict):
            todo.extend(each.values())
        elif isinstance(each, list):
            todo.extend(each)
