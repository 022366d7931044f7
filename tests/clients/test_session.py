"""The session, its token and its retries, against a real authorization server and a real MCP server."""

import socket
import time
from collections.abc import Callable
from contextlib import nullcontext
from email.utils import formatdate
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from garrison.base.errors import UsageError
from garrison.clients.errors import AuthorizationFailed, CallRefused, RateLimited, ScopeRefused, ServerUnreachable
from garrison.clients.retry_after import Timing
from garrison.clients.sdk_errors import leaving
from garrison.clients.session import connect
from garrison.oauth import access_token
from tests.clients.world import ALL, KEY, Seen, World, serving

ASK: tuple[str, dict[str, Any]] = ("get_customer_info", {"customer_id": "ABC123"})
VALUE: tuple[str, dict[str, Any]] = ("calculate_account_value", {"customer_id": "ABC123", "amounts": [1.0]})


class Clock:
    """Runs with the real clock, and can be put ahead; sleeping puts it ahead too."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return time.time() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ahead += seconds

    def timing(self) -> Timing:
        return Timing(clock=self, sleep=self.sleep, random=lambda: 0.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_a_call_carries_a_token_for_the_resource(world: World) -> None:
    async with connect(world.url, **world.client) as session:
        result = await session.call(*ASK)
        assert result.structured_content is not None
        assert result.structured_content["name"] == "Customer ABC123"
        assert session.token
        assert session.token.resource == world.url
        assert session.token.scopes == ALL
    assert [form["resource"] for form in world.issuer.forms] == [world.url]


async def test_lists_and_resources_are_read_with_the_token(world: World) -> None:
    async with connect(world.url, **world.client) as session:
        assert [tool.name for tool in await session.tools()] == [
            "get_customer_info",
            "create_support_ticket",
            "calculate_account_value",
        ]
        assert [str(resource.uri) for resource in await session.resources()] == ["health://status"]
        assert (await session.read("health://status")).contents
        assert await session.prompts() == []


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_both_eras_of_mcp_are_spoken(world: World, mode: str) -> None:
    async with connect(world.url, mode=mode, **world.client) as session:
        assert not (await session.call(*ASK)).is_error


async def test_the_secret_goes_by_basic_and_never_in_the_form(world: World) -> None:
    async with connect(world.url, **world.client) as session:
        await session.tools()
    assert (world.issuer.authorizations[0] or "").startswith("Basic ")
    assert "client_secret" not in world.issuer.forms[0]


async def test_the_secret_goes_in_the_form_where_the_server_takes_it_only_there(world: World) -> None:
    world.issuer.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    async with connect(world.url, **world.client) as session:
        await session.tools()
    assert world.issuer.authorizations == [None]


async def test_two_hundred_calls_at_once_share_one_token_request(world: World, clock: Clock) -> None:
    async with connect(world.url, timing=clock.timing(), **world.client) as session:
        await session.tools()
        world.issuer.clock = world.gate.clock = clock
        clock.ahead += world.issuer.lifetime - 1  # the token is about to end, and all of them see it
        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(session.call, *ASK)
    assert len(world.issuer.forms) == 2
    assert len([seen for seen in world.gate.seen if seen.tool]) == 200


async def test_a_long_call_holds_up_no_other(world: World) -> None:
    async with connect(world.url, **world.client) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.call, "get_customer_info", {"customer_id": "SLOW01"})
        await until(lambda: any(seen.tool for seen in world.gate.seen))
        with anyio.fail_after(60):
            assert not (await session.call(*ASK)).is_error
        world.gate.released.set()


async def test_a_token_is_renewed_before_it_ends(world: World, clock: Clock) -> None:
    async with connect(world.url, timing=clock.timing(), **world.client) as session:
        await session.call(*ASK)
        clock.ahead += world.issuer.lifetime - 20
        await session.call(*ASK)
    tokens = [seen.authorization for seen in world.gate.seen if seen.tool]
    assert len(set(tokens)) == 2
    assert [seen for seen in world.gate.seen[1:] if not seen.authorization] == []


async def test_a_refused_token_is_replaced_once_and_the_call_sent_again(world: World) -> None:
    refused: list[Seen] = []

    def refuse_once(seen: Seen) -> tuple[int, dict[str, str]] | None:
        if not seen.tool or refused:
            return None
        refused.append(seen)
        return 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}

    world.gate.forced = refuse_once
    async with connect(world.url, **world.client) as session:
        assert not (await session.call(*ASK)).is_error
    sent = [seen.authorization for seen in world.gate.seen if seen.tool]
    assert len(set(sent)) == len(sent) == 2


async def test_a_server_that_refuses_every_token_is_asked_a_bounded_number_of_times(world: World) -> None:
    world.gate.forced = lambda seen: (401, {"WWW-Authenticate": "Bearer"}) if seen.tool else None
    async with connect(world.url, **world.client) as session:
        with pytest.raises(AuthorizationFailed, match="refuses even a new token"):
            await session.call(*ASK)
    assert len([seen for seen in world.gate.seen if seen.tool]) == 2
    assert len(world.issuer.forms) == 2


async def test_a_missing_scope_is_asked_for_besides_those_already_granted(world: World) -> None:
    async with connect(world.url, scope="customer:read", **world.client) as session:
        assert session.token
        assert session.token.scopes == {"customer:read"}
        assert not (await session.call(*VALUE)).is_error
        assert session.token.scopes == {"customer:read", "account:calculate"}
    assert [form["scope"] for form in world.issuer.forms] == ["customer:read", "account:calculate customer:read"]


async def test_a_scope_that_is_not_granted_is_named_and_the_session_goes_on(world: World) -> None:
    world.issuer.grants = frozenset({"customer:read"})
    async with connect(world.url, scope="customer:read", **world.client) as session:
        with pytest.raises(ScopeRefused, match="account:calculate") as refused:
            await session.call(*VALUE)
        assert refused.value.scope == ("account:calculate",)
        assert "account:calculate" in refused.value.hint
        assert not (await session.call(*ASK)).is_error


async def test_a_scope_that_is_known_to_be_missing_is_asked_for_before_the_call(world: World) -> None:
    """And where it isn't granted, the call is not made; but the server is asked again the next time."""
    world.issuer.grants = frozenset({"customer:read"})
    async with connect(world.url, scope="customer:read", **world.client) as session:
        made: list[int] = []
        for _ in range(3):
            with pytest.raises(ScopeRefused, match="account:calculate"):
                await session.call(*VALUE)
            made.append(len([seen for seen in world.gate.seen if seen.tool]))
            assert not (await session.call(*ASK)).is_error
        assert made == [1, 2, 4]  # the second one was not sent
        world.issuer.grants = ALL
        assert not (await session.call(*VALUE)).is_error
    tools = [seen.tool for seen in world.gate.seen if seen.tool]
    assert tools[-2:] == ["get_customer_info", "calculate_account_value"]  # no refusal in between


