"""docs/clients.md: each of its programs is run as it stands, but for the addresses and the browser."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import garrison.clients.login
from garrison.clients.adapters import ADAPTERS
from tests.clients.browser import Browser
from tests.clients.world import CLIENT_ID, CLIENT_SECRET, World

PAGE = (Path(__file__).parents[2] / "docs/clients.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def title(program: str) -> str:
    adapter = re.search(r"adapters import (\w+)", program)
    return adapter.group(1) if adapter else "session"


@pytest.mark.parametrize("program", PROGRAMS, ids=title)
async def test_a_program_of_the_page_does_what_it_says(
    world: World, program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.issuer.registering = "login" in program
    for provider in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{provider}_API_KEY", "any")
        # litellm's client of Anthropic adds /v1 to its address itself.
        bare = provider == "ANTHROPIC" and "litellm" in program
        monkeypatch.setenv(f"{provider}_BASE_URL", world.model.removesuffix("/v1") if bare else world.model)
    monkeypatch.setattr(garrison.clients.login, "Login", Browser().login)
    monkeypatch.setattr("builtins.input", lambda _: "y")
    for named, real in {
        "https://mcp.example/mcp": world.url,
        "https://auth.example": world.issuer.issuer,
        '"my-app"': repr(CLIENT_ID),
        '"my-secret"': repr(CLIENT_SECRET),
    }.items():
        program = program.replace(named, real)
    assert program.endswith("asyncio.run(main())\n")
    names: dict[str, Any] = {}
    exec(program.removesuffix("asyncio.run(main())\n"), names)  # noqa: S102 - the page's own programs
    await names["main"]()
    printed = capsys.readouterr().out
    assert any(told in printed for told in ("abc123@example.com", "login issues", "4000"))
    assert [seen for seen in world.gate.seen if seen.tool]


def test_every_adapter_has_its_program() -> None:
    assert {title(program) for program in PROGRAMS} == {"session", *(name.replace("-", "_") for name in ADAPTERS)}


def test_every_clients_own_setting_is_on_the_page() -> None:
    source = (Path(sys.modules["garrison"].__file__ or "").parent / "config.py").read_text()
    for variable in re.findall(r'"(GARRISON_(?:LOGINS|KEYRING))"', source):
        assert variable in PAGE
