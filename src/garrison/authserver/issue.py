"""The token response (RFC 6749 §5.1): an access token by RFC 9068, signed off the event loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec
from starlette.responses import Response

from garrison.authserver import seal
from garrison.authserver.context import Exchange
from garrison.base.events import Kind
from garrison.oauth import access_token, scope


class Grant(msgspec.Struct, frozen=True):
    """What a grant came to: who may do what, where, and the refresh token if there is one."""

    grant_type: str
    client_id: str
    subject: str
    scope: frozenset[str]
    resource: str
    family: str = ""
    refresh_token: str | None = None
    jti: str = msgspec.field(default_factory=seal.new_id)

    def __repr__(self) -> str:  # without the refresh token
        return f"Grant({self.jti})"


async def record(exchange: Exchange, grant: Grant) -> None:
    """Make the issue of the token durable; it comes before the token does.

    Raises:
        EventStoreError: no token may be issued.
    """
    await exchange.record(
        Kind.TOKEN_ISSUED,
        subject=grant.subject,
        client_id=grant.client_id,
        grant_type=grant.grant_type,
        scope=scope.render(grant.scope),
        resource=grant.resource,
        family=grant.family,
        jti=grant.jti,
    )


@asynccontextmanager
async def recorded(exchange: Exchange, grant: Grant) -> AsyncIterator[None]:
    """The block makes `grant` true, in one transaction; its record is durable before that, and no lock waits for it.

    Whatever fails, nobody is told of a token: without the record the block does not run, and what it raises leaves the
    store as it was. Then the record says too much, never too little, and a refusal with the same `jti` takes it back.

    Raises:
        EventStoreError: the block was not run.
    """
    await record(exchange, grant)
    try:
        yield
    except Exception:
        await exchange.note(
            Kind.TOKEN_REFUSED,
            subject=grant.subject,
            client_id=grant.client_id,
            reason="recorded as issued, and then it was not",
            jti=grant.jti,
        )
        raise


async def response(exchange: Exchange, grant: Grant) -> Response:
    settings = exchange.settings
    sign = partial(
        access_token.issue,
        exchange.server.keys.signing(exchange.now),
        issuer=settings.issuer,
        subject=grant.subject,
        client_id=grant.client_id,
        audience=grant.resource,
        scope=grant.scope,
        now=exchange.now,
        lifetime=settings.access_token_lifetime,
        jti=grant.jti,
        grant_id=grant.family,
    )
    body = {
        "access_token": await exchange.server.signer.sign(sign),
        "token_type": "Bearer",
        "expires_in": settings.access_token_lifetime,
        "scope": scope.render(grant.scope),
    }
    if grant.refresh_token:
        body["refresh_token"] = grant.refresh_token
    return Response(msgspec.json.encode(body), media_type="application/json")
