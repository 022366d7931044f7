"""RFC 7009: a token that nobody needs any more is told to its issuer, before it is forgotten."""

from garrison.base.fetch import Fetcher
from garrison.clients.destination import check_named, is_local
from garrison.clients.errors import AuthorizationFailed
from garrison.clients.token_request import Client, authenticate
from garrison.clients.tokens import StoredLogin, TokenStorage
from garrison.oauth import server_metadata
from garrison.oauth.server_metadata import ServerMetadata

_OK = 200


async def log_out(storage: TokenStorage, login: StoredLogin, fetcher: Fetcher, now: float) -> bool:
    """End `login`: revoke its tokens where the issuer offers that, and forget it and them, whatever the issuer says.

    Args:
        storage: where the login is kept.
        login: the login.
        fetcher: the guarded fetcher.
        now: seconds since the epoch.

    Returns:
        Whether the tokens were revoked; they live on until they end where the issuer offers no revocation.

    Raises:
        GarrisonError: the issuer was asked and did not do it. The login is forgotten all the same.
    """
    async with storage.lock(login.key):
        token = await storage.load(login.key)
        client = await _client(storage, login)
        await storage.save(login.key, None)
        await storage.forget_login(login.url)
    if token is None:
        return False
    server = await _metadata(login, fetcher)
    if server is None or not server.revocation_endpoint:
        return False
    _check(login, server.revocation_endpoint, "revocation_endpoint")
    # The refresh token first (§2.1): most servers end all that came from it.
    tokens = {"refresh_token": token.refresh_token, "access_token": token.access_token}
    for hint, value in tokens.items():
        if value:
            await _revoke(fetcher, server, client, {"token": value, "token_type_hint": hint}, now)
    return True


async def _client(storage: TokenStorage, login: StoredLogin) -> Client:
    """The client that the login was made as."""
    registration = await storage.registration(login.key.issuer)
    if registration and registration.client_id == login.key.client_id:
        return Client(registration.client_id, registration.client_secret, auth_method=registration.auth_method)
    return Client(login.key.client_id, login.client_secret)


async def _metadata(login: StoredLogin, fetcher: Fetcher) -> ServerMetadata | None:
    issuer = _check(login, login.key.issuer, "authorization server")
    for url in server_metadata.well_known_urls(issuer):
        answer = await fetcher.get(url)
        if answer.status == _OK:
            return server_metadata.check(answer.json(), issuer)
    return None


def _check(login: StoredLogin, url: str, what: str) -> str:
    return check_named(url, what, local=is_local(login.url), private_addresses=login.private_addresses)


async def _revoke(fetcher: Fetcher, server: ServerMetadata, client: Client, form: dict[str, str], now: float) -> None:
    request = authenticate(form, client, server, now)
    answer = await fetcher.post_form(server.revocation_endpoint, request.form, headers=request.headers)
    if answer.status != _OK:
        raise AuthorizationFailed(
            f"{server.issuer} did not revoke the token (it answered {answer.status})",
            "The login is forgotten here; the token lives on until it ends.",
        )
