"""Texts that would be read as JSON after they were judged as texts.

The MCP SDK's server does so, for models that send `"[1, 2]"` where `[1, 2]` is meant: a text that holds an array, an
object or null takes that value, wherever the parameter isn't text alone. What was judged would not be what the tool
gets, so such a text is none that these parameters take.
"""

import json
from collections.abc import Mapping
from typing import Any

KEYWORD = "x-garrison-no-json-in"
"""The keyword of a schema's root that names the properties concerned."""
_BEGINNINGS = ("[", "{", "null")
_WHITE = " \t\r\n"


def refusing(schema: Mapping[str, Any], declared: Mapping[str, Any]) -> Mapping[str, Any]:
    """`schema`, which a tool's arguments are held against, without such texts for what the tool itself `declared`."""
    properties = declared.get("properties")
    if not isinstance(properties, Mapping):
        return schema
    return {**schema, KEYWORD: [name for name, one in properties.items() if not _is_text_alone(one)]}


def check(arguments: Any, names: list[str]) -> None:
    """Raises `ValueError` for the first of `names` whose text would be read as JSON."""
    for name in names if isinstance(arguments, Mapping) else ():
        value = arguments.get(name)
        if isinstance(value, str) and _is_read_as_json(value):
            raise ValueError(f"must not give {name!r} a text that holds JSON, but the array, object or null itself")


def _is_text_alone(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "string"


def _is_read_as_json(text: str) -> bool:
    if not text.lstrip(_WHITE).startswith(_BEGINNINGS):
        return False
    try:
        return not isinstance(json.loads(text), str | int | float)
    except (ValueError, RecursionError):
        return False
