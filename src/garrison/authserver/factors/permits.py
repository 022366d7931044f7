"""What a session may do now that its user has confirmed it: sealed, for that session and one purpose, for minutes."""

from garrison.authserver import cookies, forms, seal
from garrison.authserver.context import Exchange
from garrison.authserver.records import Session
from garrison.oauth.errors import AccessDenied, InvalidRequest

LIFETIME = 600
"""Seconds to scan a QR code and type a code."""


async def session_of(exchange: Exchange) -> Session | None:
    """The browser's session, if it is signed in.

    Raises:
        AccessDenied: as a user of the identity provider, whom a factor here would let in when the provider no longer
            does.
    """
    session = await cookies.session(exchange)
    if session and session.user.external:
        raise AccessDenied("You sign in at your identity provider. What that takes is set up there.")
    return session


async def opened(exchange: Exchange, purpose: str) -> tuple[Session, forms.Parameters, str] | None:
    """The session, what came with the request, and the permit among it; None if nobody is signed in.

    Raises:
        AccessDenied: as `session_of`.
        InvalidRequest: there is no permit of this session for `purpose`, or none that is still good.
    """
    session = await session_of(exchange)
    if session is None:
        return None
    form = await forms.read_either(exchange.request, exchange.settings.max_form_bytes)
    permit = forms.required(form, "permit")
    _check(exchange, session, purpose, permit)
    return session, form, permit


def new(exchange: Exchange, session: Session, purpose: str) -> str:
    payload = {"session": _session(exchange, session)}
    return seal.seal(exchange.settings.secret, payload, exchange.now + LIFETIME, purpose)


def _check(exchange: Exchange, session: Session, purpose: str, permit: str) -> None:
    """Raises `InvalidRequest` if `permit` is not one of ours, too old, or for another session or purpose."""
    payload = seal.unseal(exchange.settings.secret, permit, exchange.now, purpose)
    if not seal.same_mac(payload["session"], _session(exchange, session)):
        raise InvalidRequest("This page belongs to another sign-in. Go back and start again.")


def _session(exchange: Exchange, session: Session) -> str:
    return seal.mac(exchange.settings.secret, "permit", session.key)
