"""A token for somebody else's use (`garrison token`), and the issuer of a server on this machine."""

from garrison.base.errors import UsageError
from garrison.base.fetch import Fetcher
from garrison.clients.destination import check_configured, is_local
from garrison.clients.discovery import Discovery
from garrison.clients.means import Wanted, token_source
from garrison.clients.retry_after import Timing
from garrison.clients.tokens import Token


async def discover_local_issuer(url: str, fetcher: Fetcher) -> str:
    """The issuer that the server at `url` names, if both are on this machine.

    A client's secret goes to no issuer that only a server named; on one's own machine, and with TLS by the local
    authority, the server's word is as good as the operator's.

    Raises:
        UsageError: one of them is elsewhere, so the issuer has to be said.
        GarrisonError: the server names none.
    """
    check_configured(url)
    if is_local(url):
        server = (await Discovery(fetcher, url, None, private_addresses=True).find(None)).server
        if is_local(server.issuer) and is_local(server.token_endpoint):
            return server.issuer
    raise UsageError(
        "which authorization server knows the client?",
        "Say --issuer URL (or set OAUTH_ISSUER_URL): a secret is not sent wherever a server points.",
    )


async def obtain_token(wanted: Wanted, fetcher: Fetcher, timing: Timing | None = None) -> Token:
    """A verified token for the resource at `wanted.url`. Raises `GarrisonError`."""
    source = token_source(wanted, fetcher, timing or Timing())
    if source is None:
        raise UsageError("no client to get a token for", "Give --client-id and --client-secret-file.")
    return await source.replace(None)
