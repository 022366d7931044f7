"""RFC 6749 §2.3.1: client_secret_basic, where id and secret are form-encoded before they are put into Basic."""

from base64 import b64decode, b64encode
from urllib.parse import quote_plus

from garrison.oauth.errors import InvalidClient
from garrison.oauth.form_encoding import decoded


def parse_basic(header: str) -> tuple[str, str]:
    """client_id and client_secret of an Authorization header.

    Raises:
        InvalidClient: it isn't Basic credentials.
    """
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("the Authorization header must be Basic")
    try:
        encoded, colon, encoded_secret = b64decode(credentials.strip(), validate=True).decode("utf-8").partition(":")
        client_id, client_secret = decoded(encoded), decoded(encoded_secret)
    except ValueError as error:  # not base64, not ASCII, not UTF-8
        raise InvalidClient("the Basic credentials are malformed") from error
    together = client_id + client_secret
    if not colon or not client_id or not together.isascii() or not together.isprintable():  # appendix A.1, A.2
        raise InvalidClient("the Basic credentials are malformed")
    return client_id, client_secret


def render_basic(client_id: str, client_secret: str) -> str:
    pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return "Basic " + b64encode(pair.encode("ascii")).decode("ascii")
