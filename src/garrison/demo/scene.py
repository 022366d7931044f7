"""What the steps of the walk share: installation, addresses, a client that trusts the local CA, what was learnt."""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from garrison.base.errors import GarrisonError
from garrison.demo.system import Addresses
from garrison.home import Home


@dataclass
class Scene:
    """One walk's surroundings.

    Attributes:
        trust: the TLS context that knows the local CA.
        http: a client with that context; it follows no redirects.
        show: prints a line of detail for the person who watches.
        restart: stops both servers and starts them again on the same addresses and state folder.
        database_url: the authorization server's database.
        learnt: what earlier steps found and later ones build on: documents, tokens, a ticket.
    """

    home: Home
    at: Addresses
    trust: ssl.SSLContext
    http: httpx2.AsyncClient
    show: Callable[[str], None]
    restart: Callable[[], Awaitable[None]]
    database_url: str = field(repr=False)
    learnt: dict[str, Any] = field(default_factory=dict)

    def known(self, name: str) -> Any:
        """What an earlier step learnt. Raises `GarrisonError` if that step failed."""
        if name not in self.learnt:
            raise GarrisonError(f"an earlier step did not get its {name.replace('_', ' ')}")
        return self.learnt[name]

    @property
    def client(self) -> Mapping[str, Any]:
        return self.home.read_credentials(self.home.client)

    @property
    def user(self) -> Mapping[str, Any]:
        return self.home.read_credentials(self.home.user)


Step = Callable[[Scene], Awaitable[str]]
"""Does one thing and returns what was seen, in one line. Raises when it isn't what should be seen."""


def expect(condition: object, otherwise: str) -> None:
    """Raises `GarrisonError` with `otherwise` unless `condition` holds."""
    if not condition:
        raise GarrisonError(otherwise)


def expect_status(response: httpx2.Response, status: int) -> None:
    expect(response.status_code == status, f"expected HTTP {status}, got {response.status_code}: {response.text[:200]}")
