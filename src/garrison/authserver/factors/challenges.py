"""Challenges for passkeys: sealed for one browser and one purpose, answered once, within minutes (WebAuthn §13.4.3)."""

from garrison.authserver import seal
from garrison.authserver.context import Exchange
from garrison.authserver.stores.assertions import use_assertion
from garrison.oauth.errors import InvalidRequest

LIFETIME = 600
"""Seconds that a page with a challenge may lie open."""


def new(exchange: Exchange, purpose: str, browser: str) -> tuple[str, str]:
    """A challenge, and the same sealed, for the browser to carry."""
    challenge = seal.new_secret()
    payload = {"challenge": challenge, "browser": seal.hashed(browser)}
    return challenge, seal.seal(exchange.settings.secret, payload, exchange.now + LIFETIME, purpose)


async def answered(exchange: Exchange, purpose: str, browser: str, sealed: str) -> str | None:
    """The challenge, at its first answer, be that right or wrong; None at a second one, for another browser or purpose,
    or when it is too old.
    """
    try:
        payload = seal.unseal(exchange.settings.secret, sealed, exchange.now, purpose)
    except InvalidRequest:
        return None
    challenge: str = payload["challenge"]
    if not seal.same_mac(payload["browser"], seal.hashed(browser)):
        return None
    return challenge if await use_assertion(exchange.store, seal.hashed(challenge), exchange.now + LIFETIME) else None
