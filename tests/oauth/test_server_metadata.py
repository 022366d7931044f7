"""RFC 8414 §3, in the order of the MCP specification."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.oauth import server_metadata
from garrison.oauth.errors import MetadataError

ISSUER = "https://as.example"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)

PLACES = {
    "https://example.com": (
        "https://example.com/.well-known/oauth-authorization-server",
        "https://example.com/.well-known/openid-configuration",
    ),
    "https://example.com/": (
        "https://example.com/.well-known/oauth-authorization-server",
        "https://example.com/.well-known/openid-configuration",
    ),
    "https://example.com/issuer1": (  # RFC 8414 §3.1's own example
        "https://example.com/.well-known/oauth-authorization-server/issuer1",
        "https://example.com/.well-known/openid-configuration/issuer1",
        "https://example.com/issuer1/.well-known/openid-configuration",
    ),
    "https://example.com:8443/a/b/": (  # §3.1: a terminating slash is removed
        "https://example.com:8443/.well-known/oauth-authorization-server/a/b",
        "https://example.com:8443/.well-known/openid-configuration/a/b",
        "https://example.com:8443/a/b/.well-known/openid-configuration",
    ),
}


@pytest.mark.parametrize(("issuer", "urls"), PLACES.items())
def test_metadata_is_looked_for_where_section_3_1_says(issuer: str, urls: tuple[str, ...]) -> None:
    assert server_metadata.well_known_urls(issuer) == urls
    origin = issuer[: issuer.index("/", 8)] if "/" in issuer[8:] else issuer
    assert tuple(origin + path for path in server_metadata.well_known_paths(issuer)) == urls


def test_a_whole_document_is_read() -> None:
    document = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "jwks_uri": f"{ISSUER}/jwks",
        "revocation_endpoint": f"{ISSUER}/revoke",
        "registration_endpoint": f"{ISSUER}/register",
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "authorization_response_iss_parameter_supported": True,
        "something_else": 1,
    }
    metadata = server_metadata.check(document, ISSUER)
    assert metadata.authorization_endpoint == f"{ISSUER}/authorize"
    assert metadata.token_endpoint == f"{ISSUER}/token"
    assert metadata.jwks_uri == f"{ISSUER}/jwks"
    assert metadata.revocation_endpoint == f"{ISSUER}/revoke"
    assert metadata.registration_endpoint == f"{ISSUER}/register"
    assert metadata.code_challenge_methods == ("S256",)
    assert metadata.token_endpoint_auth_methods == ("none", "private_key_jwt")
    assert metadata.iss_parameter_supported
    assert metadata.document is document


def test_what_is_absent_has_the_defaults_of_section_2() -> None:
    metadata = server_metadata.check({"issuer": ISSUER}, ISSUER)
    assert metadata.token_endpoint_auth_methods == ("client_secret_basic",)
    assert metadata.code_challenge_methods == ()
    assert metadata.token_endpoint == ""
    assert not metadata.iss_parameter_supported


@pytest.mark.parametrize(
    "said", [f"{ISSUER}/", "https://AS.example", "http://as.example", "https://evil.example", None, [ISSUER]]
)
def test_the_document_of_another_issuer_is_not_used(said: Any) -> None:
    with pytest.raises(MetadataError, match="another issuer"):
        server_metadata.check({"issuer": said, "token_endpoint": f"{ISSUER}/token"}, ISSUER)


@pytest.mark.parametrize("document", [None, [], "x", 1, [{"issuer": ISSUER}]])
def test_what_is_no_json_object_is_no_metadata(document: Any) -> None:
    with pytest.raises(MetadataError, match="JSON object"):
        server_metadata.check(document, ISSUER)


@pytest.mark.parametrize(
    "member",
    [
        {"token_endpoint": 1},
        {"jwks_uri": None},
        {"authorization_endpoint": ["https://as.example"]},
        {"code_challenge_methods_supported": "S256"},
        {"code_challenge_methods_supported": [1]},
        {"token_endpoint_auth_methods_supported": {}},
    ],
)
def test_a_member_of_another_type_spoils_the_document(member: dict[str, Any]) -> None:
    with pytest.raises(MetadataError):
        server_metadata.check({"issuer": ISSUER, **member}, ISSUER)


@pytest.mark.parametrize("said", [1, "true", [True], None])
def test_iss_in_the_answer_is_promised_by_true_alone(said: Any) -> None:
    document = {"issuer": ISSUER, "authorization_response_iss_parameter_supported": said}
    assert not server_metadata.check(document, ISSUER).iss_parameter_supported


MEMBERS = st.sampled_from(["token_endpoint", "jwks_uri", "code_challenge_methods_supported", "x"])


@given(json_values | st.dictionaries(MEMBERS, json_values).map(lambda d: {**d, "issuer": ISSUER}))
def test_any_json_is_metadata_or_a_metadata_error(document: Any) -> None:
    with suppress(MetadataError):
        assert server_metadata.check(document, ISSUER).issuer == ISSUER
