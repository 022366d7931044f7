"""A user's codes: those of an app (RFC 6238), and the recovery codes for when it is lost. Each is good once."""

import secrets
from base64 import b32encode

from garrison.authserver import at_rest, seal
from garrison.authserver.context import Exchange
from garrison.authserver.stores.totp import SealedTotp, find_totp, use_recovery_code, use_step
from garrison.oauth import totp

RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_GROUP = 4


async def used(exchange: Exchange, username: str, typed: str) -> str | None:
    """What the code was, in a word for the event, now that it is used up; None if it is none, or was used before."""
    found = await find_totp(exchange.store, username)
    if found is None:
        return None
    step = totp.matching_step(opened(exchange, found), _compact(typed), exchange.now)
    if step is not None:
        return "code" if await use_step(exchange.store, username, step) else None
    key = recovery_key(exchange, username, typed)
    return "recovery code" if await use_recovery_code(exchange.store, username, key) else None


def opened(exchange: Exchange, found: SealedTotp) -> bytes:
    return at_rest.decrypted(exchange.settings.secret, at_rest.TOTP_SECRETS, found.username, found.sealed)


def new_recovery_codes() -> list[str]:
    """80 random bits each, in groups that people can type."""
    texts = [b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    return ["-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP)) for text in texts]


def recovery_key(exchange: Exchange, username: str, code: str) -> str:
    """What is kept of a recovery code: without the server's secret nobody can try codes against it."""
    return seal.mac(exchange.settings.secret, "recovery code", username, _compact(code))


def _compact(typed: str) -> str:
    """Without the spaces and hyphens that apps and people put into codes."""
    return "".join(typed.replace("-", "").split()).lower()
