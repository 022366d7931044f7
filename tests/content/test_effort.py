"""What is more than linear in the schema engine is not begun: a kilobyte kept everybody waiting for hours."""

import time
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from garrison.content import effort
from garrison.content.schema import ToolSchemas, close

TOO_MANY = "The arguments don't fit the tool's schema, and are too many to say where."
NODE = {"$ref": "#/$defs/Node"}
INTEGER = {"type": "integer"}


class And(BaseModel):
    left: "And | Or | Leaf"
    op: Literal["and"]


class Or(BaseModel):
    left: "And | Or | Leaf"
    op: Literal["or"]


class Leaf(BaseModel):
    v: int


class Expression(BaseModel):
    e: And | Or | Leaf


def check(schema: Mapping[str, Any], arguments: Any) -> list[str]:
    """What is wrong; in a moment, whatever it is."""
    schemas = ToolSchemas({"t": schema})
    begun = time.process_time()
    sentences = schemas.check("t", arguments)
    assert time.process_time() - begun < 3
    return sentences


def declaring(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def nested(levels: int, leaf: Any, **beside: Any) -> Any:
    for _ in range(levels):
        leaf = {"left": leaf, **beside}
    return leaf


def alternatives(keyword: str) -> dict[str, Any]:
    """A node is a number, or one of two that hold a node: closed, each level asks what both have looked at."""
    kinds = [{**declaring(left=NODE, **{name: INTEGER}), "required": ["left"]} for name in ("a", "b")]
    return {**declaring(n=NODE), "$defs": {"Node": {keyword: [*kinds, INTEGER]}}}


@pytest.mark.parametrize(
    "argument",
    [
        ["x"] * 150_000,
        [[]] * 150_000,
        [nested(8, "x", op="or") for _ in range(1000)],
        nested(16, "x", op="or"),
        {"left": "x" * 2_000_000, "op": "or"},
        {"unknown": [[]] * 150_000},
    ],
    ids=["texts", "lists", "expressions", "deep", "long", "unknown"],
)
def test_many_mistakes_are_not_all_looked_for(argument: Any) -> None:
    several = {"anyOf": [INTEGER, {"type": "null"}, {"type": "array", "items": {"anyOf": [INTEGER, {"type": "null"}]}}]}
    expression = Expression.model_json_schema()
    schema = {**expression, "properties": {"e": {"anyOf": [*several["anyOf"], expression["properties"]["e"]]}}}
    assert check(schema, {"e": argument}) == [
        "The arguments don't fit the tool's schema, and are too many to say where."
    ]


def test_a_few_mistakes_among_few_values_are_named() -> None:
    rows = {"type": "array", "items": {"anyOf": [INTEGER, {"type": "null"}]}}
    assert check(declaring(rows=rows), {"rows": [1] * 200 + ["x"]}) == ["/rows/200 fits none of the forms it may have."]
    assert check(Expression.model_json_schema(), {"e": nested(2, 1, op="or")})


def test_a_long_text_is_said_to_be_too_long() -> None:
    (sentence,) = check(declaring(a={"type": "string", "maxLength": 2000}), {"a": "x" * 100_000})
    assert sentence == "/a must have at most 2000 characters."


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
@pytest.mark.parametrize("leaf", [1, "x"])
def test_alternatives_that_lead_back_are_not_tried_at_every_level(keyword: str, leaf: Any) -> None:
    sentences = check(alternatives(keyword), {"n": nested(20, leaf)})
    assert sentences == ["The arguments are too many, or nested too deep, to be held against the tool's schema."]


def test_alternatives_that_lead_back_are_tried_where_that_is_little() -> None:
    assert check(alternatives("anyOf"), {"n": nested(4, 1)}) == []


@pytest.mark.parametrize("schema", [Expression.model_json_schema(), declaring(a=INTEGER)], ids=["pydantic", "flat"])
def test_what_the_engine_does_in_time_is_not_counted(schema: dict[str, Any]) -> None:
    assert not effort.tries_again(close(schema))
    assert check(Expression.model_json_schema(), {"e": nested(28, {"v": 1}, op="or")}) == []


def test_what_a_name_refers_to_may_lead_anywhere() -> None:
    anchored = alternatives("anyOf")
    anchored["$defs"]["Node"]["$anchor"] = "node"
    for kind in anchored["$defs"]["Node"]["anyOf"][:2]:
        kind["properties"]["left"] = {"$ref": "#node"}
    assert effort.tries_again(close(anchored))


LARGE = [2**63, -(2**63) - 1, 2**200]


@pytest.mark.parametrize("first", LARGE)
def test_large_numbers_are_not_compared_each_with_each(first: int) -> None:
    schema = declaring(a={"type": "array", "uniqueItems": True})
    (sentence,) = check(schema, {"a": [[first + i] for i in range(5000)]})
    assert sentence == "The arguments hold a whole number of more than 64 bits, which can't be compared here."


def test_other_numbers_are_compared() -> None:
    schema = declaring(a={"type": "array", "uniqueItems": True})
    assert check(schema, {"a": [2**63 - 1, -(2**63), 1e300, 2.5]}) == []
    assert check(schema, {"a": [1, 1]}) == ["/a must not repeat an item."]
    assert check(declaring(a=INTEGER), {"a": LARGE[-1]}) == []
