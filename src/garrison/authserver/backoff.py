"""Back-off of wrong passwords and codes, by account and by address (RFC 6749 §10.10): some are free, then each waits
twice as long as the one before, up to a quarter of an hour; an hour without an attempt and all is forgotten.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil

from garrison.authserver import seal
from garrison.authserver.context import Exchange
from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.stores.attempts import Pause, charge_attempt, forgive_attempt
from garrison.authserver.stores.store import Store
from garrison.base.peers import stranger_unit
from garrison.oauth.errors import TemporarilyUnavailable

LONGEST_PAUSE = 900.0
MEMORY = 3600.0
PASSWORDS = "back-off by account"
CODES = "back-off by account: codes"
PROOFS = "back-off by account: proofs"


class TooManyAttempts(TemporarilyUnavailable):
    status = 429

    def __init__(self, wait: float) -> None:
        super().__init__("too many requests of this kind from this address; try again later")
        self.headers = {"Retry-After": str(ceil(wait))}


@dataclass
class Costs:
    """What happened inside `by_address`; `forgiven` if it shall cost nothing after all."""

    forgiven: bool = False


def pause(free: int, failures: int) -> float:
    """Seconds to wait after `failures`, of which `free` cost nothing."""
    over = failures - free
    return 0.0 if over <= 0 else min(LONGEST_PAUSE, 2.0 ** min(over, 10))


async def charge(
    store: Store,
    settings: AuthServerSettings,
    *,
    username: str,
    address: str,
    now: float,
    what: str = PASSWORDS,
    device: str = "",
) -> float:
    """Count an attempt before it is made. Returns the seconds to wait; 0 if it may be made.

    An account has a count for each of `what`: whoever knows the password can't clear the count of wrong codes with it.
    It has another for each `device` that its user is known by.
    """
    pauses: dict[str, Pause] = {
        account_key(settings, username, what, device): partial(pause, settings.free_failures_per_account),
    }
    if address:
        pauses[_address_key(settings, address)] = partial(pause, settings.free_failures_per_address)
    return await charge_attempt(store, pauses, now=now, memory=MEMORY)


async def forgive(
    store: Store, settings: AuthServerSettings, *, username: str, address: str, what: str = PASSWORDS, device: str = ""
) -> None:
    """The attempt was right. The address only gets this one back: one known password doesn't buy guesses at others."""
    account = account_key(settings, username, what, device)
    await forgive_attempt(store, forgotten=account, reduced=_address_key(settings, address))


def account_key(settings: AuthServerSettings, username: str, what: str = PASSWORDS, device: str = "") -> str:
    """A name for the account that tells nothing: what people type as a username is sometimes their password."""
    return seal.mac(settings.secret, what, username, *([device] if device else []))


def _address_key(settings: AuthServerSettings, address: str) -> str:
    return seal.mac(settings.secret, "back-off by address", stranger_unit(address))


@asynccontextmanager
async def by_address(exchange: Exchange, what: str, free: int) -> AsyncIterator[Costs]:
    """A block that the peer's address pays for: `free` times it costs nothing, then each waits twice as long.

    Raises:
        TooManyAttempts: it must wait.
    """
    costs = Costs()
    if not exchange.address:
        yield costs
        return
    key = _key_of(exchange, what)
    wait = await charge_attempt(exchange.store, {key: partial(pause, free)}, now=exchange.now, memory=MEMORY)
    if wait > 0:
        raise TooManyAttempts(wait)
    yield costs
    if costs.forgiven:
        await forgive_attempt(exchange.store, reduced=key)


async def forgive_address(exchange: Exchange, what: str) -> None:
    """One block of `by_address` costs nothing after all: what it began has ended well."""
    if exchange.address:
        await forgive_attempt(exchange.store, reduced=_key_of(exchange, what))


def _key_of(exchange: Exchange, what: str) -> str:
    return seal.mac(exchange.settings.secret, f"back-off by address: {what}", stranger_unit(exchange.address))
