"""The guard refuses to start with settings that would leave something open."""

from typing import Any

import pytest

from garrison.base.errors import UsageError
from garrison.guard.policy import Policy
from garrison.limits.limiter import Limiter
from garrison.limits.settings import LimitSettings
from tests.guard.world import World


@pytest.mark.parametrize(
    "changes",
    [
        {"resource": ""},
        {"resource": "localhost:8000/mcp"},
        {"resource": "ftp://localhost/mcp"},
        {"resource": "http://localhost:8000/mcp#x"},
        {"resource": "http://user@localhost:8000/mcp"},
        {"resource": "http://localhost:8000/mcp?tenant=1"},
        {"resource": "http://api.example/mcp"},
        {"resource": "http://192.0.2.7/mcp"},
        {"issuer": ""},
        {"issuer": []},
        {"issuer": ["https://as.example", ""]},
        {"issuer": "http://as.example"},
        {"issuer": "as.example"},
        {"issuer": "ftp://as.example"},
        {"issuer": "https:///tenant"},
        {"issuer": "https://as.example/#x"},
        {"issuer": "https://as.example/?x=1"},
        {"secret": b""},
        {"secret": bytes(31)},
        {"allowed_hosts": "proxy.example"},
        {"allowed_hosts": ["*"]},
        {"allowed_origins": "https://app.example"},
        {"allowed_origins": ["https://*.example"]},
        {"policy": Policy()},
    ],
    ids=str,
)
async def test_the_guard_refuses_to_start_unsafely(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        world.guard(**changes)


async def test_a_limit_of_a_tool_that_the_policy_does_not_name_is_refused(world: World) -> None:
    with pytest.raises(UsageError, match="get_customer_inf") as caught:
        world.guard(limiter=Limiter(LimitSettings(tools={"get_customer_inf": 1})))
    assert "get_customer_info" in caught.value.hint


async def test_plain_http_off_loopback_takes_an_explicit_switch(world: World) -> None:
    world.guard(resource="http://api.example/mcp", insecure_http_off_loopback=True)


@pytest.mark.parametrize("resource", ["http://127.0.0.1:8000/mcp", "http://[::1]/mcp", "https://api.example/mcp"])
async def test_https_and_plain_http_on_loopback_take_no_switch(world: World, resource: str) -> None:
    world.guard(resource=resource, issuer="https://as.example/tenant")


async def test_an_unknown_kind_of_connection_is_an_error(world: World) -> None:
    with pytest.raises(ValueError, match="lets nothing through"):
        await world.guard()({"type": "quic"}, None, None)  # type: ignore[arg-type]  # never used