async def test_a_refused_step_up_of_one_call_is_no_failure_of_another(world: World, clock: Clock) -> None:
    world.issuer.grants = frozenset({"customer:read"})
    world.issuer.clock = world.gate.clock = clock
    results: list[bool] = []

    async def refused() -> None:
        with pytest.raises(ScopeRefused):
            await session.call(*VALUE)

    async def good() -> None:
        results.append((await session.call(*ASK)).is_error)

    async with connect(world.url, scope="customer:read", timing=clock.timing(), **world.client) as session:
        await session.tools()
        world.issuer.held = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(refused)
            await until(lambda: len(world.issuer.forms) == 2)  # the step-up is being decided
            clock.ahead += world.issuer.lifetime - 1
            tasks.start_soon(good)  # which needs a new token, and waits
            await until(lambda: session._source is not None and session._source._lock.statistics().tasks_waiting == 1)
            world.issuer.held.set()
    assert results == [False]


async def test_a_step_up_that_brings_no_more_scope_is_not_tried_at_the_server(world: World) -> None:
    world.issuer.make_token = lambda about: access_token.issue(KEY, **{**about, "scope": ["customer:read"]})
    async with connect(world.url, **world.client) as session:
        with pytest.raises(ScopeRefused, match="account:calculate"):
            await session.call(*VALUE)
    assert len([seen for seen in world.gate.seen if seen.tool]) == 1


async def test_after_a_failure_the_authorization_server_is_looked_up_again(world: World, clock: Clock) -> None:
    world.issuer.clock = world.gate.clock = clock
    async with connect(world.url, timing=clock.timing(), **world.client) as session:
        clock.ahead += world.issuer.lifetime
        world.issuer.token_path = "/moved"
        with pytest.raises(AuthorizationFailed):
            await session.call(*ASK)
        assert not (await session.call(*ASK)).is_error


