"""Closing a schema: nothing undeclared gets in, nothing declared is kept out."""

from typing import Any

import pytest

from garrison.content.schema import SchemaError, ToolSchemas, close

POINT = {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}}
NAMED = {"type": "object", "properties": {"name": {"type": "string"}}}
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def fits(schema: dict[str, Any], arguments: Any) -> bool:
    return ToolSchemas({"tool": schema}).check("tool", arguments) == []


def test_the_root_takes_only_what_it_declares() -> None:
    assert fits(POINT, {"x": 1})
    assert not fits(POINT, {"x": 1, "z": 1})


@pytest.mark.parametrize("allows", [{"additionalProperties": True}, {"unevaluatedProperties": True}])
def test_the_root_is_closed_whatever_it_says(allows: dict[str, Any]) -> None:
    assert not fits({**POINT, **allows}, {"z": 1})
    assert not fits({"allOf": [POINT], **allows}, {"z": 1})


def test_a_tool_without_parameters_takes_none() -> None:
    assert fits({"type": "object"}, {})
    assert not fits({}, {"z": 1})
    assert not fits({}, [])


@pytest.mark.parametrize(
    ("inner", "value"),
    [
        (POINT, {"z": 1}),
        ({"type": "array", "items": POINT}, [{"z": 1}]),
        ({"type": "array", "prefixItems": [POINT]}, [{"z": 1}]),
        ({"type": "object", "additionalProperties": POINT}, {"any": {"z": 1}}),
        ({"type": "object", "patternProperties": {"^p": POINT}}, {"p1": {"z": 1}}),
        ({"$ref": "#/$defs/Point"}, {"z": 1}),
        ({"$ref": "#point"}, {"z": 1}),
        ({"anyOf": [POINT, {"type": "null"}]}, {"z": 1}),
        ({"anyOf": [{"$ref": "#/$defs/Point"}, {"type": "null"}]}, {"z": 1}),
        ({"allOf": [POINT, NAMED]}, {"x": 1, "name": "n", "z": 1}),
        ({"allOf": [{"$ref": "#/$defs/Point"}], "properties": {"name": {}}}, {"x": 1, "name": "n", "z": 1}),
        ({"if": {"required": ["x"]}, "then": POINT, "else": NAMED}, {"z": 1}),
        ({"dependentSchemas": {"x": NAMED}, **POINT}, {"x": 1, "name": "n", "z": 1}),
    ],
    ids=range(13),
)
def test_an_inner_object_that_declares_properties_takes_no_others(inner: dict[str, Any], value: Any) -> None:
    schema = {"properties": {"v": inner}, "$defs": {"Point": {**POINT, "$anchor": "point"}}}
    assert not fits(schema, {"v": value})
    assert fits(schema, {"v": _without_z(value)})


def _without_z(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_z(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_z(member) for name, member in value.items() if name != "z"}
    return value


@pytest.mark.parametrize(
    "inner",
    [
        {"type": "object"},
        {**POINT, "additionalProperties": True},
        {**POINT, "unevaluatedProperties": {"type": "integer"}},
        {"$ref": "#/$defs/Free"},
        {"anyOf": [POINT, {"type": "object", "required": ["z"]}]},
        {"type": "object", "not": {"properties": {"x": {}}, "required": ["x"]}},
    ],
)
def test_an_inner_object_that_says_otherwise_stays_open(inner: dict[str, Any]) -> None:
    assert fits({"properties": {"v": inner}, "$defs": {"Free": {"type": "object"}}}, {"v": {"z": 1}})


def test_a_recursive_schema_is_closed_at_each_level() -> None:
    schema = {"$ref": "#/$defs/Node", "$defs": {"Node": {"properties": {"next": {"$ref": "#/$defs/Node"}}}}}
    assert fits(schema, {"next": {"next": {}}})
    assert not fits(schema, {"next": {"next": {"z": 1}}})


def test_references_that_multiply_are_followed_once() -> None:
    steps = {f"D{n}": {"allOf": [{"$ref": f"#/$defs/D{n + 1}"}] * 2} for n in range(60)}
    closed = close({"properties": {"v": {"$ref": "#/$defs/D0"}}, "$defs": {**steps, "D60": {"type": "object"}}})
    assert closed["properties"]["v"] == {"$ref": "#/$defs/D0"}


def test_an_older_dialect_is_closed_where_it_can_be() -> None:
    schema = {"$schema": DRAFT_7, "properties": {"v": {"anyOf": [POINT, {"type": "null"}]}}}
    assert fits(schema, {"v": {"x": 1}})
    assert not fits(schema, {"v": {"z": 1}})


@pytest.mark.parametrize("root", [{"allOf": [POINT]}, {"$ref": "#/definitions/Free"}])
def test_a_root_that_its_dialect_cannot_close_is_refused(root: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="dialect"):
        ToolSchemas({"tool": {"$schema": DRAFT_7, "definitions": {"Free": {"type": "object"}}, **root}})


def test_closing_leaves_the_given_schema_alone() -> None:
    given: dict[str, Any] = {"properties": {"v": {"properties": {"x": {}}}}}
    close(given)
    assert given == {"properties": {"v": {"properties": {"x": {}}}}}
