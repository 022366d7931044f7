"""A person at a browser, as far as the walk needs one: opens a page, fills its form in, follows redirects by hand."""

from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx2

from garrison.base.errors import GarrisonError

MAX_STEPS = 8
_REDIRECTS = frozenset({302, 303})
_OK = 200


class Form(HTMLParser):
    """The first form of a page: its action, its fields with their values, and its submit buttons in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []
        self._state = "before"
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form" and self._state == "before":
            self._state, self.action = "inside", attributes.get("action", "")
        elif self._state == "inside" and tag == "input" and attributes.get("name"):
            if attributes.get("type") not in {"checkbox", "radio"} or "checked" in attributes:
                self.fields[attributes["name"]] = attributes.get("value", "")
        elif self._state == "inside" and tag == "button" and attributes.get("name"):
            self.buttons.append((attributes["name"], attributes.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._state == "inside":
            self._state = "after"


async def sign_in_and_consent(
    http: httpx2.AsyncClient, authorization_url: str, redirect_uri: str, credentials: Mapping[str, str]
) -> str:
    """Walk from `authorization_url` through the login and consent pages, and return the URL that leads to the client.

    Args:
        http: keeps the cookies, follows no redirects.
        authorization_url: where the client sent the browser.
        redirect_uri: where the walk ends.
        credentials: what the person types: username and password.

    Raises:
        GarrisonError: the pages led elsewhere.
    """
    url, response = authorization_url, await http.get(authorization_url)
    for _ in range(MAX_STEPS):
        if response.status_code in _REDIRECTS:
            url = urljoin(url, response.headers["location"])
            if url.startswith(redirect_uri):
                return url
            response = await http.get(url)
        elif response.status_code == _OK:
            form = Form(response.text)
            url = urljoin(url, form.action)
            response = await http.post(url, data=_filled_in(form, credentials))
        else:
            break
    raise GarrisonError(f"signing in ended at {url.partition('?')[0]} with status {response.status_code}")


def _filled_in(form: Form, credentials: Mapping[str, str]) -> dict[str, str]:
    """The form as the person sends it: known fields typed in, and the last button pressed, which says yes."""
    typed = {name: credentials.get(name, value) for name, value in form.fields.items()}
    return {**typed, **dict(form.buttons[-1:])}