async def test_a_server_that_always_wants_more_scope_is_asked_a_bounded_number_of_times(world: World) -> None:
    challenge = 'Bearer error="insufficient_scope", scope="ticket:create"'
    world.gate.forced = lambda seen: (403, {"WWW-Authenticate": challenge}) if seen.tool else None
    async with connect(world.url, scope="customer:read", **world.client) as session:
        with pytest.raises(ScopeRefused, match="ticket:create"):
            await session.call(*ASK)
    assert len([seen for seen in world.gate.seen if seen.tool]) == 2
    assert len(world.issuer.forms) == 2


@pytest.mark.parametrize("challenge", [{}, {"WWW-Authenticate": 'Bearer error="access_denied", scope="ticket:create"'}])
async def test_another_403_is_no_reason_for_a_step_up(world: World, challenge: dict[str, str]) -> None:
    world.gate.forced = lambda seen: (403, challenge) if seen.tool else None
    async with connect(world.url, **world.client) as session:
        with pytest.raises(CallRefused):
            await session.call(*ASK)
    assert len(world.issuer.forms) == 1


async def test_the_first_token_has_the_scopes_that_the_challenge_names(world: World) -> None:
    world.gate.challenge_scope = "customer:read"
    async with connect(world.url, **world.client) as session:
        assert session.token
        assert session.token.scopes == {"customer:read"}


async def test_scopes_that_only_the_server_named_are_not_insisted_on(world: World) -> None:
    world.issuer.grants = frozenset({"customer:read"})  # and the resource supports three
    async with connect(world.url, **world.client) as session:
        assert session.token
        assert session.token.scopes == {"customer:read"}
    assert "scope" not in world.issuer.forms[-1]


def limited(world: World, times: int, retry_after: str | None) -> None:
    """The next `times` tool calls are refused with 429."""
    left = [times]

    def limit(seen: Seen) -> tuple[int, dict[str, str]] | None:
        if not seen.tool or not left[0]:
            return None
        left[0] -= 1
        return 429, {"Retry-After": retry_after} if retry_after else {}

    world.gate.forced = limit


async def test_retry_after_in_seconds_is_honoured(world: World, clock: Clock) -> None:
    limited(world, 2, "7")
    async with connect(world.url, timing=clock.timing(), **world.client) as session:
        assert not (await session.call(*ASK)).is_error
    assert clock.slept == [7.0, 7.0]


async def test_retry_after_as_a_date_is_honoured(world: World, clock: Clock) -> None:
    limited(world, 1, formatdate(time.time() + 20, usegmt=True))
    async with connect(world.url, timing=clock.timing(), **world.client) as session:
        assert not (await session.call(*ASK)).is_error
    assert 15 < clock.slept[0] <= 20


async def test_without_retry_after_the_pauses_double(world: World, clock: Clock) -> None:
    limited(world, 3, None)
    async with connect(world.url, timing=clock.timing(), **world.client) as session:
        assert not (await session.call(*ASK)).is_error
    assert clock.slept == [1.0, 2.0, 4.0]


async def test_an_endless_429_ends(world: World, clock: Clock) -> None:
    limited(world, 1000, "0")
    async with connect(world.url, timing=clock.timing(), **world.client) as session:
        with pytest.raises(RateLimited):
            await session.call(*ASK)
    assert len(clock.slept) == 4


async def test_a_pause_beyond_our_patience_is_told_and_not_waited_for(world: World, clock: Clock) -> None:
    limited(world, 1000, "3600")
    async with connect(world.url, timing=clock.timing(), **world.client) as session:
        with pytest.raises(RateLimited) as limit:
            await session.call(*ASK)
    assert clock.slept == []
    assert limit.value.retry_after == 3600


async def test_the_pauses_of_one_call_are_bounded_in_all(world: World, clock: Clock) -> None:
    limited(world, 1000, "25")
    async with connect(world.url, timing=clock.timing(), **world.client) as session:
        with pytest.raises(RateLimited):
            await session.call(*ASK)
    assert sum(clock.slept) <= 60


async def test_a_failed_token_request_ends_one_call_and_not_the_session(world: World, clock: Clock) -> None:
    async with connect(world.url, timing=clock.timing(), **world.client) as session:
        clock.ahead += world.issuer.lifetime
        world.issuer.token_answer = lambda form: {"error": "server_error"}
        with pytest.raises(AuthorizationFailed):
            await session.call(*ASK)
        world.issuer.token_answer = None
        assert not (await session.call(*ASK)).is_error


