"""Arguments are judged by the tool's closed schema, and the model is told what to put right."""

from typing import Any

import pytest

from garrison.base.events import Kind
from garrison.content.schema import ToolSchemas
from garrison.guard.refusal import InputRejected
from garrison.guard.types import Message, Request, Shape
from garrison.guard.validate import Validator
from tests.guard.world import World, legacy, modern

BAD: list[Any] = [
    {},
    {"customer_id": 7},
    {"customer_id": "a' OR 1=1 --"},
    {"customer_id": "ABC123", "admin": True},
    {"customer_id": ["ABC123"]},
    ["ABC123"],
    "ABC123",
]


@pytest.mark.parametrize("arguments", BAD, ids=str)
@pytest.mark.parametrize("era", [legacy, modern])
async def test_wrong_arguments_are_a_tool_error_that_names_the_field(world: World, era: Any, arguments: Any) -> None:
    response = await world.client().post(
        "/mcp", **era("tools/call", {"name": "get_customer_info", "arguments": arguments})
    )
    assert response.status_code == 200
    body = response.json()
    assert body["id"] == 1
    result = body["result"]
    assert result["isError"] is True
    assert result.get("resultType") == ("complete" if era is modern else None)
    assert "OR 1=1" not in result["content"][0]["text"]
    if isinstance(arguments, dict):
        assert ("customer_id" if "admin" not in arguments else "admin") in result["content"][0]["text"]
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.INPUT_REJECTED]


def test_the_arguments_of_a_tool_without_a_schema_are_never_right() -> None:
    """The guard doesn't start with such a tool in its policy; this holds should one come later."""
    message = Message(Shape.REQUEST, "tools/call", 1, {"name": "schemaless", "arguments": {}}, b"", modern=True)
    with pytest.raises(InputRejected):
        Validator(ToolSchemas({})).check(Request("POST", "/mcp", b"", {}, frozenset(), "", "1.1", ""), message)


@pytest.mark.parametrize("params", [{"name": "whoami"}, {"name": "whoami", "arguments": None}], ids=str)
async def test_no_arguments_are_an_empty_object(world: World, params: dict[str, Any]) -> None:
    assert "isError" not in (await world.client().post("/mcp", **legacy("tools/call", params))).text
    assert len(world.app.scopes) == 1
    world.app.scopes.clear()
    response = await world.client().post("/mcp", **legacy("tools/call", {**params, "name": "get_customer_info"}))
    assert response.json()["result"]["isError"] is True
    assert world.app.scopes == []
