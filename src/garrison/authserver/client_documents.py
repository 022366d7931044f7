"""Clients whose client_id is the URL of a document about them (the Client ID Metadata Document draft, CIMD).

The document becomes a row like any other client's, so that consents and grants can refer to it. The row is believed for
as long as the document's HTTP headers allow, in bounds; then the document is fetched again. A failure is remembered by
nobody: the next request tries anew, within what one address may cost us (backoff.py).
"""

from collections.abc import Mapping

from garrison.authserver import backoff, freshness
from garrison.authserver.context import Exchange
from garrison.authserver.granting import open_scope
from garrison.authserver.records import Client
from garrison.authserver.registration import as_method
from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.stores.clients import find_client, put_document_client
from garrison.base.errors import FetchError
from garrison.base.events import Kind
from garrison.base.fetch import Fetched
from garrison.base.peers import neighbourhood
from garrison.content.json_text import JsonError, parse_json
from garrison.oauth import client_metadata
from garrison.oauth.client_metadata import ClientMetadata
from garrison.oauth.errors import InvalidClientMetadata, OAuthError

PREFIX = "https://"
_OK = 200


async def find(exchange: Exchange, client_id: str) -> tuple[Client, str | None] | None:
    """The client and the hash of its secret if it has one, like `find_client`; by its document if it has that.

    Raises:
        InvalidClientMetadata: the document can't be had, or not believed.
        TooManyAttempts: this address has made us fetch in vain too often.
    """
    if not client_id.startswith(PREFIX):
        return await find_client(exchange.store, client_id)
    _check_allowed(exchange.settings, client_id)
    found = await find_client(exchange.store, client_id)
    if found and (found[0].disabled or exchange.now < found[0].fresh_until):
        return found
    async with backoff.by_address(exchange, "client documents", exchange.settings.free_failures_per_address) as costs:
        client = await _fetched(exchange, client_id)
        costs.forgiven = found is not None  # a client that nobody had heard of costs, too: each is a row that we keep
    await _put(exchange, client, found[0] if found else None)
    return await find_client(exchange.store, client_id)


def _check_allowed(settings: AuthServerSettings, client_id: str) -> None:
    parts = client_metadata.check_client_id_url(client_id)
    if not settings.client_documents:
        raise InvalidClientMetadata("this server does not know clients by the address of their metadata document")
    host = parts.hostname or ""
    if settings.client_document_hosts and not any(_covers(h, host) for h in settings.client_document_hosts):
        raise InvalidClientMetadata("the host of this client's metadata document is not one that is allowed here")


def _covers(allowed: str, host: str) -> bool:
    """`allowed` is a host, or with *. before it stands for all below it."""
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


async def _fetched(exchange: Exchange, client_id: str) -> Client:
    try:
        answer = await exchange.server.fetcher.get(
            client_id, max_bytes=client_metadata.MAX_DOCUMENT, asker=neighbourhood(exchange.address)
        )
        _check_answer(answer)
        metadata = client_metadata.check_document(parse_json(answer.body), client_id)
    except FetchError as error:
        raise InvalidClientMetadata("the client's metadata document could not be fetched", detail=str(error)) from error
    except JsonError as error:
        raise InvalidClientMetadata("the client's metadata document is not JSON", detail=str(error)) from error
    except OAuthError as error:
        raise InvalidClientMetadata(error.description, detail=error.detail) from error
    fresh_until = exchange.now + freshness.seconds(answer.headers, exchange.now)
    return _client(exchange, client_id, metadata, fresh_until)


def _check_answer(answer: Fetched) -> None:
    """A redirect is no answer: whoever can place one on a site need not be that site."""
    if answer.status != _OK:
        # Which one is for the events: whoever asks would learn by it what is there where they can't go themselves.
        raise InvalidClientMetadata(
            "the client's metadata document could not be fetched", detail=f"it was answered with status {answer.status}"
        )
    if not _is_json(answer.headers):
        raise InvalidClientMetadata("the client's metadata document is not served as JSON")


def _is_json(headers: Mapping[str, str]) -> bool:
    """A site may let strangers upload text or pictures; what it calls JSON is more likely its own."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def _client(exchange: Exchange, client_id: str, metadata: ClientMetadata, fresh_until: float) -> Client:
    return Client(
        client_id=client_id,
        name=metadata.name or client_metadata.check_client_id_url(client_id).netloc[: client_metadata.MAX_NAME],
        method=as_method(metadata.method),
        grants=metadata.grants,
        scope=open_scope(exchange.settings, metadata.scope),
        redirect_uris=metadata.redirect_uris,
        resources=(),
        disabled=False,
        created_at=exchange.now,
        jwks=metadata.jwks,
        jwks_uri=metadata.jwks_uri,
        source="document",
        fresh_until=fresh_until,
    )


async def _put(exchange: Exchange, client: Client, known: Client | None) -> None:
    """Who changes keys or redirect URIs may be somebody else now: what users said to the one before is void."""
    if known is None:
        await exchange.record(Kind.CLIENT_ADDED, client_id=client.client_id, reason="by its metadata document")
    elif _identity(known) != _identity(client):
        await exchange.record(Kind.CLIENT_CHANGED, client_id=client.client_id, reason="by its metadata document")
    await put_document_client(exchange.store, client, same_identity=lambda row: _identity(row) == _identity(client))


def _identity(client: Client) -> tuple[object, ...]:
    return client.method, sorted(client.redirect_uris), client.jwks, client.jwks_uri
