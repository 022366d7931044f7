"""The authorization-code flow: a browser, a loopback port, state, iss and PKCE."""

import stat
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
import pytest

from garrison.base.errors import UsageError
from garrison.clients.authorization import authorization_request, process_authorization_response
from garrison.clients.errors import AuthorizationFailed, StrayAnswer, TokenRefused
from garrison.clients.login import Login, RedirectListener, print_url
from garrison.clients.retry_after import Timing
from garrison.clients.session import connect
from garrison.clients.tokens import FileTokens, MemoryTokens, Token, TokenKey, TokenStorage
from garrison.oauth.server_metadata import ServerMetadata
from tests.clients.browser import Browser
from tests.clients.world import World

ASK = ("get_customer_info", {"customer_id": "ABC123"})
SERVER = ServerMetadata(
    issuer="https://auth.example",
    token_endpoint="https://auth.example/token",
    jwks_uri="https://auth.example/jwks",
    authorization_endpoint="https://auth.example/authorize?tenant=1",
    code_challenge_methods=("S256",),
    iss_parameter_supported=True,
)


@pytest.fixture
def browser() -> Browser:
    return Browser()


async def test_a_person_logs_in_and_the_call_is_theirs(world: World, browser: Browser) -> None:
    async with connect(world.url, client_id="cli", login=browser.login()) as session:
        assert not (await session.call(*ASK)).is_error
        assert session.token
        assert session.token.subject == "demo_user"
    query = world.issuer.authorize_queries[0]
    assert query["resource"] == world.url
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"].startswith("http://127.0.0.1:")
    assert [form["grant_type"] for form in world.issuer.forms] == ["authorization_code"]
    assert world.issuer.forms[0]["resource"] == world.url
    assert browser.pages[0].status_code == 200
    assert browser.pages[0].headers["content-security-policy"] == "default-src 'none'"
    assert query["state"] not in browser.pages[0].text


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda params: {**params, "iss": "https://evil.example"}, "iss"),
        (lambda params: {"code": params["code"], "state": params["state"]}, "iss"),
        (lambda params: {"state": params["state"], "iss": params["iss"]}, "no code"),
    ],
)
async def test_an_answer_without_code_or_from_another_server_is_refused(
    world: World, browser: Browser, change: Callable[[dict[str, str]], dict[str, str]], why: str
) -> None:
    world.issuer.redirect_params = change
    with pytest.raises(AuthorizationFailed, match=why):
        async with connect(world.url, client_id="cli", login=browser.login()):
            pass
    assert world.issuer.forms == []
    assert browser.pages[0].status_code == 400


async def test_what_anybody_sends_to_the_listener_is_refused_and_ends_no_login(world: World) -> None:
    """A page in the user's browser can guess the port, but not the state; a name of its own can lead there."""
    statuses: list[int] = []

    async def open_url(url: str) -> None:
        redirect = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        async with httpx2.AsyncClient(trust_env=False) as http:
            queries = ("code=1&state=another", "error=access_denied", "state=a&state=b", "&".join("abcdefghijk" * 2))
            statuses.extend([(await http.get(f"{redirect}?{query}")).status_code for query in queries])
            headers = {"host": f"evil.example:{urlsplit(redirect).port}"}
            statuses.append((await http.get(f"{redirect}?code=1&state=another", headers=headers)).status_code)
        await Browser().open(url)

    async with connect(world.url, client_id="cli", login=Login(open_url, timeout=60)) as session:
        assert session.token
    assert statuses == [400, 400, 400, 400, 421]


async def test_a_login_that_only_strays_answered_says_so(world: World) -> None:
    async def open_url(url: str) -> None:
        redirect = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        async with httpx2.AsyncClient(trust_env=False) as http:
            await http.get(f"{redirect}?code=1&state=another")
        raise TimeoutError

    with pytest.raises(AuthorizationFailed, match=r"nobody logged in .* another request \(state\)"):
        async with connect(world.url, client_id="cli", login=Login(open_url, timeout=60)):
            pass


