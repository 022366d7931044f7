"""Where an issuer says that it can be asked (RFC 8414, OpenID Connect Discovery)."""

from garrison.base.errors import FetchError
from garrison.base.fetch import Fetcher
from garrison.oauth import server_metadata
from garrison.oauth.errors import MetadataError
from garrison.oauth.server_metadata import ServerMetadata


async def discover(fetcher: Fetcher, issuer: str) -> ServerMetadata:
    """From the first of the issuer's well-known places that answers; another issuer's document ends the search.

    Raises:
        MetadataError: none answers, or what was found can't be believed.
    """
    failure = MetadataError(f"no metadata of {issuer} was found")
    for url in server_metadata.well_known_urls(issuer):
        try:
            document = await fetcher.get_json(url)
        except FetchError as error:
            failure = MetadataError(str(error))
            continue
        return server_metadata.check(document, issuer)
    raise failure
