"""Each model library, end to end: models over HTTP, tools of a Bearer-protected MCP server."""

import json
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import pytest
from anyio import move_on_after, to_thread
from starlette.types import Receive, Scope, Send

from garrison.clients.adapters import ADAPTERS, load
from garrison.clients.answer import Answer, Call
from garrison.clients.errors import ModelFailed, TooManyTurns
from garrison.clients.question import Options
from garrison.clients.session import connect
from tests.clients.libraries import GROUPS
from tests.clients.puppet import Puppet
from tests.clients.world import McpGate, World, serving

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
# What litellm's stream does with pydantic; the warnings are for litellm's authors.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Item 'summary' on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]
# Two environments run this file, as not all of the libraries go together: each tests the adapters that it has.
LIBRARIES = {
    "openai": "openai",
    "openai-responses": "openai",
    "anthropic": "anthropic",
    "langchain": "langchain_openai",
    "dspy": "dspy",
    "litellm": "litellm",
}
INSTALLED = [name for name in ADAPTERS if find_spec(LIBRARIES[name])]


def adapters(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [pytest.param(name, marks=GROUPS[name]) for name in names])


each_adapter = adapters(INSTALLED)


def test_each_environment_has_the_adapters_that_it_is_for() -> None:
    newer = int(version("openai").partition(".")[0]) >= 3
    assert set(ADAPTERS) - set(INSTALLED) == ({"dspy", "litellm"} if newer else set())


@pytest.mark.no_cover  # all of it is others' code, and takes thrice as long if it is looked at
@each_adapter
def test_the_library_of_an_adapter_can_be_loaded(name: str) -> None:
    assert import_module(LIBRARIES[name]).__name__ == LIBRARIES[name]


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


@adapters(name for name in INSTALLED if name not in {"anthropic", "dspy"})  # whose protocols hold no JSON text
async def test_arguments_that_are_no_json_are_answered_beside_good_ones(world: World, name: str) -> None:
    puppet = Puppet(lambda turn: [] if turn else [*ONE, ("get_customer_info", '{"customer_id": ')])
    world.model_stage.app = puppet.app()
    async with connect(world.url, **world.client) as session:
        answer = await load(name).run(session, "anything", base_url=world.model, api_key="any")
    assert answer.text == "done"
    assert sorted(call.is_error for call in answer.calls) == [False, True]
    sent = puppet.bodies[-1].get("messages") or puppet.bodies[-1]["input"]
    told = [each for each in sent if each.get("role") == "tool" or each.get("type") == "function_call_output"]
    assert {each.get("tool_call_id") or each["call_id"] for each in told} == {"call_0", "call_1"}
    assert any("one JSON object" in str(each) for each in told)
    assert len([seen for seen in world.gate.seen if seen.tool]) == 1


@adapters(["langchain"])
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


@each_adapter
async def test_the_text_is_told_as_it_comes_and_adds_up_to_the_answer(world: World, name: str) -> None:
    question = "Get information about customer ABC123"
    pieces: list[str] = []
    async with connect(world.url, **world.client) as session:
        answer = await load(name).run(session, question, base_url=world.model, api_key="any", on_text=pieces.append)
    assert [call.name for call in answer.calls] == ["get_customer_info"]
    assert "abc123@example.com" in answer.text
    assert "".join(pieces) == answer.text
    assert len(pieces) > 3 or name == "dspy"  # which writes its answer in one piece


@each_adapter
async def test_a_question_of_a_conversation_is_understood_by_those_before_it(world: World, name: str) -> None:
    history: list[object] = []
    value = "Calculate their account value with purchases of $7"

    async def ask(question: str, kept: list[object] | None, model: str = "scripted") -> Answer:
        known: Options = {"base_url": world.model, "api_key": "any", "model": model, "history": kept}
        return await load(name).run(session, question, **known)

    async with connect(world.url, **world.client) as session:
        await ask("Get information about customer ABC123", history)
        before = list(history)
        with pytest.raises(ModelFailed):
            await ask("And about customer XYZ789?", history, "scripted-500")
        assert history == before  # as if it had not been asked
        answer, fresh = await ask(value, history), await ask(value, None)
    assert [(call.name, dict(call.arguments)) for call in answer.calls] == [
        ("calculate_account_value", {"customer_id": "ABC123", "amounts": [7]})
    ]
    assert answer.text in str(history[-1])
    assert len(history) > len(before)
    assert fresh.calls == ()


@each_adapter
async def test_an_option_that_no_adapter_has_is_refused(world: World, name: str) -> None:
    async with connect(world.url, **world.client) as session:
        with pytest.raises(TypeError, match="max_turn"):
            await load(name).run(session, "x", max_turn=1)  # type: ignore[call-arg]


@each_adapter
async def test_the_tokens_of_all_turns_are_counted(world: World, name: str) -> None:
    for on_text in (None, lambda text: None):
        async with connect(world.url, **world.client) as session:
            question = "Get information about customer ABC123"
            answer = await load(name).run(session, question, base_url=world.model, api_key="any", on_text=on_text)
        turns = 3 if name == "dspy" else 2
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (turns, turns)
        assert (answer.usage.cost is not None) == (name in {"dspy", "litellm"})  # which have a price list