async def test_a_refusal_by_the_user_is_a_clear_error(world: World, browser: Browser) -> None:
    world.issuer.redirect_params = lambda params: {
        "error": "access_denied",
        "state": params["state"],
        "iss": params["iss"],
    }
    with pytest.raises(TokenRefused, match="access_denied"):
        async with connect(world.url, client_id="cli", login=browser.login()):
            pass


async def test_without_announced_s256_nobody_is_sent_to_log_in(world: World, browser: Browser) -> None:
    world.issuer.metadata["code_challenge_methods_supported"] = ["plain"]
    with pytest.raises(AuthorizationFailed, match="S256"):
        async with connect(world.url, client_id="cli", login=browser.login()):
            pass
    assert browser.urls == []


@pytest.mark.parametrize(
    "address",
    [
        "file:///$(id)",
        "javascript:alert(1)",
        "ftp://localhost/a",
        "http://auth.example/authorize",
        "https://10.1.1.1/authorize",
    ],
)
async def test_the_browser_is_sent_to_no_forbidden_address(world: World, browser: Browser, address: str) -> None:
    world.issuer.metadata["authorization_endpoint"] = address
    with pytest.raises(AuthorizationFailed, match="authorization_endpoint"):
        async with connect(world.url, client_id="cli", login=browser.login()):
            pass
    assert browser.urls == []


async def test_an_old_token_is_refreshed_and_nobody_logs_in_again(world: World, browser: Browser) -> None:
    ahead = [0.0]
    timing = Timing(clock=lambda: time.time() + ahead[0])
    world.issuer.clock = world.gate.clock = timing.clock
    async with connect(world.url, client_id="cli", login=browser.login(), timing=timing) as session:
        for _ in range(2):
            ahead[0] += world.issuer.lifetime - 10
            assert not (await session.call(*ASK)).is_error
    grants = [form["grant_type"] for form in world.issuer.forms]
    assert grants == ["authorization_code", "refresh_token", "refresh_token"]
    assert len(browser.urls) == 1


async def test_a_refresh_token_that_is_refused_leads_to_a_new_login(world: World, browser: Browser) -> None:
    ahead = [0.0]
    timing = Timing(clock=lambda: time.time() + ahead[0])
    async with connect(world.url, client_id="cli", login=browser.login(), timing=timing) as session:
        world.issuer.refresh_tokens.clear()
        ahead[0] = world.issuer.lifetime - 10
        assert not (await session.call(*ASK)).is_error
    assert len(browser.urls) == 2


async def test_a_failed_login_is_the_outcome_of_all_calls_that_waited_for_it(world: World, browser: Browser) -> None:
    ahead = [0.0]
    timing = Timing(clock=lambda: time.time() + ahead[0])
    failures: list[str] = []

    async with connect(world.url, client_id="cli", login=browser.login(), timing=timing) as session:

        async def call() -> None:
            try:
                await session.call(*ASK)
            except AuthorizationFailed as error:
                failures.append(error.message)

        world.issuer.refresh_tokens.clear()
        world.issuer.redirect_params = lambda params: {**params, "iss": "https://evil.example"}
        ahead[0] = world.issuer.lifetime - 10
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(call)
    assert len(failures) == 10
    assert len(browser.urls) == 2


async def test_nobody_logging_in_is_an_error_after_a_while(world: World) -> None:
    async def nothing(url: str) -> None: ...

    with pytest.raises(AuthorizationFailed, match="nobody logged in"):
        async with connect(world.url, client_id="cli", login=Login(nothing, timeout=0.05)):
            pass


