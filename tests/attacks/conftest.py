"""The world of tests/guard, for attacks on it."""

from tests.guard.conftest import issuer_host, ssl_context, world

__all__ = ["issuer_host", "ssl_context", "world"]
