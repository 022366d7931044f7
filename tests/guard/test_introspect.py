"""RFC 7662: tokens that the issuer is asked about; what it takes back is refused soon, by every replica."""

import threading
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest
from starlette.types import ASGIApp

from garrison.base.events import Kind
from garrison.guard import introspect, verify
from garrison.guard.issuers import Introspection, Issuer
from garrison.guard.turns import Turns
from garrison.oauth import jwks
from garrison.oauth.basic import parse_basic
from tests.guard.world import INTROSPECT, World, call, others_have_run

OPAQUE = "2YotnFZFEjr1zCsicMWpAA"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, an issuer that answers has answered in time."""
    monkeypatch.setattr(introspect, "ANSWER_WITHIN", 60)
    monkeypatch.setattr(introspect, "PLACE_WITHIN", 60)


def asking(world: World, app: ASGIApp | None = None, **changes: Any) -> ASGIApp:
    return world.guard(
        app, issuer=Issuer(world.issuer.url, introspection=Introspection("guard:1", "s3cret &", **changes))
    )


async def post(world: World, guard: ASGIApp, token: str, address: str = "127.0.0.1") -> httpx2.Response:
    return await world.client(guard, token, address).post("/mcp", **call())


def neighbourhood(number: int) -> str:
    """An address in a neighbourhood of its own."""
    return f"198.51.{number}.7"


def asked(world: World) -> int:
    return world.issuer.fetched.count(INTROSPECT)


async def test_an_opaque_token_is_good_if_its_issuer_says_so(world: World) -> None:
    world.issuer.describe(OPAQUE, scope="customer:read", client_id="desk", sub="alice")
    assert (await post(world, asking(world), OPAQUE)).status_code == 200
    token = world.app.scopes[-1]["user"].access_token
    assert (token.subject, token.client_id, token.scopes) == ("alice", "desk", ["customer:read"])
    authorization, form = world.issuer.introspected[0]
    assert parse_basic(authorization) == ("guard:1", "s3cret &")
    assert form == {"token": OPAQUE, "token_type_hint": "access_token"}


async def test_nothing_of_an_opaque_token_reaches_the_app_or_the_events(world: World) -> None:
    world.issuer.describe(OPAQUE)
    await post(world, asking(world), OPAQUE)
    seen = repr(world.app.scopes) + repr(vars(world.app.scopes[-1]["user"])) + repr(world.events.events)
    assert OPAQUE not in seen
    assert "s3cret" not in seen


async def test_without_introspection_an_opaque_token_is_refused_and_shown_to_nobody(world: World) -> None:
    world.issuer.describe(OPAQUE)
    for guard in (world.guard(), asking(world, opaque=False)):
        assert (await post(world, guard, OPAQUE)).status_code == 401
    assert world.issuer.fetched == []


async def test_a_token_that_is_too_long_is_not_asked_about(world: World) -> None:
    world.issuer.describe(token := "a" * 16_385)
    assert (await post(world, asking(world), token)).status_code == 401
    assert asked(world) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"active": False},
        {"active": "true"},
        {"active": 1},
        {"iss": "https://evil.example"},
        {"aud": "https://other.example/mcp"},
        {"aud": None},
        {"exp": None},
        {"exp": 1},
        {"nbf": 4_000_000_000},
        {"token_type": "DPoP"},
        {"cnf": {"jkt": "x"}},
        {"token_use": "refresh_token"},
        {"sub": None},
        {"client_id": None},
        {"scope": 'a"'},
    ],
    ids=str,
)
async def test_an_answer_that_leaves_something_open_is_a_no(world: World, changes: dict[str, Any]) -> None:
    world.issuer.describe(OPAQUE, **changes)
    response = await post(world, asking(world), OPAQUE)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.AUTHENTICATION_FAILED]
    assert OPAQUE not in str(world.events.events) + response.text


async def test_an_answer_without_audience_will_do_only_where_that_is_said(world: World) -> None:
    world.issuer.describe(OPAQUE, aud=None)
    guard = asking(world, insecure_answers_without_audience_are_believed=True)
    assert (await post(world, guard, OPAQUE)).status_code == 200
    world.issuer.describe("other", aud="https://other.example")
    assert (await post(world, guard, "other")).status_code == 401


async def test_the_scopes_of_an_answer_bound_what_the_caller_may(world: World) -> None:
    world.issuer.describe(OPAQUE, scope="other")
    assert (await post(world, asking(world), OPAQUE)).status_code == 403


async def test_an_opaque_token_stays_good_for_five_seconds_without_asking_again(world: World) -> None:
    world.issuer.describe(OPAQUE)
    guard = asking(world)
    for passed, times in [(0, 1), (verify.REVOKED_WITHIN - 0.1, 1), (0.1, 2)]:
        world.clock.now += passed
        assert (await post(world, guard, OPAQUE)).status_code == 200
        assert asked(world) == times


@pytest.mark.parametrize("opaque", [True, False], ids=["opaque", "JWT"])
async def test_a_revoked_token_is_refused_by_every_replica_within_five_seconds(world: World, *, opaque: bool) -> None:
    token = OPAQUE if opaque else world.mint()
    world.issuer.describe(token)
    replicas = [asking(world), asking(world)]
    for guard in replicas:
        assert (await post(world, guard, token)).status_code == 200
    del world.issuer.alive[token]
    assert verify.REVOKED_WITHIN == 5
    world.clock.now += 5
    for guard in replicas:
        assert (await post(world, guard, token)).status_code == 401


async def test_an_answer_is_as_old_as_the_question(world: World) -> None:
    """The issuer may have looked just before it revoked, however long its answer took."""
    world.issuer.describe(OPAQUE)
    world.issuer.held = threading.Event()
    guard = asking(world, endpoint=world.issuer.url + INTROSPECT)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post, world, guard, OPAQUE)
        await world.issuer.asked()
        world.clock.now += 2
        world.issuer.held.set()
    world.clock.now += verify.REVOKED_WITHIN - 2
    assert (await post(world, guard, OPAQUE)).status_code == 200
    assert asked(world) == 2


async def test_a_jwt_is_verified_before_its_issuer_is_asked(world: World) -> None:
    """Else strangers could make the guard ask with tokens that they sign themselves."""
    stranger = jwks.SigningKey("k", jwks.new_signing_key("ES256").private, "ES256")
    guard = asking(world)
    for token in (world.mint(key=stranger), world.mint(audience="https://x.example"), world.mint(now=0)):
        world.issuer.describe(token)
        assert (await post(world, guard, token)).status_code == 401
    assert asked(world) == 0


async def test_what_a_jwt_says_counts_whatever_the_answer_adds(world: World) -> None:
    token = world.mint("other")
    world.issuer.describe(token, scope="customer:read")
    assert (await post(world, asking(world), token)).status_code == 403


@pytest.mark.parametrize("changes", [{"exp": 1}, {"aud": "x"}, {"cnf": {}}, {"token_type": "DPoP"}, {"iss": "x"}])
async def test_a_jwt_whose_issuer_has_second_thoughts_is_refused(world: World, changes: dict[str, Any]) -> None:
    world.issuer.describe(token := world.mint(), **changes)
    assert (await post(world, asking(world), token)).status_code == 401


async def test_a_jwt_needs_no_more_from_its_issuer_than_that_it_is_active(world: World) -> None:
    world.issuer.alive[token := world.mint()] = {"active": True}
    assert (await post(world, asking(world), token)).status_code == 200


async def test_a_jwt_of_an_issuer_that_is_not_believed_is_shown_to_nobody(world: World) -> None:
    world.issuer.describe(token := world.mint(issuer="https://other.example"))
    assert (await post(world, asking(world), token)).status_code == 401
    assert world.issuer.fetched == []


@pytest.mark.parametrize("opaque", [True, False], ids=["opaque", "JWT"])
async def test_a_token_expires_as_soon_as_its_issuer_says(world: World, *, opaque: bool) -> None:
    token = OPAQUE if opaque else world.mint()
    world.issuer.describe(token, exp=int(world.clock()) + 2 - verify.LEEWAY)
    guard = asking(world)
    assert (await post(world, guard, token)).status_code == 200
    world.clock.now += 2
    assert (await post(world, guard, token)).status_code == 401


async def test_callers_with_the_same_token_share_one_question(world: World) -> None:
    world.issuer.describe(OPAQUE)
    world.issuer.held = threading.Event()
    guard, statuses = asking(world, endpoint=world.issuer.url + INTROSPECT), list[int]()

    async def one() -> None:
        statuses.append((await post(world, guard, OPAQUE)).status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(one)
        await world.issuer.asked()
        for _ in range(3):
            tasks.start_soon(one)
        await others_have_run()
        world.issuer.held.set()
    assert statuses == [200] * 6
    assert asked(world) == 1


async def test_a_caller_who_goes_away_leaves_the_question_to_the_others(world: World) -> None:
    world.issuer.describe(OPAQUE)
    world.issuer.held = threading.Event()
    guard, statuses = asking(world, endpoint=world.issuer.url + INTROSPECT), list[int]()
    goes_away = anyio.CancelScope()

    async def first() -> None:
        with goes_away:
            await post(world, guard, OPAQUE)

    async def second() -> None:
        statuses.append((await post(world, guard, OPAQUE)).status_code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await world.issuer.asked()
        tasks.start_soon(second)
        await others_have_run()
        goes_away.cancel()
        await world.issuer.asked(2)
        world.issuer.held.set()
    assert statuses == [200]


def goes_down(world: World) -> None:
    world.issuer.down = True


def answers_badly(world: World) -> None:
    world.issuer.introspection_status = 401


def answers_no_object(world: World) -> None:
    world.issuer.alive[OPAQUE] = ["active"]


def names_no_endpoint(world: World) -> None:
    world.issuer.metadata = {"introspection_endpoint": ""}


def names_an_endpoint_that_is_gone(world: World) -> None:
    world.issuer.metadata = {"introspection_endpoint": f"{world.issuer.url}/gone"}


def names_a_foreign_issuer(world: World) -> None:
    world.issuer.metadata = {"issuer": "https://evil.example"}


TROUBLES = [
    goes_down,
    answers_badly,
    answers_no_object,
    names_no_endpoint,
    names_an_endpoint_that_is_gone,
    names_a_foreign_issuer,
]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_while_the_issuer_gives_no_answer_nothing_is_open(world: World, trouble: Callable[[World], None]) -> None:
    world.issuer.describe(OPAQUE)
    trouble(world)
    guard = asking(world)
    response = await post(world, guard, OPAQUE)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert "www-authenticate" not in response.headers
    assert world.app.scopes == []
    assert world.events.kinds() == [Kind.REQUEST_REJECTED]
    world.issuer.down, world.issuer.introspection_status, world.issuer.metadata = False, 200, {}
    world.issuer.describe(OPAQUE)
    before = len(world.issuer.fetched)
    assert (await post(world, guard, OPAQUE)).status_code == 503
    assert len(world.issuer.fetched) == before  # it is left alone for a moment
    world.clock.now += int(response.headers["retry-after"])
    assert (await post(world, guard, OPAQUE)).status_code == 200


async def test_a_strangers_token_that_gets_no_answer_takes_known_callers_none(world: World) -> None:
    """Issuers fail at what they don't foresee, and limit how often they are asked."""
    guard = asking(world)
    world.issuer.describe(OPAQUE)
    world.issuer.describe(signed := world.mint())
    assert (await post(world, guard, OPAQUE)).status_code == 200
    world.clock.now += verify.REVOKED_WITHIN
    world.issuer.alive["made-up"] = ["no object"]
    assert (await post(world, guard, "made-up")).status_code == 503
    assert (await post(world, guard, OPAQUE)).status_code == 200
    assert (await post(world, guard, signed)).status_code == 200


