"""The authorization server (OAuth 2.1) as an ASGI application: its routes, its answers, its life.

`ROUTES` is the table of contents. Every endpoint takes an `Exchange` and returns a response or raises; what it raises
becomes a response in errors.py.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from garrison.authserver import (
    account,
    authorize,
    consent,
    errors,
    introspect,
    key_schedule,
    login,
    logout,
    metadata,
    pages,
    register,
    revoke,
    token,
)
from garrison.authserver.client_keys import ClientKeys
from garrison.authserver.context import Exchange, Server
from garrison.authserver.entrance import Entrance, door
from garrison.authserver.factors import add_passkey, add_totp, confirm, overview, passkey_sign_in, second_factor
from garrison.authserver.federation import arrival, departure
from garrison.authserver.federation.provider import Provider
from garrison.authserver.keys import KeyRing
from garrison.authserver.passwords import Passwords
from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.signer import Signer
from garrison.authserver.stores.purge import purge
from garrison.authserver.stores.store import Store, StoreUnavailableError
from garrison.base.clock import Clock, system_clock
from garrison.base.errors import GarrisonError
from garrison.base.events import EventSink, new_correlation_id
from garrison.base.fetch import Fetcher
from garrison.base.peers import Peers
from garrison.oauth.errors import OAuthError
from garrison.oauth.server_metadata import well_known_paths

logger = logging.getLogger(__name__)

PURGE_INTERVAL = 60
"""Seconds between two looks for expired rows."""

FETCH_TIMEOUT = 5.0
"""Seconds for a document that a client names by its URL."""

STRANGERS_AT_ONCE = 16
"""Such documents at once, of clients that nobody vouches for: slow ones keep no one's waiting but each other."""
ASKER_AT_ONCE = 4
"""Those of them that the requests from one neighbourhood of addresses may wait for."""


@dataclass(frozen=True)
class Row:
    """An endpoint: where, how, and how its errors look. `cors` opens it to scripts of any origin, without cookies."""

    path: str
    methods: str
    endpoint: Callable[[Exchange], Awaitable[Response]]
    error: Callable[[Exchange, OAuthError], Response] = errors.as_json
    cors: bool = False


ROUTES = (
    Row("/authorize", "GET POST", authorize.endpoint, errors.as_page),
    Row("/login", "GET POST", login.endpoint, errors.as_page),
    Row(second_factor.PATH, "GET POST", second_factor.endpoint, errors.as_page),
    Row(passkey_sign_in.PATH, "GET POST", passkey_sign_in.endpoint, errors.as_page),
    Row("/consent", "GET POST", consent.endpoint, errors.as_page),
    Row("/logout", "GET POST", logout.endpoint, errors.as_page),
    Row(account.PATH, "GET POST", account.endpoint, errors.as_page),
    Row(overview.PATH, "GET POST", overview.endpoint, errors.as_page),
    Row(confirm.PATH, "GET POST", confirm.endpoint, errors.as_page),
    Row(add_totp.PATH, "GET POST", add_totp.endpoint, errors.as_page),
    Row(add_passkey.PATH, "GET POST", add_passkey.endpoint, errors.as_page),
    Row("/style.css", "GET", pages.style),
    Row("/passkey.js", "GET", pages.passkey_script),
    Row("/token", "POST", token.endpoint, cors=True),
    Row("/revoke", "POST", revoke.endpoint, cors=True),
    Row("/introspect", "POST", introspect.endpoint),
    Row("/register", "POST", register.endpoint),
    Row("/jwks", "GET", metadata.key_set, cors=True),
    Row("/healthz", "GET", metadata.health),
)
"""Below the issuer's path; the well-known documents are where the issuer's name puts them (RFC 8414 §3.1)."""


