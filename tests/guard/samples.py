"""What the access tokens of real products look like, and what else those products sign with the same keys.

Members and their types are those that each product documents (see docs/guard-issuers.md); the values are made up.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from garrison.guard.issuers import Issuer
from tests.guard.world import RESOURCE

TENANT, API, CLIENT = (
    "1b4c7a50-06ab-4a1e-9a5e-0f3c8c1a7d10",
    "6731de76-14a6-49ae-97bc-6eba6914391e",
    "52c2a5e1-0d3c-4c40-9d34-1d2b0f7c9a55",
)
Claims = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """One product.

    Attributes:
        issuer: as the product's constructor makes it, with the product's own address.
        header, claims: of an access token, without alg, kid, iss and times.
        client: what its client must be read as.
        scopes: what its scopes must be read as.
        others: header and claims of tokens of other kinds, which must not pass; they are merged into the ones above,
            and None takes a member away.
    """

    issuer: Issuer
    header: Claims
    claims: Claims
    client: str
    scopes: frozenset[str]
    others: Mapping[str, tuple[Claims, Claims]] = field(default_factory=dict)

    def at(self, url: str) -> Issuer:
        """The same issuer at an address that answers in a test."""
        return dataclasses.replace(self.issuer, url=url)

    @property
    def audience(self) -> str:
        return self.issuer.audience or RESOURCE

    def token_claims(self, url: str, now: float, **changes: Any) -> dict[str, Any]:
        whole = {"iss": url, "iat": int(now), "exp": int(now) + 300, **self.claims, **changes}
        return {name: value for name, value in whole.items() if value is not None}


GARRISON = Sample(
    issuer=Issuer("https://login.example"),
    header={"typ": "at+jwt"},
    claims={"sub": "alice", "client_id": "desk", "aud": RESOURCE, "scope": "customer:read", "jti": "j1"},
    client="desk",
    scopes=frozenset({"customer:read"}),
    others={"typ JWT": ({"typ": "JWT"}, {})},
)
_KEYCLOAK_CLAIMS = {
    "jti": "onrtac:4e1f5b0c-7d53-4b6e-8a2e-8d1b5d1f2c3a",
    "aud": [RESOURCE, "account"],
    "sub": "f1c4f64e-2c0c-4cda-8c9f-9f3f8f3a2b0e",
    "typ": "Bearer",
    "azp": "desk",
    "sid": "4c0a3a8a-3a47-4f2f-8e89-9e5f9b0a0a0a",
    "acr": "1",
    "allowed-origins": ["https://app.example"],
    "realm_access": {"roles": ["offline_access", "default-roles-acme"]},
    "resource_access": {"account": {"roles": ["view-profile"]}},
    "scope": "openid profile customer:read",
    "preferred_username": "alice",
}
_KEYCLOAK_OTHERS: Mapping[str, tuple[Claims, Claims]] = {
    "ID token": ({}, {"typ": "ID", "at_hash": "x", "scope": None}),
    "ID token without hashes": ({}, {"typ": "ID"}),
    "refresh token": ({}, {"typ": "Refresh"}),
    "offline token": ({}, {"typ": "Offline"}),
    "logout token": ({"typ": "logout+jwt"}, {"typ": "Logout"}),
    "old logout token": ({}, {"typ": "Logout"}),
    "DPoP token": ({}, {"typ": "DPoP", "cnf": {"jkt": "x"}}),
    "nonce": ({}, {"nonce": "n"}),
    "without client": ({}, {"azp": None, "client_id": "desk"}),
}
KEYCLOAK = Sample(
    issuer=Issuer.keycloak("https://sso.example/realms/acme"),
    header={"typ": "JWT"},
    claims=_KEYCLOAK_CLAIMS,
    client="desk",
    scopes=frozenset({"openid", "profile", "customer:read"}),
    others=_KEYCLOAK_OTHERS,
)
KEYCLOAK_AT_JWT = dataclasses.replace(KEYCLOAK, header={"typ": "at+jwt"}, others={})
ENTRA_USER = Sample(
    issuer=Issuer.entra(TENANT, audience=API),
    header={"typ": "JWT"},
    claims={
        "aud": API,
        "nbf": 1_700_000_000,
        "aio": "AXQAi/8aAAAA",
        "azp": CLIENT,
        "azpacr": "0",
        "name": "Alice",
        "oid": "9a2c2f0e-55e1-4a77-8e0b-2f3d3f7f0c11",
        "preferred_username": "alice@acme.example",
        "rh": "0.AXoA",
        "roles": ["admin"],
        "scp": "customer:read other",
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": TENANT,
        "uti": "fqiBqXLPj0eQa82S-IYFAA",
        "ver": "2.0",
    },
    client=CLIENT,
    scopes=frozenset({"customer:read", "other"}),
    others={
        "ID token of the same registration": ({}, {"nonce": "678910", "azp": None, "scp": None}),
        "ID token without nonce": ({}, {"azp": None, "azpacr": None, "scp": None}),
        "at+jwt": ({"typ": "at+jwt"}, {}),
        "without typ": ({"typ": None}, {}),
    },
)
ENTRA_APP = dataclasses.replace(
    ENTRA_USER,
    claims={**{name: value for name, value in ENTRA_USER.claims.items() if name != "scp"}, "roles": ["customer:read"]},
    scopes=frozenset({"customer:read"}),
    others={},
)
_AUTH0_CLAIMS = {
    "sub": "auth0|123456",
    "aud": [RESOURCE, "https://acme.eu.auth0.com/userinfo"],
    "azp": "my_client_id",
    "scope": "openid profile customer:read",
    "permissions": ["customer:read", "ticket:create"],
}
AUTH0 = Sample(
    issuer=Issuer.auth0("acme.eu.auth0.com"),
    header={"typ": "JWT"},
    claims=_AUTH0_CLAIMS,
    client="my_client_id",
    scopes=frozenset({"openid", "profile", "customer:read"}),
    others={
        "ID token": ({}, {"aud": "my_client_id", "nonce": "n", "azp": None, "scope": None}),
        "ID token with a foreign audience": ({}, {"nonce": "n"}),
        "no client": ({}, {"azp": None}),
        "logout token": ({}, {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
    },
)
AUTH0_RFC9068 = dataclasses.replace(
    AUTH0,
    header={"typ": "at+jwt"},
    claims={
        **{name: value for name, value in _AUTH0_CLAIMS.items() if name != "azp"},
        "client_id": "my_client_id",
        "jti": "73WakrfVbNJBaAmhQtEeDv",
    },
    others={},
)
AUTH0_PERMISSIONS = dataclasses.replace(
    AUTH0,
    issuer=Issuer.auth0("acme.eu.auth0.com", permissions=True),
    scopes=frozenset({"customer:read", "ticket:create"}),
    others={},
)
OKTA = Sample(
    issuer=Issuer.okta("https://acme.okta.com/oauth2/default"),
    header={},
    claims={
        "ver": 1,
        "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
        "aud": "api://default",
        "sub": "alice@acme.example",
        "cid": "0oabv6kx4qq6h1U5l0h7",
        "uid": "00ujmukNjnHdLVMLA0h7",
        "scp": ["openid", "customer:read"],
    },
    client="0oabv6kx4qq6h1U5l0h7",
    scopes=frozenset({"openid", "customer:read"}),
    others={
        "ID token": ({}, {"aud": "0oabv6kx4qq6h1U5l0h7", "at_hash": "x", "cid": None, "scp": None}),
        "ID token of an audience like the API's": ({}, {"cid": None, "scp": None}),
        "ID token with its hash": ({}, {"at_hash": "x"}),
        "another kind": ({"typ": "JWT"}, {}),
    },
)
SAMPLES: Mapping[str, Sample] = {
    "Garrison": GARRISON,
    "Keycloak": KEYCLOAK,
    "Keycloak, at+jwt": KEYCLOAK_AT_JWT,
    "Entra, a user": ENTRA_USER,
    "Entra, an app": ENTRA_APP,
    "Auth0": AUTH0,
    "Auth0, RFC 9068": AUTH0_RFC9068,
    "Auth0, permissions": AUTH0_PERMISSIONS,
    "Okta": OKTA,
}