@each_adapter
async def test_a_call_that_is_not_approved_is_not_made_and_the_model_is_told(world: World, name: str) -> None:
    asked: list[Call] = []

    async def approve(call: Call) -> bool:
        asked.append(call)
        return bool(call.arguments["customer_id"] != "ABC123")

    puppet = Puppet(lambda turn: [ONE, [("get_customer_info", '{"customer_id": "XYZ789"}')], []][min(turn, 2)])
    world.model_stage.app = puppet.app()
    async with connect(world.url, **world.client) as session:
        answer = await load(name).run(session, "anything", base_url=world.model, api_key="any", approve=approve)
    assert [(call.name, call.server, call.text) for call in asked] == [("get_customer_info", "customers", "")] * 2
    assert [call.is_error for call in answer.calls] == [True, False]
    assert "The user did not allow this call." in json.dumps(puppet.bodies[1])
    assert len([seen for seen in world.gate.seen if seen.tool]) == 1


@each_adapter
async def test_tools_of_several_servers_are_kept_apart(world: World, name: str) -> None:
    other = McpGate(open=True)
    async with other.inner.router.lifespan_context(other.inner), serving(other) as origin:
        other.url = f"{origin}/mcp"
        async with connect(world.url, **world.client) as first, connect(other.url) as second:
            puppet = Puppet(lambda turn: [] if turn else [("customers_2_get_customer_info", ONE[0][1])])
            world.model_stage.app = puppet.app()
            answer = await load(name).run([first, second], "anything", base_url=world.model, api_key="any")
    offered = json.dumps(puppet.bodies[0])
    assert "customers_get_customer_info" in offered
    assert "customers_2_get_customer_info" in offered
    (call,) = answer.calls
    assert (call.name, call.server, call.is_error) == ("get_customer_info", "customers_2", False)
    assert [seen.tool for seen in other.seen if seen.tool] == ["get_customer_info"]
    assert [seen for seen in world.gate.seen if seen.tool] == []


@each_adapter
@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_providers_error_is_told_with_its_status(world: World, name: str, status: int) -> None:
    for on_text in (None, lambda text: None):
        async with connect(world.url, **world.client) as session:
            with pytest.raises(ModelFailed) as failed:
                await load(name).run(
                    session, "x", model=f"scripted-{status}", base_url=world.model, api_key="any", on_text=on_text
                )
        assert failed.value.status == status


@GROUPS["openai"]
async def test_a_response_that_failed_is_an_error_though_its_status_is_200(world: World) -> None:
    world.model_stage.app = Puppet(lambda turn: [], response_status="failed").app()
    async with connect(world.url, **world.client) as session:
        with pytest.raises(ModelFailed, match="failed"):
            await load("openai-responses").run(session, "anything", base_url=world.model, api_key="any")


@GROUPS["openai"]
async def test_nothing_is_kept_at_the_provider_of_responses(world: World) -> None:
    puppet = Puppet(lambda turn: [])
    world.model_stage.app = puppet.app()
    async with connect(world.url, **world.client) as session:
        await load("openai-responses").run(session, "anything", base_url=world.model, api_key="any")
    assert puppet.bodies[0]["store"] is False


@GROUPS["langchain"]
async def test_langchains_conversation_is_reported_to_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_core.tracers.langchain import wait_for_all_tracers  # noqa: PLC0415 - an extra, as in the adapters
    from langsmith.utils import get_env_var  # noqa: PLC0415

    cached: Any = get_env_var
    reported: list[str] = []
    model = world.model_stage.app

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/v1/chat/completions":
            reported.append(scope["path"])
        assert model
        await model(scope, receive, send)

    world.model_stage.app = look
    told = {"TRACING": "true", "ENDPOINT": world.model_stage.url, "API_KEY": "any"}
    for name, value in told.items():
        monkeypatch.setenv(f"LANGSMITH_{name}", value)
    cached.cache_clear()
    try:
        async with connect(world.url, **world.client) as session:
            await load("langchain").run(session, "Get information about ABC123", base_url=world.model, api_key="any")
        with move_on_after(30):
            await to_thread.run_sync(wait_for_all_tracers, abandon_on_cancel=True)
    finally:
        cached.cache_clear()
    assert reported == []


@GROUPS["openai"]
async def test_anthropics_own_tool_runner_can_have_the_tools(world: World) -> None:
    """It makes the calls through the session too, asks first, and tells the model of a failure without internals."""
    from anthropic import AsyncAnthropic  # noqa: PLC0415 - an extra, as in the adapters

    from garrison.clients.adapters import anthropic  # noqa: PLC0415

    async def approve(call: Call) -> bool:
        return bool(call.arguments["customer_id"] != "DEF456")

    wanted = ['{"customer_id": "ABC123"}', '{"customer_id": "DEF456"}']
    puppet = Puppet(lambda turn: [] if turn else [("get_customer_info", arguments) for arguments in wanted])
    world.model_stage.app = puppet.app()
    seen: list[Call] = []
    async with (
        connect(world.url, **world.client) as session,
        AsyncAnthropic(api_key="any", base_url=world.model.removesuffix("/v1")) as client,
    ):
        runner = client.beta.messages.tool_runner(
            model="m",
            max_tokens=64,
            messages=[{"role": "user", "content": "anything"}],
            tools=await anthropic.runner_tools(session, on_call=seen.append, approve=approve),
        )
        final = await runner.until_done()
    assert [block.text for block in final.content if block.type == "text"] == ["done"]
    assert [call.is_error for call in seen] == [False, True]
    told = {result.get("is_error", False): json.dumps(result) for result in _results(puppet)}
    assert "abc123@example.com" in told[False]
    assert "The user did not allow this call." in told[True]
    assert len([call for call in world.gate.seen if call.tool]) == 1


def _results(puppet: Puppet) -> list[dict[str, object]]:
    return list(puppet.bodies[1]["messages"][-1]["content"])
