"""Codes and refresh tokens against a plain model of what the statements 27 to 43 say, in any order of events."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from starlette.applications import Starlette

from garrison.authserver import admin, seal
from garrison.authserver.records import Code, Family
from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.stores.codes import save_code
from garrison.authserver.stores.store import open_store
from garrison.authserver.stores.tables import sessions
from garrison.oauth import jwks, pkce
from tests.authserver.world import CHEAP, ISSUER, RESOURCE, SCOPES, World

ENDINGS = 2
"""How often a run may end what lives, apart from time: else nothing lives long enough to go wrong."""
GRACE, CODE, IDLE, ABSOLUTE = 10, 30, 50, 120


@dataclass
class Grant:
    ends: float
    revoked: bool = False


@dataclass
class Issued:
    """A code or a refresh token: `heir` is the token that took over."""

    value: str
    grant: Grant
    ends: float
    used_at: float | None = None
    heir: "Issued | None" = None


class Lifecycles(RuleBasedStateMachine):
    codes: Bundle[Issued] = Bundle("codes")
    tokens: Bundle[Issued] = Bundle("tokens")

    def __init__(self, world: World, runner: asyncio.Runner, owner: admin.NewClient, thief: admin.NewClient) -> None:
        super().__init__()
        self.world, self.runner, self.owner, self.thief = world, runner, owner, thief
        self.grants: list[Grant] = []
        self.endings = 0

    @initialize(target=codes)
    def grant(self) -> Issued:
        return self.save()

    def save(self) -> Issued:
        now, value = self.world.time, seal.new_secret()
        family = Family(
            id=seal.new_id(),
            client_id=self.owner.client_id,
            username="alice",
            session=seal.hashed(value),
            scope=frozenset({"customer:read"}),
            resource=RESOURCE,
            created_at=now,
            expires_at=now + ABSOLUTE,
            revoked=False,
        )
        challenge = pkce.challenge_s256(self.world.verifier)
        uri = self.owner.client.redirect_uris[0]
        code = Code(seal.hashed(value), family, uri, True, challenge, now + CODE, False)
        self.runner.run(self._save(code))
        self.grants.append(Grant(now + ABSOLUTE))
        return Issued(value, self.grants[-1], now + CODE)

    async def _save(self, code: Code) -> None:
        """In a session of its own; one of a disabled user would not come so far."""
        values = {"username": "alice", "created_at": self.world.time, "expires_at": code.family.expires_at}
        async with self.world.store.write() as connection:
            await connection.execute(sessions.insert().values(key=code.family.session, **values))
        assert await save_code(self.world.store, code)

    @rule(target=tokens, code=codes, wrong=st.sampled_from(["", "", "", "", "client", "verifier"]))
    def redeem(self, code: Issued, wrong: str) -> Issued | MultipleResults[Issued]:
        return self.redeem_once(code, wrong)

    def redeem_once(self, code: Issued, wrong: str) -> Issued | MultipleResults[Issued]:
        now = self.world.time
        verifier = "w" * 43 if wrong == "verifier" else self.world.verifier
        form = self.world.redemption(self.owner, code.value, code_verifier=verifier)
        told = self.ask(form, stolen=wrong == "client")
        if wrong:
            assert told is None
        elif code.used_at is not None:
            code.grant.revoked = True
            assert told is None
        elif code.grant.revoked or now >= code.ends:
            assert told is None
        else:
            assert told is not None
            code.used_at = now
            return Issued(told, code.grant, now + IDLE)
        return multiple()

    @initialize(target=tokens)
    def begin(self) -> Issued | MultipleResults[Issued]:
        return self.redeem_once(self.save(), "")

    @rule(target=tokens, token=tokens, stolen=st.sampled_from([False, False, False, False, False, True]))
    def refresh(self, token: Issued, stolen: bool) -> Issued | MultipleResults[Issued]:
        return self.refresh_once(token, stolen=stolen)

    @rule(target=tokens, token=tokens)
    def refresh_the_newest(self, token: Issued) -> Issued | MultipleResults[Issued]:
        """As its owner does, who holds the last of the chain."""
        while token.heir is not None:
            token = token.heir
        return self.refresh_once(token, stolen=False)

    def refresh_once(self, token: Issued, *, stolen: bool) -> Issued | MultipleResults[Issued]:
        now, grant = self.world.time, token.grant
        told = self.ask({"grant_type": "refresh_token", "refresh_token": token.value}, stolen=stolen)
        unused = token.used_at is None
        if stolen or grant.revoked or now >= grant.ends or (unused and now >= token.ends):
            assert told is None
        elif token.used_at is None:
            assert told is not None
            token.used_at, token.heir = now, Issued(told, grant, now + IDLE)
            return token.heir
        elif token.heir is not None and token.heir.used_at is None and token.used_at > now - GRACE:
            assert told == token.heir.value, "the answer that was lost"
        else:
            grant.revoked = True
            assert told is None
        return multiple()

    @precondition(lambda self: self.endings < ENDINGS)
    @rule(token=tokens, stolen=st.sampled_from([True, True, False]))
    def revoke(self, token: Issued, stolen: bool) -> None:
        client = self.thief if stolen else self.owner

        async def post() -> int:
            async with self.world.browser() as http:
                auth = (client.client_id, client.client_secret or "")
                return (await http.post("/revoke", data={"token": token.value}, auth=auth)).status_code

        self.endings += not stolen
        assert self.runner.run(post()) == (400 if stolen else 200)
        token.grant.revoked = token.grant.revoked or not stolen

    @precondition(lambda self: self.endings < ENDINGS)
    @rule()
    def disable_the_user_for_a_moment(self) -> None:
        self.endings += 2
        for disabled in (True, False):
            self.runner.run(admin.disable_user(self.world.store, "alice", disabled=disabled, clock=self.world.now))
        for grant in self.grants:
            grant.revoked = True

    @rule(seconds=st.sampled_from([1, 1, 2, 9, 10, 30, 50, -3]))
    def wait(self, seconds: int) -> None:
        self.world.time += seconds

    def ask(self, form: dict[str, str], *, stolen: bool) -> str | None:
        """The refresh token that came, or None for `invalid_grant`."""
        response = self.runner.run(self.world.token(self.thief if stolen else self.owner, form))
        if response.status_code == 200:
            return str(response.json()["refresh_token"])
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
        return None


@contextmanager
def lifecycles(folder: Path) -> Iterator[Callable[[], Lifecycles]]:
    chosen = AuthServerSettings(
        issuer=ISSUER,
        database_url=str(folder / "auth.db"),
        signing_keys=[jwks.new_signing_key("ES256")],
        secret=b"s" * 32,
        resources={RESOURCE: SCOPES},
        password_cost=CHEAP,
        refresh_grace=GRACE,
        refresh_idle_lifetime=IDLE,
        refresh_absolute_lifetime=ABSOLUTE,
    )

    async def begin(stack: AsyncExitStack) -> tuple[World, admin.NewClient, admin.NewClient]:
        store = await stack.enter_async_context(open_store(chosen.database_url))
        world = World(chosen, store, Starlette(), stack)
        world.app = await world.another_app()
        await world.user()
        return world, await world.client(), await world.client()

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        world, owner, thief = runner.run(begin(stack))
        try:
            yield lambda: Lifecycles(world, runner, owner, thief)
        finally:
            runner.run(stack.aclose())


@pytest.mark.timeout(300)
def test_codes_and_refresh_tokens_live_and_die_as_the_model_says(tmp_path: Path) -> None:
    slow = settings(
        max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    with lifecycles(tmp_path) as machine:
        run_state_machine_as_test(cast("type[Lifecycles]", machine), settings=slow)
