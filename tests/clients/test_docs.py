"""docs/clients.md and the libraries' pages: each program is run as it stands, but for the addresses and the browser."""

import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import garrison.clients.login
from garrison.cli.main import _parse, build_parser
from garrison.clients.adapters import ADAPTERS
from tests.clients.browser import Browser
from tests.clients.far_server import FarServer
from tests.clients.libraries import GROUPS
from tests.clients.world import CLIENT_ID, CLIENT_SECRET, World, serving

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
INDEX = DOCS / "clients.md"
PAGES = sorted((DOCS / "clients").glob("*.md"))
SOURCE = "".join(path.read_text() for path in (ROOT / "src" / "garrison").rglob("*.py"))
CONFIG = "".join(path.read_text() for path in (ROOT / "src" / "garrison" / "config").rglob("*.py"))
BLOCKS = [
    (page.stem, language, block)
    for page in (INDEX, *PAGES)
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
]
PROGRAMS = [
    pytest.param(block, id=f"{page}-{number}", marks=GROUPS.get(page, ()))
    for number, (page, language, block) in enumerate(BLOCKS)
    if language == "python"
]
COMMANDS = {
    line: shlex.split(line, comments=True)[1:]
    for _, language, block in BLOCKS
    for line in block.splitlines()
    if not language and line.startswith("garrison ")
}
# What litellm's stream does with pydantic; the warnings are for litellm's authors.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Item 'summary' on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture
async def documents() -> AsyncIterator[str]:
    """A second MCP server, with tools of its own."""
    app = FarServer().app()
    async with app.router.lifespan_context(app), serving(app) as url:
        yield f"{url}/mcp"


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_program_of_the_pages_does_what_it_says(
    world: World, documents: str, program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.issuer.registering = "login" in program
    for provider in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{provider}_API_KEY", "any")
        # Anthropic's own client, and litellm's, add /v1 to their address themselves.
        bare = provider == "ANTHROPIC" and ("litellm" in program or "tool_runner" in program)
        monkeypatch.setenv(f"{provider}_BASE_URL", world.model.removesuffix("/v1") if bare else world.model)
    monkeypatch.setattr(garrison.clients.login, "Login", Browser().login)
    monkeypatch.setattr("builtins.input", lambda _: "y")
    for named, real in {
        "https://mcp.example/mcp": world.url,
        "https://docs.example/mcp": documents,
        "https://auth.example": world.issuer.issuer,
        '"my-app"': repr(CLIENT_ID),
        '"my-secret"': repr(CLIENT_SECRET),
    }.items():
        program = program.replace(named, real)
    assert program.endswith("asyncio.run(main())\n")
    names: dict[str, Any] = {}
    exec(program.removesuffix("asyncio.run(main())\n"), names)  # noqa: S102 - the pages' own programs
    await names["main"]()
    printed = capsys.readouterr().out
    assert "abc123@example.com" in printed
    if "for model in" in program:
        assert [form["grant_type"] for form in world.issuer.forms] == ["authorization_code"]
    if "conversation" in program:
        assert "The model wants to call create_support_ticket of customers" in printed
        assert "login issues" in printed
        assert "called create_support_ticket ok" in printed


def test_every_adapter_has_its_page_its_program_and_its_command() -> None:
    imported = re.findall(r"adapters import (\w+)", "".join(page.read_text() for page in PAGES))
    asked = {words[words.index("--with") + 1] for words in COMMANDS.values() if "--with" in words}
    assert {page.stem for page in PAGES} == {name.partition("-")[0] for name in ADAPTERS}
    assert set(imported) == {name.replace("-", "_") for name in ADAPTERS}
    assert asked | {"openai-responses"} == set(ADAPTERS)  # which differs in its name alone


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_each_command_of_the_pages_is_one(words: list[str]) -> None:
    assert _parse(build_parser(), words).command == words[0]


@each_page
def test_each_message_that_a_page_explains_is_said_somewhere(page: Path) -> None:
    table = page.read_text().partition("| it says | do |")[2]
    quoted = re.findall(r"^\| `([^`]*)` \| ", table, re.MULTILINE)
    varying = re.compile(r"…|\(\w+Error\)|\w+_API_KEY|^OpenAI|^Anthropic|^the model(?= did)")
    parts = [part.strip() for said in quoted for part in varying.split(said)]
    assert len(quoted) > 5
    assert [part for part in parts if part not in SOURCE] == []


@each_page
def test_each_page_names_variables_and_an_extra_that_there_are(page: Path) -> None:
    extras = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2]
    text = page.read_text()
    variables = set(re.findall(r"\b((?:OPENAI|ANTHROPIC|OLLAMA|LLM)_[A-Z_]+)\b", text))
    assert variables
    assert [name for name in variables if f'"{name}"' not in CONFIG] == []
    assert re.findall(r"garrison\[(\w+)\]", text)[0] == page.stem
    assert f"\n{page.stem} = [" in extras


@each_page
def test_the_index_leads_to_each_page_and_each_page_back(page: Path) -> None:
    assert f"(clients/{page.name})" in INDEX.read_text()
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / link).is_file(), link
    assert "(../clients.md)" in page.read_text()


def test_every_clients_own_setting_is_on_the_page() -> None:
    named = re.findall(r'"(GARRISON_(?:LOGINS|KEYRING))"', CONFIG)
    assert named
    for variable in named:
        assert variable in INDEX.read_text()
