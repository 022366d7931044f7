"""RFC 9728 §2, §3."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.oauth import resource_metadata
from garrison.oauth.errors import MetadataError
from garrison.oauth.resource_metadata import ResourceMetadata

URL = "https://mcp.example/mcp"
AS = "https://as.example"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)

PLACES = {
    "https://resource.example.com": ("https://resource.example.com/.well-known/oauth-protected-resource",),
    "https://resource.example.com/": ("https://resource.example.com/.well-known/oauth-protected-resource",),
    "https://resource.example.com/resource1": (  # RFC 9728 §3.1's own example
        "https://resource.example.com/.well-known/oauth-protected-resource/resource1",
        "https://resource.example.com/.well-known/oauth-protected-resource",
    ),
    "https://localhost:8001/mcp/": (
        "https://localhost:8001/.well-known/oauth-protected-resource/mcp",
        "https://localhost:8001/.well-known/oauth-protected-resource",
    ),
}


@pytest.mark.parametrize(("resource", "urls"), PLACES.items())
def test_metadata_is_looked_for_where_section_3_1_says_then_at_the_root(resource: str, urls: tuple[str, ...]) -> None:
    assert resource_metadata.well_known_urls(resource) == urls
    assert all(url.endswith(path) for url, path in zip(urls, resource_metadata.well_known_paths(resource), strict=True))


def test_the_document_names_the_resource_its_servers_and_the_header_as_the_only_place_of_a_token() -> None:
    assert resource_metadata.document(URL, [AS], {"b", "a"}) == {
        "resource": URL,
        "authorization_servers": [AS],
        "scopes_supported": ["a", "b"],
        "bearer_methods_supported": ["header"],
    }


def test_the_document_is_accepted_by_its_own_reader() -> None:
    read = resource_metadata.check(resource_metadata.document(URL, [AS], ["b", "a"]), URL)
    assert read == ResourceMetadata(URL, (AS,), ("a", "b"))


@pytest.mark.parametrize(
    "resource", [URL, URL + "/", "https://mcp.example", "https://mcp.example/"], ids=["same", "slash", "origin", "root"]
)
def test_the_resource_may_be_the_url_or_contain_it(resource: str) -> None:
    assert resource_metadata.check({"resource": resource, "authorization_servers": [AS]}, URL).resource == resource


@pytest.mark.parametrize(
    "resource",
    [
        "https://evil.example/mcp",
        "https://mcp.example.evil.example/mcp",
        "https://evil.example@mcp.example/mcp",
        "http://mcp.example/mcp",
        "https://mcp.example:8443/mcp",
        "https://mcp.example/mc",
        "https://mcp.example/mcp2",
        "https://mcp.example/mcp/deeper",
        "https://mcp.example/mcp?x=1",
        "https://mcp.example/mcp#x",
        "https://[mcp.example/mcp",
        "",
    ],
)
def test_the_metadata_of_another_resource_is_not_used(resource: str) -> None:
    with pytest.raises(MetadataError, match="another resource"):
        resource_metadata.check({"resource": resource, "authorization_servers": [AS]}, URL)


@pytest.mark.parametrize("servers", [None, [], {}, AS, [AS, 1], [None]])
def test_metadata_without_authorization_servers_is_refused(servers: Any) -> None:
    with pytest.raises(MetadataError, match="no authorization server"):
        resource_metadata.check({"resource": URL, "authorization_servers": servers}, URL)


@pytest.mark.parametrize("metadata", [None, [], "x", {}, {"resource": 1}, {"resource": None}])
def test_what_has_no_resource_is_no_metadata(metadata: Any) -> None:
    with pytest.raises(MetadataError, match="JSON object with a resource"):
        resource_metadata.check(metadata, URL)


@pytest.mark.parametrize(("scopes", "read"), [(None, ()), ("a b", ()), (["a", 1, "b"], ("a", "b")), ({}, ())])
def test_scopes_are_a_hint_and_read_as_far_as_they_are_one(scopes: Any, read: tuple[str, ...]) -> None:
    metadata = {"resource": URL, "authorization_servers": [AS], "scopes_supported": scopes}
    assert resource_metadata.check(metadata, URL).scopes_supported == read


@given(
    json_values
    | json_values.map(lambda v: {"resource": URL, "authorization_servers": v})
    | st.text().map(lambda v: {"resource": v})
)
def test_any_json_is_metadata_or_a_metadata_error(metadata: Any) -> None:
    with suppress(MetadataError):
        assert resource_metadata.check(metadata, URL).authorization_servers