async def test_a_strangers_token_that_gets_no_answer_keeps_nobody_out_but_its_neighbours(world: World) -> None:
    guard = asking(world)
    world.issuer.alive["made-up"] = ["no object"]
    for newcomer in ("elsewhere", "next-door"):
        world.issuer.describe(newcomer)
    assert (await post(world, guard, "made-up", "203.0.113.7")).status_code == 503
    assert (await post(world, guard, "elsewhere", "198.51.100.7")).status_code == 200
    known = asked(world)
    assert (await post(world, guard, "next-door", "203.0.113.8")).status_code == 503
    assert asked(world) == known
    world.clock.now += introspect.BACK_OFF
    assert (await post(world, guard, "next-door", "203.0.113.8")).status_code == 200


async def test_what_is_kept_of_tokens_that_got_no_answer_lasts_a_moment(world: World) -> None:
    lane = introspect._Lane(Turns(1, 1))
    for moment in range(100):
        lane.fail(neighbourhood(moment), float(moment), "no answer")
    assert list(lane._failed) == [neighbourhood(99)]


async def test_when_a_known_caller_gets_no_answer_nothing_is_asked_for_strangers(world: World) -> None:
    guard = asking(world)
    for token in (OPAQUE, "newcomer"):
        world.issuer.describe(token)
    assert (await post(world, guard, OPAQUE)).status_code == 200
    world.clock.now += verify.REVOKED_WITHIN
    world.issuer.down = True
    assert (await post(world, guard, OPAQUE)).status_code == 503
    world.issuer.down, known = False, asked(world)
    assert (await post(world, guard, "newcomer", "198.51.100.7")).status_code == 503
    assert asked(world) == known


