"""`garrison chat` as a person uses it at a terminal, and as a program uses it through a pipe."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from starlette.types import Receive, Scope, Send

from garrison.cli._screen import Screen
from garrison.cli.main import main
from garrison.clients.answer import Call, Usage
from tests.clients.terminal import terminal
from tests.clients.world import CLIENT_ID, CLIENT_SECRET, World

GARRISON = str(Path(sys.executable).with_name("garrison"))
SECONDS = 110


def environ(world: World, folder: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name.startswith("COV")}
    client = {"OAUTH_CLIENT_ID": CLIENT_ID, "OAUTH_CLIENT_SECRET": CLIENT_SECRET}
    known = {"OAUTH_ISSUER_URL": world.issuer.issuer, "OPENAI_BASE_URL": world.model, "MCP_SERVER_URL": world.url}
    own = {"HOME": str(folder), "GARRISON_HOME": str(folder / "h"), "GARRISON_KEYRING": "off", "COLUMNS": "200"}
    return {**kept, **client, **known, **own, "PATH": "/usr/bin:/bin", "TERM": "xterm"}


async def test_a_person_has_a_conversation(world: World, tmp_path: Path) -> None:
    about_slow = 'get_customer_info(customer_id="SLOW01")'
    model, asked = world.model_stage.app, 0

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal asked
        asked += 1
        assert model
        await model(scope, receive, send)

    world.model_stage.app = counting
    async with terminal([GARRISON, "chat", "--approve"], environ(world, tmp_path), SECONDS) as screen:
        await screen.see("Ctrl-C ends a turn")
        await screen.see("> ")
        screen.type("Get information about customer ABC123\n")
        await screen.see('Allow get_customer_info(customer_id="ABC123")? [y/N]')
        screen.type("y\n")
        await screen.see("Email")
        await screen.see("abc123@example.com")
        await screen.see("get_customer_info answered: ")
        await screen.see("> ")

        screen.type("Get information about customer SLOW01\n")
        await screen.see(f"Allow {about_slow}?")
        screen.type("y\n")
        await world.gate.slow.wait()  # the call is under way, and will not end by itself
        screen.type("\x03")
        await screen.see("ended.")
        await screen.see("> ")
        world.gate.released.set()  # nobody waits for its result any more, so the model is not told

        # "their": the question that was broken off is no part of the conversation, the first one is.
        screen.type("Calculate their account value with purchases of $7\n")
        await screen.see('Allow calculate_account_value(customer_id="ABC123", amounts=[7])?')
        screen.type("\n")
        await screen.see("The user did not allow this call.")
        await screen.see("> ")
        screen.type("exit\n")
        await screen.see("2 calls; 4 tokens in, 4 out")
        assert await screen.ended() == 0
    assert asked == 2 + 1 + 2
    assert "\x1b[2m" in screen.shown  # in colour
    assert [seen.tool for seen in world.gate.seen if seen.tool] == ["get_customer_info"] * 2


async def test_a_pipe_gets_the_answers_alone_and_no_colours(world: World, tmp_path: Path) -> None:
    asked = "Get information about customer ABC123\n\nCalculate their account value with purchases of $7\nexit\n"
    with anyio.fail_after(SECONDS):
        done = await anyio.run_process(
            [GARRISON, "chat"], input=asked.encode(), env=environ(world, tmp_path), check=False
        )
    answers, notes = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, notes
    first, second, *rest = answers.splitlines()
    assert first.startswith("get_customer_info answered: ")
    assert second.startswith("calculate_account_value answered: customer id ABC123")
    assert rest == ["I have no tool for that. Ask me about customers, support tickets or account values."]
    assert "Email: abc123@example.com\n" in notes
    assert "Total Value: $7.00\n" in notes
    assert notes.endswith("2 calls; 5 tokens in, 5 out\n")
    assert "\x1b" not in answers + notes


async def test_the_demo_asks_its_three_questions_and_a_program_gets_json(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environ(world, tmp_path).items():
        monkeypatch.setenv(name, value)
    assert await anyio.to_thread.run_sync(main, ["chat", "--demo", "--json"]) == 0
    printed = capsys.readouterr()
    asked = json.loads(printed.out)
    tools = [call["tool"] for each in asked for call in each["calls"]]
    assert tools == ["get_customer_info", "create_support_ticket", "calculate_account_value"]
    assert {each["usage"]["input_tokens"] for each in asked} == {2}
    assert printed.err == ""


def test_nothing_that_a_model_or_a_server_says_steers_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for forced in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(forced, raising=False)
    evil = "\x1b]0;owned\x07\x9b31m\u202e\r\nforged"
    screen = Screen()
    for text in (evil, "x" * 3000):
        screen.text(text)
        screen.end()
        screen.answer(text)
        for is_error in (False, True):
            call = Call(text, {text: text}, text, None, is_error=is_error)
            screen.call(call)
            screen.result(call)
        screen.result(Call("create_support_ticket", {}, "", {"subject": text}))
        screen.note(text)
    screen.total(1, Usage(3, 4, 0.25))
    printed = "".join(capsys.readouterr())
    assert not set(printed) & set("\x1b\x07\x9b\u202e\r")
    assert "x" * 3000 in printed
    assert printed.endswith("1 call; 3 tokens in, 4 out, $0.2500\n")