def create_app(
    settings: AuthServerSettings,
    *,
    events: EventSink,
    clock: Clock = system_clock,
    fetcher: Fetcher | None = None,
    provider_fetcher: Fetcher | None = None,
) -> Starlette:
    """The application; its database is opened and closed by its lifespan.

    `fetcher` gets what clients name by a URL: their keys, and their metadata documents. It is closed with the
    application; without one it goes to public addresses alone. `provider_fetcher` likewise asks the identity provider,
    and without one goes to private addresses only if the settings say so.
    """
    store = Store(settings.database_url)
    strangers = fetcher or Fetcher(timeout=FETCH_TIMEOUT, at_once=STRANGERS_AT_ONCE, at_once_each=ASKER_AT_ONCE)
    fetcher = fetcher or Fetcher(timeout=FETCH_TIMEOUT)
    server = Server(
        settings=settings,
        store=store,
        events=events,
        clock=clock,
        passwords=Passwords(settings.password_cost),
        fetcher=strangers,
        client_keys=ClientKeys(fetcher, clock),
        stranger_keys=ClientKeys(strangers, clock),
        keys=KeyRing(store, settings.secret, settings.signing_keys),
        signer=Signer(),
        provider=_provider(settings, provider_fetcher, clock),
    )
    app = Starlette(lifespan=_lifespan(server))
    app.middleware_stack = Entrance(_doors(server), otherwise=app.router)
    return app


def _provider(settings: AuthServerSettings, fetcher: Fetcher | None, clock: Clock) -> Provider | None:
    wanted = settings.identity_provider
    if wanted is None:
        return None
    return Provider(wanted, fetcher or Fetcher(timeout=FETCH_TIMEOUT, private_addresses=wanted.may_be_private), clock)


def _provider_rows(provider: Provider | None) -> Iterable[Row]:
    """There where users sign in at an identity provider, and nowhere else."""
    if provider:
        yield Row(departure.PATH, "GET POST", partial(departure.endpoint, provider=provider), errors.as_page)
        yield Row(departure.RETURN_PATH, "GET", partial(arrival.endpoint, provider=provider), errors.as_page)


def _doors(server: Server) -> dict[str, ASGIApp]:
    settings = server.settings
    rows = [Row(path, "GET", metadata.endpoint, cors=True) for path in well_known_paths(settings.issuer)]
    below = [*ROUTES, *_provider_rows(server.provider)]
    rows += [replace(row, path=settings.path + row.path) for row in below]
    return {row.path: door(_answer(server, row), row.methods, cors=row.cors) for row in rows}


def _answer(server: Server, row: Row) -> Callable[[Request], Awaitable[Response]]:
    address = _addresses(server.settings.trusted_proxies)

    async def answer(request: Request) -> Response:
        exchange = Exchange(server, request, new_correlation_id(), address(request), server.clock())
        try:
            return await row.endpoint(exchange)
        except HTTPException:
            raise
        except Exception as error:  # noqa: BLE001 - the one place where whatever happens becomes an answer
            return row.error(exchange, errors.as_oauth_error(error, exchange.correlation_id))

    return answer


def _addresses(trusted_proxies: Sequence[str]) -> Callable[[Request], str]:
    """What tells a request's peer; headers are looked at only where a proxy may write them."""
    peers = Peers(trusted_proxies)

    def address(request: Request) -> str:
        client = request.scope.get("client")
        peer = client[0] if client else ""
        if not trusted_proxies:
            return peers.address(peer)
        headers = request.headers
        return peers.address(peer, headers.getlist("x-forwarded-for"), headers.getlist("forwarded"))

    return address


def _lifespan(server: Server) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await server.store.open()
        chores: list[asyncio.Task[None]] = []
        try:
            await server.keys.open(server.clock())
            server.signer.start()
            chores += [asyncio.create_task(chore(server)) for chore in (_purge_forever, _reload_keys_forever)]
            yield
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            await server.signer.stop()
            await server.store.close()
            await server.fetcher.aclose()
            await server.client_keys.aclose()
            if server.provider:
                await server.provider.aclose()

    return lifespan


async def _purge_forever(server: Server) -> None:
    while True:
        gone = 0
        with suppress(StoreUnavailableError):
            gone = await purge(server.store, server.clock())
        await asyncio.sleep(0 if gone else PURGE_INTERVAL)  # between two steps whoever waits for the database has it


async def _reload_keys_forever(server: Server) -> None:
    """Those at hand stay in use while the database can't be read, or holds what can't be opened."""
    while True:
        await asyncio.sleep(key_schedule.RELOAD)
        try:
            await server.keys.reload(server.clock())
        except GarrisonError as error:
            logger.error("the signing keys were not read again: %s", error)  # noqa: TRY400 - its trace says no more