async def test_who_waited_behind_neighbours_that_got_no_answer_is_put_off_like_them(world: World) -> None:
    guard, statuses = asking(world, endpoint=world.issuer.url + INTROSPECT), list[int]()
    world.issuer.held = threading.Event()

    async def neighbour(number: int) -> None:
        statuses.append((await post(world, guard, f"made-up-{number}")).status_code)

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(neighbour, number)
        await world.issuer.asked(introspect.NEIGHBOURS_AT_ONCE)
        await others_have_run()
        world.issuer.down = True
        world.issuer.held.set()
    assert statuses == [503] * 5
    assert asked(world) == introspect.NEIGHBOURS_AT_ONCE


async def test_neighbours_leave_a_place_to_newcomers_from_elsewhere_however_slow_the_issuer(world: World) -> None:
    guard, statuses = asking(world, endpoint=world.issuer.url + INTROSPECT), list[int]()
    world.issuer.describe("newcomer")
    world.issuer.held = threading.Event()
    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(post, world, guard, f"made-up-{number}", f"203.0.113.{number}")
        await world.issuer.asked(introspect.NEIGHBOURS_AT_ONCE)
        await others_have_run()

        async def newcomer() -> None:
            statuses.append((await post(world, guard, "newcomer", "198.51.100.7")).status_code)

        tasks.start_soon(newcomer)
        await world.issuer.asked(introspect.NEIGHBOURS_AT_ONCE + 1)
        assert world.issuer.introspected[-1][1]["token"] == "newcomer"
        world.issuer.held.set()
    assert statuses == [200]


