import ssl
from collections.abc import AsyncIterator, Iterator

import pytest

from garrison.base.fetch import Fetcher
from tests.guard.world import IssuerHost, World


@pytest.fixture(scope="session")
def ssl_context() -> ssl.SSLContext:
    """One for all: loading authorities is slow, and no test here speaks TLS."""
    return ssl.create_default_context()


@pytest.fixture(scope="session")
def issuer_host() -> Iterator[IssuerHost]:
    host = IssuerHost()
    yield host
    host.close()


@pytest.fixture
async def world(ssl_context: ssl.SSLContext, issuer_host: IssuerHost) -> AsyncIterator[World]:
    async with Fetcher(ssl_context, private_addresses=True) as fetcher:
        world = World(issuer_host, issuer_host.new_issuer(), fetcher)
        yield world
        if world.issuer.held:
            world.issuer.held.set()  # a test that failed must not keep the host from ending
