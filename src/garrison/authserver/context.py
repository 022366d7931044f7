"""What every endpoint is given: the server, and one request to it."""

import logging
from dataclasses import dataclass

import msgspec
from starlette.requests import Request

from garrison.authserver.client_keys import ClientKeys
from garrison.authserver.federation.provider import Provider
from garrison.authserver.keys import KeyRing
from garrison.authserver.passwords import Passwords
from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.signer import Signer
from garrison.authserver.stores.store import Store
from garrison.base.clock import Clock
from garrison.base.errors import EventStoreError
from garrison.base.events import Event, EventSink, Kind, Scalar, emit
from garrison.base.fetch import Fetcher

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    """One authorization server: the parts that live as long as it does."""

    settings: AuthServerSettings
    store: Store
    events: EventSink
    clock: Clock
    passwords: Passwords
    fetcher: Fetcher
    client_keys: ClientKeys
    stranger_keys: ClientKeys
    keys: KeyRing
    signer: Signer
    provider: Provider | None = None


class Exchange(msgspec.Struct, frozen=True):
    """One request: `now` is the one time that everything in it goes by, `address` the peer's."""

    server: Server
    request: Request
    correlation_id: str
    address: str
    now: float

    @property
    def settings(self) -> AuthServerSettings:
        return self.server.settings

    @property
    def store(self) -> Store:
        return self.server.store

    async def record(
        self, kind: Kind, *, subject: str = "", client_id: str = "", reason: str = "", **detail: Scalar
    ) -> None:
        """Make the event durable.

        Raises:
            EventStoreError: it isn't; what it speaks of must not happen.
        """
        event = Event(
            kind=kind,
            correlation_id=self.correlation_id,
            subject=subject,
            client_id=client_id,
            address=self.address,
            # Not request.url: that is made with the Host header, which can hold a path of its own.
            target=f"{self.request.scope['method']} {self.request.scope['path']}",
            reason=reason,
            detail=detail,
            time=self.server.clock(),
        )
        await emit(self.server.events, event)

    async def note(
        self, kind: Kind, *, subject: str = "", client_id: str = "", reason: str = "", **detail: Scalar
    ) -> None:
        """Record a refusal, which stands whether or not the event can be stored."""
        try:
            await self.record(kind, subject=subject, client_id=client_id, reason=reason, **detail)
        except EventStoreError:
            logger.exception("a refusal (%s) could not be recorded", kind)
