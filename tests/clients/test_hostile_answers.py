"""Servers that answer far more than anybody needs, or never come to an end: borne up to a bound, and not believed."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.abc
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from garrison.base.errors import GarrisonError
from garrison.clients.retry_after import Patience, Timing
from garrison.clients.session import connect
from tests.clients.browser import Browser
from tests.clients.far_server import FarServer
from tests.clients.world import Stage, World

MEGABYTES = b"x" * 10_000_000
ASK: tuple[str, dict[str, Any]] = ("get_customer_info", {"customer_id": "ABC123"})
IMPATIENT = Timing(patience=Patience(answer=0.5, document=0.5))
PLACES = {  # by path; the stage that has it
    "resource metadata": (1, "/.well-known/oauth-protected-resource/mcp"),
    "server metadata": (0, "/.well-known/oauth-authorization-server"),
    "registration": (0, "/register"),
    "token": (0, "/token"),
    "keys": (0, "/jwks"),
}
each_place = pytest.mark.parametrize("place", PLACES)
Answer = Callable[[Send], Awaitable[None]]


async def ten_megabytes(send: Send) -> None:
    await send({"type": "http.response.body", "body": b'{"padding": "' + MEGABYTES + b'"}'})


async def drop_by_drop(send: Send) -> None:
    """A byte now and then, for ever: each of them comes long before a read would time out."""
    while True:
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        await anyio.sleep(0.02)


async def comments(send: Send) -> None:
    """An event stream that keeps itself alive, and says nothing."""
    while True:
        await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
        await anyio.sleep(0.02)


def hostile(
    app: ASGIApp | None, path: str, answer: Answer, kind: str = "application/json", body: bytes = b""
) -> ASGIApp:
    """`app`, but for requests for `path` with `body` in them, which get `answer` for as long as they stay."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        if scope["path"] != path or body not in message.get("body", b""):
            messages = iter([message])

            async def replay() -> Any:
                return next(messages, None) or await receive()

            if app:
                await app(scope, replay, send)
            return

        async def until_it_goes() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind.encode())]})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_it_goes)
            await answer(send)
            await send({"type": "http.response.body", "body": b""})
            tasks.cancel_scope.cancel()

    return serve


async def refused(world: World, place: str, timing: Timing) -> GarrisonError:
    """What `connect` says of a hostile `place`; no token has been sent to anybody then."""
    options: dict[str, Any] = world.client
    if place == "registration":
        world.issuer.registering, options = True, {"login": Browser().login()}
    with anyio.fail_after(60), pytest.raises(GarrisonError) as error:
        async with connect(world.url, timing=timing, **options):
            pass
    assert {seen.authorization for seen in world.gate.seen} == {None}
    return error.value


@each_place
async def test_ten_megabytes_where_a_kilobyte_would_do_are_refused(
    world: World, stages: tuple[Stage, Stage, Stage], place: str
) -> None:
    number, path = PLACES[place]
    stages[number].app = hostile(stages[number].app, path, ten_megabytes)
    assert "answered more than" in (await refused(world, place, Timing())).message


@each_place
async def test_an_answer_that_never_ends_is_given_up(
    world: World, stages: tuple[Stage, Stage, Stage], place: str
) -> None:
    """On a machine that is too slow for such impatience it may be an earlier one that is given up."""
    number, path = PLACES[place]
    stages[number].app = hostile(stages[number].app, path, drop_by_drop)
    await refused(world, place, IMPATIENT)


@pytest.mark.parametrize(("answer", "kind"), [(drop_by_drop, "application/json"), (comments, "text/event-stream")])
@pytest.mark.parametrize("asked", [b"", b'"tools/call"'], ids=["first answer", "call"])
async def test_a_server_whose_answer_never_ends_is_given_up(
    world: World, stages: tuple[Stage, Stage, Stage], answer: Answer, kind: str, asked: bytes
) -> None:
    stages[1].app = hostile(stages[1].app, "/mcp", answer, kind, asked)
    # The newer era's first question waits ten seconds, whatever we say.
    mode = "2026-07-28" if asked else "legacy"
    with anyio.fail_after(60), pytest.raises(GarrisonError):
        async with connect(world.url, timing=IMPATIENT, mode=mode, **world.client) as session:
            await session.call(*ASK)


async def drip(stream: anyio.abc.SocketStream) -> None:
    """The head of an answer, a byte at a time and for ever."""
    async with stream:
        try:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nx-padding: ")
            while True:
                await stream.send(b"x")
                await anyio.sleep(0.02)
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            pass


async def test_a_head_that_never_ends_is_given_up() -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, drip)
        url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/mcp"  # noqa: S610 - no Django
        with anyio.fail_after(60), pytest.raises(GarrisonError, match="no whole answer in"):
            async with connect(url, client_id="cli", timing=IMPATIENT):
                pass
        tasks.cancel_scope.cancel()


async def test_a_goodbye_that_is_never_answered_is_given_up(stages: tuple[Stage, Stage, Stage]) -> None:
    app = FarServer().app()

    async def silent_at_last(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "DELETE":
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await app(scope, receive, send)

    stages[1].app = silent_at_last
    async with app.router.lifespan_context(app):
        with anyio.fail_after(60), suppress(GarrisonError):  # which it is on a machine that is too slow for this
            async with connect(f"{stages[1].url}/mcp", mode="legacy", timing=IMPATIENT):
                pass
