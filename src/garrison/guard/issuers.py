"""Whose access tokens are believed, and what they look like: RFC 9068's by default, a product's where it differs.

    Issuer("https://login.example")                                     # the strict default; a plain text means this
    Issuer.keycloak("https://sso.example/realms/acme")
    Issuer.entra("72f988bf-86f1-41af-91ab-2d7cd011db47", audience="6731de76-14a6-49ae-97bc-6eba6914391e")
    Issuer.auth0("acme.eu.auth0.com", audience="https://mcp.example/mcp")
    Issuer.okta("https://acme.okta.com/oauth2/default", audience="api://default")

What each product writes is its documentation's word: see docs/guard-issuers.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from garrison.base.errors import UsageError
from garrison.oauth.access_token import ALGORITHMS
from garrison.oauth.token_claims import TYPE, TokenShape

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")


@dataclass(frozen=True, slots=True)
class Introspection:
    """The guard's account for asking an issuer about tokens (RFC 7662), by client_secret_basic.

    Args:
        client_id, client_secret: what the issuer knows the guard by.
        endpoint: where to ask; by default what the issuer's metadata names.
        opaque: whether tokens that are no JWTs are asked about. One issuer at the most can have these, as such a token
            doesn't say whose it is, and it is nobody else's business.
        insecure_answers_without_audience_are_believed: an opaque token whose answer has no `aud` passes. Then every
            token of that issuer opens this server, whatever it was issued for.
    """

    client_id: str
    client_secret: str = field(repr=False)
    endpoint: str | None = None
    opaque: bool = True
    insecure_answers_without_audience_are_believed: bool = False


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authorization server whose access tokens are believed.

    Args:
        url: the exact string that it calls itself (`iss`); its metadata and keys are found from there.
        audience: what must be in `aud`; by default the guard's resource.
        token_types: accepted `typ` headers of JWTs, in any case, with or without `application/`. Where others than
            `at+jwt` are accepted, the claims too must be none of an ID token or a refresh token.
        absent_type_accepted: whether a JWT without `typ` is looked at.
        algorithms: accepted signatures, asymmetric ones only.
        scope_claims: where the scopes are; of several, the first that a token has.
        client_id_claims: where the client's id is; of several, the first that a token has.
        scope_prefix: what clients write before a scope when they ask for it, but tokens don't have.
        jwks_uri: where the keys are, for an issuer that publishes no metadata.
        introspection: if given, every token is asked about too, so that one that was revoked is refused within
            `REVOKED_WITHIN` seconds.
    """

    url: str
    audience: str | None = None
    token_types: Sequence[str] = (TYPE,)
    absent_type_accepted: bool = False
    algorithms: Sequence[str] = ALGORITHMS
    scope_claims: Sequence[str] = ("scope",)
    client_id_claims: Sequence[str] = ("client_id",)
    scope_prefix: str = ""
    jwks_uri: str | None = None
    introspection: Introspection | None = None

    @classmethod
    def of(cls, issuer: "str | Issuer") -> "Issuer":
        return cls(issuer) if isinstance(issuer, str) else issuer

    def shape(self) -> TokenShape:
        return TokenShape(
            types=tuple(name.lower().removeprefix("application/") for name in self.token_types),
            absent_type=self.absent_type_accepted,
            scope_claims=tuple(self.scope_claims),
            client_id_claims=tuple(self.client_id_claims),
        )

    @classmethod
    def keycloak(cls, url: str, *, audience: str | None = None, introspection: Introspection | None = None) -> Self:
        """A Keycloak realm.

        Its access tokens are `typ: JWT`, or `at+jwt` where a client is set so, and name the client in `azp`.

        Args:
            url: the realm's, as in https://sso.example/realms/acme.
            audience: what an audience mapper puts into `aud`; Keycloak puts nothing there for your server by itself.
            introspection: the guard's account, whose client id must be in `aud` too (from Keycloak 26.6.2 on).
        """
        return cls(
            url,
            audience=audience,
            token_types=(TYPE, "JWT"),
            algorithms=(*ALGORITHMS, "PS256"),
            client_id_claims=("azp",),
            introspection=introspection,
        )

    @classmethod
    def entra(cls, tenant_id: str, *, audience: str, scope_prefix: str | None = None) -> Self:
        """A tenant of Microsoft Entra ID, with access tokens of version 2.0.

        `typ` is `JWT`, the client stands in `azp`, and scopes in `scp` for a user or `roles` for an app on its own.

        Args:
            tenant_id: the directory's GUID. `common` and the like are no issuers: anybody with an account would be one.
            audience: the application (client) ID of your API, a GUID.
            scope_prefix: the API's Application ID URI and a slash; by default `api://`, the audience and a slash.

        Raises:
            UsageError: either is no GUID.
        """
        tenant_id = tenant_id.lower()
        if not _GUID.fullmatch(tenant_id):
            raise UsageError(
                f"The Entra tenant {tenant_id!r} is no GUID.", "Give the Directory (tenant) ID of the app registration."
            )
        if not _GUID.fullmatch(audience.lower()):
            raise UsageError(
                f"The Entra audience {audience!r} is no GUID.",
                "Give the Application (client) ID of the API: tokens of version 2.0 have that as their aud.",
            )
        return cls(
            f"https://login.microsoftonline.com/{tenant_id}/v2.0",
            audience=audience,
            token_types=("JWT",),
            algorithms=("RS256",),
            scope_claims=("scp", "roles"),
            client_id_claims=("azp",),
            scope_prefix=f"api://{audience}/" if scope_prefix is None else scope_prefix,
        )

    @classmethod
    def auth0(cls, domain: str, *, audience: str | None = None, permissions: bool = False) -> Self:
        """A tenant of Auth0, with either of its access-token profiles.

        `typ` is `JWT` with the client in `azp`, or, with the RFC 9068 profile, `at+jwt` with `client_id`.

        Args:
            domain: the tenant's or your custom one, as in acme.eu.auth0.com.
            audience: the API's identifier.
            permissions: whether scopes are taken from `permissions` (the user's, by RBAC) instead of `scope` (what the
                client was granted of these).

        Raises:
            UsageError: `domain` is an address and no domain.
        """
        domain = domain.lower()
        if not _DOMAIN.fullmatch(domain):
            raise UsageError(f"The Auth0 domain {domain!r} is none.", "Give it without https:// and slashes.")
        return cls(
            f"https://{domain}/",
            audience=audience,
            token_types=(TYPE, "JWT"),
            scope_claims=("permissions",) if permissions else ("scope",),
            client_id_claims=("client_id", "azp"),
        )

    @classmethod
    def okta(cls, url: str, *, audience: str = "api://default", introspection: Introspection | None = None) -> Self:
        """A custom authorization server of Okta. (The tokens of an org's own one are for Okta alone.)

        Its access tokens have no `typ`, scopes as a list in `scp`, and the client in `cid`.

        Args:
            url: its issuer, as in https://acme.okta.com/oauth2/default.
            audience: as set for that authorization server.
            introspection: the guard's account.

        Raises:
            UsageError: `url` is the org's.
        """
        if "/oauth2/" not in url:
            raise UsageError(
                f"{url} is no custom authorization server of Okta.", "Its issuer has /oauth2/ and a name in its path."
            )
        return cls(
            url,
            audience=audience,
            token_types=(TYPE,),
            absent_type_accepted=True,
            algorithms=("RS256",),
            scope_claims=("scp",),
            client_id_claims=("cid",),
            introspection=introspection,
        )


def common_scope_prefix(issuers: Sequence[Issuer]) -> str:
    """What a stranger, of whom nobody knows yet which issuer is theirs, is told to write before scopes."""
    prefixes = {issuer.scope_prefix for issuer in issuers}
    return prefixes.pop() if len(prefixes) == 1 else ""
