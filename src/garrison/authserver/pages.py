"""The pages for people: Jinja2 with autoescape, one stylesheet, and the headers that keep them unframed.

Two of them, where passkeys are used, load one file of script; no other has any.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse, Response

from garrison.authserver.context import Exchange

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent / "templates"
_STYLE = (_FOLDER / "style.css").read_bytes()
_STYLE_VERSION = sha256(_STYLE).hexdigest()[:12]
_SCRIPT = (_FOLDER / "passkey.js").read_bytes()
_SCRIPT_VERSION = sha256(_SCRIPT).hexdigest()[:12]
_KEPT = {"Cache-Control": "public, max-age=86400, immutable"}


def page(
    exchange: Exchange,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    redirect_uri: str | None = None,
    scripted: bool = False,
    **values: Any,
) -> Response:
    """`template` rendered; `redirect_uri` is where its forms may lead in the end; `scripted` lets passkey.js in."""
    path = exchange.settings.path
    html = (
        _environment()
        .get_template(template)
        .render(
            path=path,
            style=f"{path}/style.css?{_STYLE_VERSION}",
            script=f"{path}/passkey.js?{_SCRIPT_VERSION}" if scripted else "",
            **values,
        )
    )
    policy = {"Content-Security-Policy": content_security_policy(redirect_uri, scripted=scripted)}
    return HTMLResponse(html, status_code=status, headers={**(headers or {}), **policy})


@cache
def _environment() -> "Environment":
    """Made for the first page: an authorization server that talks to programs alone shows none, and starts quicker."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


async def style(_exchange: Exchange) -> Response:
    return Response(_STYLE, media_type="text/css", headers=_KEPT)


async def passkey_script(_exchange: Exchange) -> Response:
    return Response(_SCRIPT, media_type="text/javascript", headers=_KEPT)


def content_security_policy(redirect_uri: str | None, *, scripted: bool = False) -> str:
    """Nothing but our stylesheet, our forms, and our script on the pages that need it; never any script in a page.

    Chromium holds form-action against every redirect that follows a form, so the one to the client has to be allowed
    on each page whose form can end there.
    """
    target = f" {_source(redirect_uri)}" if redirect_uri else ""
    sources = "style-src 'self'; script-src 'self'" if scripted else "style-src 'self'"
    return f"default-src 'none'; {sources}; base-uri 'none'; frame-ancestors 'none'; form-action 'self'{target}"


def _source(redirect_uri: str) -> str:
    """The CSP source expression (CSP 3 §2.3.1) for a registered redirect URI's origin."""
    parts = urlsplit(redirect_uri)
    host = parts.hostname or ""
    if not host or not host.replace("-", "").replace(".", "").isalnum():
        return f"{parts.scheme}:"  # a private scheme, or an IPv6 address, for which CSP has no expression
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}"


def client_host(client_id: str) -> str:
    """The host of a client whose client_id is the URL of its metadata document."""
    return urlsplit(client_id).netloc


def described(exchange: Exchange, scopes: frozenset[str]) -> list[tuple[str, str]]:
    """Each scope with what it allows in plain words, if anybody has said so."""
    return [(name, exchange.settings.scope_descriptions.get(name, "")) for name in sorted(scopes)]


def redirect_host(redirect_uri: str) -> str:
    """Where a redirect goes, for people: its host, or the whole private scheme."""
    parts = urlsplit(redirect_uri)
    return parts.netloc or f"{parts.scheme}:"


def moment(seconds: float) -> tuple[str, str]:
    """A time for programs, and for people: there is no script that could know their time zone."""
    found = datetime.fromtimestamp(seconds, UTC)
    return found.strftime("%Y-%m-%dT%H:%MZ"), f"{found.day} {found.strftime('%B %Y, %H:%M')} UTC"
