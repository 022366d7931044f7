"""Back from the identity provider: a list of checks, then the user as known here, then on to what they came for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.responses import Response

from garrison.authserver import backoff, consent, cookies, forms, seal, session_start
from garrison.authserver.context import Exchange
from garrison.authserver.federation import departure, failed, rules
from garrison.authserver.federation.errors import BadAnswer, NotAllowed, ProviderUnavailable, SignInFailed
from garrison.authserver.federation.provider import Provider
from garrison.authserver.records import Session, User
from garrison.authserver.stores.departures import Departure, take_departure
from garrison.authserver.stores.identities import find_external, lock_out, save_external
from garrison.authserver.stores.sessions import Shown
from garrison.authserver.stores.users import set_user_scope
from garrison.base.events import Kind
from garrison.oauth import scope
from garrison.oauth.errors import InvalidRequest
from garrison.oauth.server_metadata import ServerMetadata

MAX_QUERY = 8192
_ERROR_CODE = re.compile(r"[a-z_]{1,64}")
_NOT_NOW = frozenset({"server_error", "temporarily_unavailable"})


@dataclass(frozen=True)
class Identity:
    """Who the provider says has signed in, and what it says about them."""

    subject: str
    claims: Mapping[str, Any] = field(repr=False)


async def endpoint(exchange: Exchange, provider: Provider) -> Response:
    answer = _parameters(exchange)
    state = forms.required(answer, "state")
    left = await _departed(exchange, provider, state)
    try:
        identity = await _identified(exchange, provider, answer, state)
        user = await _admitted(exchange, provider, identity)
    except (SignInFailed, ProviderUnavailable) as error:
        return await failed.page(exchange, provider, error, left.request)
    return await _signed_in(exchange, provider, left, user)


def _parameters(exchange: Exchange) -> forms.Parameters:
    query: bytes = exchange.request.scope["query_string"]
    if len(query) > MAX_QUERY:
        raise InvalidRequest("the answer is too long")
    parameters = forms.parse(query)
    parameters.check_unrepeated()
    return parameters


async def _departed(exchange: Exchange, provider: Provider, state: str) -> Departure:
    """What this browser left with, gone with this look: an answer counts once (RFC 6749 §10.12).

    Raises:
        InvalidRequest: another browser left with this state, or it was used before, or is too old, or was never ours.
    """
    browser = cookies.read(exchange)
    left = await take_departure(exchange.store, seal.hashed(state), seal.hashed(browser or ""), exchange.now)
    if browser is None or left is None:
        reason = "this browser has not begun such a sign-in (state)"
        await exchange.note(Kind.LOGIN_FAILED, reason=reason, provider=provider.settings.issuer)
        raise InvalidRequest(
            "This sign-in was not begun in this browser, or was used before, or is too old. Start again from there."
        )
    return left


async def _identified(exchange: Exchange, provider: Provider, answer: forms.Parameters, state: str) -> Identity:
    _is_of_this_provider(answer, await provider.metadata())
    _is_no_error(answer)
    tokens = await provider.redeem(
        _code(answer), verifier=departure.verifier(exchange, state), return_address=departure.return_address(exchange)
    )
    token = await provider.verified(tokens.id_token, nonce=departure.nonce(exchange, state), now=exchange.now)
    if rules.needed_claims(provider.settings) <= token.claims.keys():
        return Identity(token.subject, token.claims)
    more = await provider.userinfo(tokens.access_token, token.subject)
    return Identity(token.subject, {**more, **token.claims})


def _is_of_this_provider(answer: forms.Parameters, metadata: ServerMetadata) -> None:
    """RFC 9207 §2.4: an answer of another server than the one we asked is a mix-up attack, errors included."""
    if answer.get("iss", metadata.issuer) != metadata.issuer:
        raise BadAnswer("the answer is of another issuer (iss)")
    if metadata.iss_parameter_supported and "iss" not in answer:
        raise BadAnswer("the answer lacks iss, which the provider says it sends")


def _is_no_error(answer: forms.Parameters) -> None:
    """RFC 6749 §4.1.2.1. The code alone goes on; the description is whatever somebody put into the address."""
    error = answer.get("error")
    if error in _NOT_NOW:
        raise ProviderUnavailable(f"the provider answered {error}")
    if error is not None:
        known = error if _ERROR_CODE.fullmatch(error) else "an error"
        raise SignInFailed("You were not signed in there.", detail=f"the provider answered {known}")


def _code(answer: forms.Parameters) -> str:
    if "code" not in answer:
        raise BadAnswer("the answer has no code")
    return answer["code"]


async def _admitted(exchange: Exchange, provider: Provider, identity: Identity) -> User:
    """The user of `identity`, with the scope that the rules give them today.

    Raises:
        NotAllowed: they may not sign in here (any more).
    """
    user = await find_external(exchange.store, provider.settings.issuer, identity.subject)
    allowed = rules.scope_of(provider.settings, identity.claims)
    if not allowed:
        if user:
            await _changed(exchange, user, "the identity provider's claims let them in no more")
            await lock_out(exchange.store, user.username, exchange.now)
        raise NotAllowed(f"no rule lets subject {identity.subject} in")
    if user is None:
        user = await _welcome(exchange, provider, identity, allowed)
    if user.disabled:
        raise NotAllowed(f"{user.username} is disabled")
    if user.scope != allowed:
        await _changed(exchange, user, "another scope by the identity provider's claims")
        await set_user_scope(exchange.store, user.username, allowed)
    return replace(user, scope=allowed)


async def _welcome(exchange: Exchange, provider: Provider, identity: Identity, allowed: frozenset[str]) -> User:
    """Bound to issuer and subject from now on: another subject never becomes this user, whatever it is called."""
    issuer, subject = provider.settings.issuer, identity.subject
    username = rules.username_of(provider.settings, subject, identity.claims)
    if username is None:
        raise NotAllowed(f"subject {subject} has no usable {provider.settings.username_claim}")
    user = User(username, allowed, disabled=False, created_at=exchange.now, external=True)
    await exchange.record(Kind.USER_ADDED, subject=username, reason="by the identity provider", provider=issuer)
    if await save_external(exchange.store, user, issuer, subject):
        return user
    if found := await find_external(exchange.store, issuer, subject):  # two first sign-ins at once
        return found
    raise NotAllowed(f"{username} is the name of another subject already")


async def _changed(exchange: Exchange, user: User, reason: str) -> None:
    await exchange.record(Kind.USER_CHANGED, subject=user.username, reason=reason)


async def _signed_in(exchange: Exchange, provider: Provider, left: Departure, user: User) -> Response:
    shown = Shown(scope=user.scope)
    value = await session_start.open_session(exchange, user.username, shown, by=provider.settings.issuer)
    await backoff.forgive_address(exchange, departure.ATTEMPTS)
    response = await _onward(exchange, left, Session(seal.hashed(value), user, exchange.now))
    cookies.write(exchange, response, value)
    return response


async def _onward(exchange: Exchange, left: Departure, session: Session) -> Response:
    if not left.request:
        return session_start.onward(exchange, "")
    return await consent.agreed_before(exchange, left.request, session, scope.parse(left.agreed))