@pytest.mark.parametrize("status", [413, 414])
async def test_a_token_that_is_too_long_for_its_issuer_is_none_of_its(world: World, status: int) -> None:
    guard = asking(world)
    world.issuer.introspection_status = status
    assert (await post(world, guard, "made-up" * 2000)).status_code == 401
    world.issuer.introspection_status = 200
    world.issuer.describe(OPAQUE)
    assert (await post(world, guard, OPAQUE)).status_code == 200


async def test_an_outage_does_not_keep_a_revocable_token_good(world: World) -> None:
    world.issuer.describe(token := world.mint())
    guard = asking(world)
    assert (await post(world, guard, token)).status_code == 200
    world.issuer.down = True
    world.clock.now += verify.REVOKED_WITHIN
    assert (await post(world, guard, token)).status_code == 503


async def test_an_issuer_that_never_answers_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspect, "ANSWER_WITHIN", 0.05)
    world.issuer.held = threading.Event()
    with anyio.fail_after(60):
        assert (await post(world, asking(world), OPAQUE)).status_code == 503


async def test_a_refused_token_is_refused_again_without_asking(world: World) -> None:
    guard = asking(world)
    for passed, times in [(0, 1), (introspect.REFUSED_FOR - 0.1, 1), (0.1, 2)]:
        world.clock.now += passed
        assert (await post(world, guard, "made-up")).status_code == 401
        assert asked(world) == times


async def test_a_clock_that_was_set_back_makes_no_refusal_last(world: World) -> None:
    guard = asking(world)
    assert (await post(world, guard, OPAQUE)).status_code == 401
    world.clock.now -= 3600
    world.issuer.describe(OPAQUE)
    assert (await post(world, guard, OPAQUE)).status_code == 200


async def test_only_so_many_refused_tokens_are_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspect, "REFUSED_TOKENS", 2)
    guard = asking(world)
    for token, times in [("a", 1), ("b", 2), ("c", 3), ("b", 3), ("a", 4)]:
        assert (await post(world, guard, token)).status_code == 401
        assert asked(world) == times


async def flooded(world: World, guard: ASGIApp, tasks: Any, statuses: list[int]) -> None:
    """Strangers fill their lane, and more wait before it."""

    async def stranger(number: int) -> None:
        statuses.append((await post(world, guard, f"made-up-{number}", neighbourhood(number))).status_code)

    known = len(world.issuer.fetched)
    for number in range(10):
        tasks.start_soon(stranger, number)
    await world.issuer.asked(known + introspect.STRANGERS_AT_ONCE)
    await others_have_run()


@pytest.mark.parametrize("opaque", [True, False], ids=["asked about before", "signed"])
async def test_strangers_ask_few_at_a_time_and_known_callers_do_not_wait_for_them(
    world: World, *, opaque: bool
) -> None:
    token = OPAQUE if opaque else world.mint(jti="new")
    guard, statuses = asking(world, endpoint=world.issuer.url + INTROSPECT), list[int]()
    for known in (OPAQUE, world.mint()):
        world.issuer.describe(known)
        assert (await post(world, guard, known)).status_code == 200
    world.clock.now += verify.REVOKED_WITHIN
    world.issuer.held = threading.Event()
    at_once = asked(world)
    async with anyio.create_task_group() as tasks:
        await flooded(world, guard, tasks, statuses)
        assert asked(world) - at_once == introspect.STRANGERS_AT_ONCE
        tasks.start_soon(post, world, guard, token)
        await world.issuer.asked(len(world.issuer.fetched) + 1)
        assert world.issuer.introspected[-1][1]["token"] == token
        world.issuer.held.set()
    assert statuses == [401] * 10