async def test_the_listener_answers_only_its_own_path(world: World) -> None:
    listener = RedirectListener("/callback")
    statuses: list[int] = []

    async def open_url(url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            other = listener.redirect_uri.replace("/callback", "/favicon.ico")
            statuses.append((await http.get(other)).status_code)
            statuses.append((await http.post(listener.redirect_uri)).status_code)
            statuses.append((await http.get(f"{listener.redirect_uri}?code=7")).status_code)

    assert await listener.code("unused", Login(open_url, timeout=5), lambda query: query) == "code=7"
    assert statuses == [404, 501, 200]
    assert (urlsplit(listener.redirect_uri).hostname, listener._server.server_address[0]) == ("127.0.0.1", "127.0.0.1")


async def test_the_address_is_printed_for_a_machine_without_a_browser(capsys: pytest.CaptureFixture[str]) -> None:
    await print_url("https://auth.example/authorize?x=1")
    assert "https://auth.example/authorize?x=1" in capsys.readouterr().err


def test_each_request_has_a_state_and_a_challenge_of_its_own_and_keeps_the_endpoints_query() -> None:
    first, second = (
        authorization_request(
            SERVER, client_id="c", redirect="http://127.0.0.1/cb", resource="r", scopes=frozenset("a")
        )
        for _ in range(2)
    )
    assert first.state != second.state
    assert first.verifier != second.verifier
    query = parse_qs(urlsplit(first.url).query)
    assert query["tenant"] == ["1"]
    assert first.verifier not in first.url
    assert first.state not in repr(first)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("code=a&code=b&state={state}&iss=https://auth.example", "repeats"),
        ("code=a&state=x&state={state}&iss=https://auth.example", "repeats"),
    ],
)
def test_an_answer_with_repeated_parameters_is_refused(query: str, why: str) -> None:
    request = authorization_request(SERVER, client_id="c", redirect="x", resource="r", scopes=frozenset())
    with pytest.raises(AuthorizationFailed, match=why):
        process_authorization_response(query.replace("{state}", request.state), request, SERVER)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("code=a&iss=https://auth.example", "state"),
        ("code=a&state=x&iss=https://auth.example", "state"),
        ("&".join(f"p{number}=b" for number in range(50)), "can't be read"),
    ],
)
def test_an_answer_without_our_state_is_a_stray(query: str, why: str) -> None:
    request = authorization_request(SERVER, client_id="c", redirect="x", resource="r", scopes=frozenset())
    with pytest.raises(StrayAnswer, match=why):
        process_authorization_response(query, request, SERVER)


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_kept_token_spares_the_next_session_the_login(
    world: World, browser: Browser, tmp_path: Path, kind: str
) -> None:
    storage: TokenStorage = MemoryTokens() if kind == "memory" else FileTokens(tmp_path / "state" / "tokens.json")
    for _ in range(2):
        async with connect(world.url, client_id="cli", login=browser.login(), storage=storage) as session:
            assert not (await session.call(*ASK)).is_error
    assert len(browser.urls) == 1
    assert len(world.issuer.forms) == 1


async def test_a_kept_token_that_no_longer_verifies_is_not_used(world: World, browser: Browser) -> None:
    storage = MemoryTokens()
    key = TokenKey(world.issuer.issuer, world.url, "cli")
    about = world.issuer.token("https://other.example/mcp", "customer:read", "demo_user", "cli")
    await storage.save(key, Token(about, frozenset({"customer:read"})))
    async with connect(world.url, client_id="cli", login=browser.login(), storage=storage):
        pass
    assert about not in {(seen.authorization or "").removeprefix("Bearer ") for seen in world.gate.seen}
    assert len(browser.urls) == 1


KEYS = [TokenKey("i", "r", "c"), TokenKey("i2", "r", "c"), TokenKey("i", "r2", "c"), TokenKey("i", "r", "c2")]


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_tokens_are_kept_apart_by_issuer_resource_and_client(tmp_path: Path, kind: str) -> None:
    storage: TokenStorage = MemoryTokens() if kind == "memory" else FileTokens(tmp_path / "tokens.json")
    for number, key in enumerate(KEYS):
        await storage.save(key, Token(f"t{number}", frozenset({"a"}), 5.0, 4.0, f"r{number}"))
    await storage.save(KEYS[0], None)
    kept = [await storage.load(key) for key in KEYS]
    assert [token and token.access_token for token in kept] == [None, "t1", "t2", "t3"]
    assert kept[1] == Token("t1", frozenset({"a"}), 5.0, 4.0, "r1")


async def test_the_token_file_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    storage = FileTokens(file)
    await storage.save(KEYS[0], Token("t", frozenset()))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    with pytest.raises(UsageError, match="open to others"):
        await storage.load(KEYS[0])
