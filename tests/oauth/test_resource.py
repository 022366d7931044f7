"""RFC 8707 §2."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.oauth import resource
from garrison.oauth.errors import InvalidTarget


@pytest.mark.parametrize(
    "uri",
    [
        "https://mcp.example.com/mcp",
        "https://mcp.example.com",
        "https://mcp.example.com:8443/",
        "http://localhost:8000/mcp",
        "https://mcp.example.com/mcp?tenant=1",
        "https://[::1]:8443/mcp",
    ],
)
def test_an_absolute_http_uri_names_a_resource_and_is_kept_as_it_is(uri: str) -> None:
    assert resource.check(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "mcp.example.com",
        "/mcp",
        "//mcp.example.com/mcp",
        "https:///mcp",
        "https://mcp.example.com/mcp#",
        "https://mcp.example.com/mcp#part",
        "https://user@mcp.example.com/mcp",
        "https://user:word@mcp.example.com/mcp",
        "urn:example:mcp",
        "file:///etc/passwd",
        "file://mcp.example.com/etc/passwd",
        "ftp://mcp.example.com/mcp",
        "javascript:alert(1)",
        "https://mcp.example.com:99999/",
        "https://mcp.example.com:x/",
        "https://[::1/",
        "https://mcp.example.com/ mcp",
        "https://mcp.example.com/\nmcp",
        " https://mcp.example.com/mcp",
        "https://mcp.exämple.com/mcp",
    ],
)
def test_anything_else_is_an_invalid_target(uri: str) -> None:
    with pytest.raises(InvalidTarget):
        resource.check(uri)


@given(st.text())
def test_any_text_is_accepted_unchanged_or_an_invalid_target(text: str) -> None:
    with suppress(InvalidTarget):
        assert resource.check(text) == text


def test_one_trailing_slash_makes_no_other_resource() -> None:
    assert resource.same("https://a.example/mcp", "https://a.example/mcp/")
    assert resource.same("https://a.example/", "https://a.example")


@pytest.mark.parametrize(
    "other",
    [
        "https://a.example/mcp//",
        "https://a.example/MCP",
        "https://A.example/mcp",
        "http://a.example/mcp",
        "https://a.example:443/mcp",
        "https://a.example/mcp2",
        "https://a.example/",
        "https://b.example/mcp",
        "https://a.example/mcp?x",
    ],
)
def test_every_other_difference_makes_another_resource(other: str) -> None:
    assert not resource.same("https://a.example/mcp", other)
