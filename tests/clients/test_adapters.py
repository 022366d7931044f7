"""Each model library, end to end: models over HTTP, tools of a Bearer-protected MCP server."""

import json

import pytest

from garrison.clients.adapters import ADAPTERS, load
from garrison.clients.answer import Call
from garrison.clients.errors import ModelFailed, TooManyTurns
from garrison.clients.session import connect
from tests.clients.puppet import Puppet
from tests.clients.world import World

QUESTIONS = {
    "Get information about customer ABC123": ("get_customer_info", "abc123@example.com"),
    "Create a high priority support ticket for customer XYZ789 about login issues": (
        "create_support_ticket",
        "login issues",
    ),
    "Calculate the account value for customer DEF456 with purchases of $1000, $2500, and $500": (
        "calculate_account_value",
        "4000",
    ),
}
ONE = [("get_customer_info", '{"customer_id": "ABC123"}')]
each_adapter = pytest.mark.parametrize("name", ADAPTERS)


@each_adapter
async def test_an_adapter_answers_the_three_questions(world: World, name: str) -> None:
    async with connect(world.url, **world.client) as session:
        for question, (tool, told) in QUESTIONS.items():
            seen: list[Call] = []
            answer = await load(name).run(session, question, base_url=world.model, api_key="any", on_call=seen.append)
            assert [call.name for call in answer.calls] == [tool]
            assert told in answer.text
            assert tuple(seen) == answer.calls
            assert not answer.calls[0].is_error
    assert len(world.issuer.forms) == 1


@each_adapter
async def test_several_calls_of_one_turn_are_all_answered(world: World, name: str) -> None:
    question = "Get information about customers ABC123 and XYZ789, then calculate their value with purchases of $5"
    async with connect(world.url, **world.client) as session:
        answer = await load(name).run(session, question, base_url=world.model, api_key="any")
    made = sorted((call.name, str(call.arguments["customer_id"])) for call in answer.calls)
    tools = ("calculate_account_value", "get_customer_info")
    assert made == [(tool, customer) for tool in tools for customer in ("ABC123", "XYZ789")]
    assert "abc123@example.com" in answer.text
    assert "xyz789@example.com" in answer.text


@each_adapter
async def test_a_model_that_goes_on_calling_tools_is_stopped(world: World, name: str) -> None:
    puppet = Puppet(lambda turn: ONE)
    world.model_stage.app = puppet.app()
    async with connect(world.url, **world.client) as session:
        with pytest.raises(TooManyTurns) as stopped:
            await load(name).run(session, "anything", base_url=world.model, api_key="any", max_turns=3)
    assert 2 <= len(stopped.value.calls) <= 3
    assert len(puppet.bodies) <= 4


@each_adapter
async def test_a_tool_that_was_not_offered_is_never_called(world: World, name: str) -> None:
    puppet = Puppet(lambda turn: [] if turn else [("delete_everything", "{}")])
    world.model_stage.app = puppet.app()
    async with connect(world.url, **world.client) as session:
        answer = await load(name).run(session, "anything", base_url=world.model, api_key="any")
    assert answer.text == "done"
    assert all(call.is_error for call in answer.calls)
    assert [seen for seen in world.gate.seen if seen.tool] == []
    assert "There is no tool named 'delete_everything'" in json.dumps(puppet.bodies[-1])


@pytest.mark.parametrize("name", ["openai", "langchain", "litellm"])  # the others' protocols hold no JSON text
async def test_arguments_that_are_no_json_are_answered_beside_good_ones(world: World, name: str) -> None:
    puppet = Puppet(lambda turn: [] if turn else [*ONE, ("get_customer_info", '{"customer_id": ')])
    world.model_stage.app = puppet.app()
    async with connect(world.url, **world.client) as session:
        answer = await load(name).run(session, "anything", base_url=world.model, api_key="any")
    assert answer.text == "done"
    assert sorted(call.is_error for call in answer.calls) == [False, True]
    told = [message for message in puppet.bodies[-1]["messages"] if message["role"] == "tool"]
    assert {message["tool_call_id"] for message in told} == {"call_0", "call_1"}
    assert any("one JSON object" in str(message["content"]) for message in told)
    assert len([seen for seen in world.gate.seen if seen.tool]) == 1


@pytest.mark.parametrize("name", ["langchain"])
async def test_only_bad_arguments_give_the_model_another_turn(world: World, name: str) -> None:
    puppet = Puppet(lambda turn: [] if turn else [("get_customer_info", "{")])
    world.model_stage.app = puppet.app()
    async with connect(world.url, **world.client) as session:
        answer = await load(name).run(session, "anything", base_url=world.model, api_key="any")
    assert answer.text == "done"
    assert len(puppet.bodies) == 2


@each_adapter
async def test_a_providers_refusal_is_a_clear_error_without_the_key(world: World, name: str) -> None:
    puppet = Puppet(lambda turn: [], status=401)
    world.model_stage.app = puppet.app()
    async with connect(world.url, **world.client) as session:
        with pytest.raises(ModelFailed) as failed:
            await load(name).run(session, "anything", base_url=world.model, api_key="sk-secret")
    assert "sk-secret" not in failed.value.message
    assert failed.value.hint == "Check the API key."


@each_adapter
async def test_no_key_is_taken_from_the_environment(world: World, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(variable, "from-the-environment")
    puppet = Puppet(lambda turn: [])
    world.model_stage.app = puppet.app()
    async with connect(world.url, **world.client) as session:
        await load(name).run(session, "anything", base_url=world.model)
    assert puppet.keys == {"unset"}