async def test_a_broken_connection_ends_one_call_and_not_the_session(world: World) -> None:
    async with connect(world.url, **world.client) as session:
        world.gate.broken = lambda seen: bool(seen.tool)
        with pytest.raises(ServerUnreachable):
            await session.call(*ASK)
        world.gate.broken = lambda seen: False
        assert not (await session.call(*ASK)).is_error


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"content-type": "application/json", "x-size": "3000"}, "larger"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "compressed"),
    ],
)
async def test_an_answer_that_is_too_large_or_compressed_is_not_read(
    world: World, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], why: str
) -> None:
    monkeypatch.setattr("garrison.clients.http.MAX_BODY", 2000)
    world.gate.forced = lambda seen: (200, headers) if seen.tool else None
    async with connect(world.url, **world.client) as session:
        with pytest.raises(ServerUnreachable, match=why):
            await session.call(*ASK)


async def test_a_redirect_to_another_path_gets_no_token(world: World) -> None:
    world.gate.forced = lambda seen: (307, {"Location": "/elsewhere"}) if seen.tool else None
    async with connect(world.url, **world.client) as session:
        with pytest.raises(AuthorizationFailed, match="redirects"):
            await session.call(*ASK)
    assert len([seen for seen in world.gate.seen if seen.tool]) == 1


async def test_a_redirect_to_another_server_is_not_followed(world: World) -> None:
    elsewhere: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        elsewhere.append(scope)

    async with serving(app) as url:
        world.gate.forced = lambda seen: (307, {"Location": f"{url}/mcp"}) if seen.tool else None
        async with connect(world.url, **world.client) as session:
            with pytest.raises(CallRefused, match="Redirect"):
                await session.call(*ASK)
    assert [scope for scope in elsewhere if scope["type"] == "http"] == []


async def test_a_server_that_wants_no_token_gets_none(world: World) -> None:
    world.gate.open = True
    async with connect(world.url) as session:
        assert session.token is None
        assert not (await session.call(*ASK)).is_error
    assert {seen.authorization for seen in world.gate.seen} == {None}


async def test_a_server_that_wants_a_token_and_no_client_is_a_clear_error(world: World) -> None:
    with pytest.raises(AuthorizationFailed, match="no client is configured"):
        async with connect(world.url):
            pass


async def test_an_error_of_the_callers_own_comes_out_as_it_is(world: World) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with connect(world.url, **world.client):
            raise KeyError("mine")


async def test_a_server_that_is_not_there_is_a_clear_error(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://localhost:{listener.getsockname()[1]}"
    with pytest.raises(ServerUnreachable) as gone:
        async with connect(f"{url}/mcp", **world.client):
            pass
    assert gone.value.hint


@pytest.mark.parametrize("errors", [[TimeoutError()], [], [TimeoutError(), anyio.ClosedResourceError()]])
async def test_an_answer_that_comes_too_late_hides_no_error(world: World, errors: list[Exception]) -> None:
    """The SDK raises it beside, or instead of, what had happened before."""

    async def fail() -> None:
        raise ExceptionGroup("", [ExceptionGroup("", [anyio.BrokenResourceError()]), *errors])

    world.gate.open = True
    async with connect(world.url) as session:
        with pytest.raises(ServerUnreachable, match="in time" if errors else "ended"):
            await session.translate(fail())


async def test_an_answer_that_comes_when_the_session_is_left_is_no_error() -> None:
    for errors, kind in (([anyio.BrokenResourceError()], None), ([ValueError()], ExceptionGroup)):
        with pytest.raises(kind) if kind else nullcontext():
            async with leaving():
                raise ExceptionGroup("", errors)


async def test_a_failed_tool_is_a_result(world: World) -> None:
    ticket = {"customer_id": "ABC123", "subject": "a", "description": "b", "priority": "now"}
    async with connect(world.url, **world.client) as session:
        assert (await session.call("create_support_ticket", ticket)).is_error


async def test_a_secret_without_its_issuer_is_refused() -> None:
    with pytest.raises(UsageError, match="issuer"):
        async with connect("http://localhost:1/mcp", client_id="a", client_secret="b"):
            pass


@pytest.mark.parametrize("url", ["http://mcp.example/mcp", "ftp://localhost/mcp", "https://user@mcp.example/mcp"])
async def test_the_servers_address_must_be_https_or_on_loopback(url: str) -> None:
    with pytest.raises(UsageError):
        async with connect(url):
            pass


async def test_neither_token_nor_secret_is_in_what_can_be_printed(world: World) -> None:
    async with connect(world.url, **world.client) as session:
        token = world.gate.seen[-1].authorization or ""
        source = session._source
        assert source
        shown = repr((session.token, source.current, source._means, source.client))
    assert token.removeprefix("Bearer ") not in shown
    assert str(world.client["client_secret"]) not in shown
