"""What a model may do with the tools, and what it is told."""

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import CallToolResult, ImageContent, TextContent, Tool

from garrison.clients.answer import Call
from garrison.clients.session import Session, connect
from garrison.clients.toolbox import MAX_TEXT, Toolbox, offer, open_toolbox, text_of
from tests.clients.world import World


async def opened(session: Session) -> Toolbox:
    return await open_toolbox(session)


async def test_a_tool_that_was_not_offered_is_answered_and_never_called(world: World) -> None:
    async with connect(world.url, **world.client) as session:
        call = await (await opened(session)).use("delete_everything", {})
    assert call.is_error
    assert "no tool named 'delete_everything'" in call.text
    assert [seen for seen in world.gate.seen if seen.tool] == []


@pytest.mark.parametrize("arguments", ['{"customer_id": ', "[1]", '"ABC123"', "[" * 100_000])
async def test_arguments_that_are_no_json_object_are_answered_and_never_sent(world: World, arguments: str) -> None:
    async with connect(world.url, **world.client) as session:
        call = await (await opened(session)).use("get_customer_info", arguments)
    assert call.is_error
    assert "JSON object" in call.text
    assert [seen for seen in world.gate.seen if seen.tool] == []


async def test_a_tools_own_error_is_told_to_the_model(world: World) -> None:
    ticket = {"customer_id": "ABC123", "subject": "a", "description": "b", "priority": "now"}
    async with connect(world.url, **world.client) as session:
        call = await (await opened(session)).use("create_support_ticket", ticket)
    assert call.is_error
    assert "priority must be" in call.text


async def test_a_missing_permission_is_told_to_the_model(world: World) -> None:
    world.issuer.grants = frozenset({"customer:read"})
    async with connect(world.url, scope="customer:read", **world.client) as session:
        call = await (await opened(session)).use("calculate_account_value", {"customer_id": "A", "amounts": [1]})
    assert call.is_error
    assert "account:calculate" in call.text


async def test_our_own_trouble_is_told_to_the_model_without_details(world: World) -> None:
    async with connect(world.url, **world.client) as session:
        toolbox = await opened(session)
        world.gate.broken = lambda seen: bool(seen.tool)
        call = await toolbox.use("get_customer_info", {"customer_id": "ABC123"})
    assert call.text == "The tool was not run: the server could not be asked."


async def test_calls_of_one_turn_run_side_by_side_and_keep_their_order(world: World) -> None:
    async with connect(world.url, **world.client) as session:
        toolbox = await opened(session)
        done: list[list[Call]] = []

        async def ask() -> None:
            wanted = [("get_customer_info", {"customer_id": name}) for name in ("SLOW01", "ABC123")]
            done.append(await toolbox.use_all(wanted))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            with anyio.fail_after(60):
                while not toolbox.calls:  # the second is done while the first still waits
                    await anyio.lowlevel.checkpoint()
            world.gate.released.set()
    assert [call.arguments["customer_id"] for call in toolbox.calls] == ["ABC123", "SLOW01"]
    assert [call.arguments["customer_id"] for call in done[0]] == ["SLOW01", "ABC123"]


@given(st.lists(st.text(min_size=1, max_size=70), max_size=12))
def test_every_tool_has_a_name_of_its_own_that_providers_allow(names: list[str]) -> None:
    tools = [Tool(name=name, input_schema={"type": "object"}) for name in names]
    offered = list(offer([(None, "server", tool) for tool in tools]))
    assert len({each.name for each in offered}) == len(names)
    assert all(each.name.replace("-", "_").replace("_", "a").isalnum() and len(each.name) <= 64 for each in offered)
    assert all(each.name.isascii() for each in offered)


def test_a_result_is_its_text_or_its_structure_and_is_cut() -> None:
    image = ImageContent(type="image", data="aGk=", mime_type="image/png")
    assert text_of(CallToolResult(content=[TextContent(type="text", text="a"), image])) == "a\n[image]"
    assert text_of(CallToolResult(content=[], structured_content={"a": 1})) == '{"a": 1}'
    long = text_of(CallToolResult(content=[TextContent(type="text", text="x" * (MAX_TEXT + 1))]))
    assert len(long) < MAX_TEXT + 50
    assert "cut" in long