async def test_who_waits_too_long_behind_strangers_is_told_to_come_again_and_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.issuer.describe(OPAQUE)
    guard, statuses = asking(world, endpoint=world.issuer.url + INTROSPECT), list[int]()
    assert (await post(world, guard, OPAQUE)).status_code == 200
    world.clock.now += verify.REVOKED_WITHIN
    world.issuer.held = threading.Event()
    at_once = asked(world)
    async with anyio.create_task_group() as tasks:
        await flooded(world, guard, tasks, statuses)
        with monkeypatch.context() as impatient:
            impatient.setattr(introspect, "PLACE_WITHIN", 0.01)
            response = await post(world, guard, "one-more")
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert asked(world) - at_once == introspect.STRANGERS_AT_ONCE
        world.issuer.held.set()
        assert (await post(world, guard, OPAQUE)).status_code == 200
    assert statuses == [401] * 10


async def test_a_refused_token_keeps_its_place_for_a_moment_and_an_active_one_does_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that strangers are asked about so often a second and no more, however quick the issuer is."""
    assert introspect.REFUSAL_TAKES * 100 >= introspect.STRANGERS_AT_ONCE
    monkeypatch.setattr(introspect, "REFUSAL_TAKES", 3600)
    guard = asking(world)
    for number in range(introspect.STRANGERS_AT_ONCE + 1):
        world.issuer.describe(f"new-{number}")
        assert (await post(world, guard, f"new-{number}")).status_code == 200
    with anyio.fail_after(60):
        assert (await post(world, guard, world.mint())).status_code == 401  # revoked, but signed: no stranger's
    known = asked(world)
    async with anyio.create_task_group() as tasks:
        for number in range(introspect.STRANGERS_AT_ONCE):
            tasks.start_soon(post, world, guard, f"made-up-{number}", neighbourhood(number))
        await world.issuer.asked(len(world.issuer.fetched) + introspect.STRANGERS_AT_ONCE)
        monkeypatch.setattr(introspect, "PLACE_WITHIN", 0.2)
        assert (await post(world, guard, "one-more")).status_code == 503
        tasks.cancel_scope.cancel()
    assert asked(world) == known + introspect.STRANGERS_AT_ONCE


async def test_a_token_that_got_no_answer_keeps_its_place_for_a_moment_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an issuer that is down would be asked by every neighbourhood at once."""
    monkeypatch.setattr(introspect, "REFUSAL_TAKES", 3600)
    world.issuer.introspection_status = 500
    guard = asking(world, endpoint=world.issuer.url + INTROSPECT)
    async with anyio.create_task_group() as tasks:
        for number in range(introspect.STRANGERS_AT_ONCE):
            tasks.start_soon(post, world, guard, f"made-up-{number}", neighbourhood(number))
        await world.issuer.asked(introspect.STRANGERS_AT_ONCE)
        monkeypatch.setattr(introspect, "PLACE_WITHIN", 0.1)
        assert (await post(world, guard, "one-more")).status_code == 503
        tasks.cancel_scope.cancel()
    assert asked(world) == introspect.STRANGERS_AT_ONCE


async def test_a_token_that_was_known_long_ago_is_a_strangers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of callers is bounded; who is forgotten asks like one who was never seen."""
    monkeypatch.setattr(introspect, "KNOWN_TOKENS", 1)
    guard, statuses = asking(world, endpoint=world.issuer.url + INTROSPECT), list[int]()
    for token in ("first", "second"):
        world.issuer.describe(token)
        assert (await post(world, guard, token)).status_code == 200
    world.clock.now += verify.REVOKED_WITHIN
    world.issuer.held = threading.Event()
    async with anyio.create_task_group() as tasks:
        await flooded(world, guard, tasks, statuses)
        with monkeypatch.context() as impatient:
            impatient.setattr(introspect, "PLACE_WITHIN", 0.01)
            assert (await post(world, guard, "first")).status_code == 503
        world.issuer.held.set()
        assert (await post(world, guard, "second")).status_code == 200  # so "first" didn't get as far as the issuer
