"""What a refresh token is made of: the name of its family, what is random, and a signature over both.

So the reuse of one is known for what it is long after its row has gone (RFC 9700 §4.14.2), and a client that refreshes
all day leaves no rows behind.
"""

from garrison.authserver import seal
from garrison.authserver.context import Exchange
from garrison.authserver.records import RefreshToken
from garrison.authserver.stores.refresh_tokens import find_refresh_token, find_refreshed_family


def first(exchange: Exchange, family_id: str) -> str:
    return _signed(exchange, family_id, seal.new_secret())


def successor(exchange: Exchange, value: str, family_id: str, salt: str) -> str:
    """Made of the token before it, so that whoever lost the answer can be told it again though no one has kept it."""
    return _signed(exchange, family_id, seal.mac(exchange.settings.secret, "refresh token", value, salt))


async def find(exchange: Exchange, value: str) -> RefreshToken | None:
    """The token, whatever became of it: one without a row is a used one, if it is of ours and of a family that has any.

    A family loses its last row when its last token has expired; then there is nothing left to end.
    """
    key = seal.hashed(value)
    if found := await find_refresh_token(exchange.store, key):
        return found
    body, _, signature = value.rpartition(".")
    if not seal.same_mac(signature, _signature(exchange, body)):
        return None
    family = await find_refreshed_family(exchange.store, body.partition(".")[0])
    return RefreshToken(key, family, family.expires_at, used=True) if family else None


def _signed(exchange: Exchange, family_id: str, random: str) -> str:
    body = f"{family_id}.{random}"
    return f"{body}.{_signature(exchange, body)}"


def _signature(exchange: Exchange, body: str) -> str:
    return seal.mac(exchange.settings.secret, "refresh token: signature", body)
