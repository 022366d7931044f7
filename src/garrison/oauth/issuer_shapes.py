"""The access tokens of well-known products, where they differ from RFC 9068's.

What each product writes is its documentation's word (docs/guard-issuers.md). A shape says how to read a token whose
signature holds; it opens no way around that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from garrison.oauth.access_token import ALGORITHMS
from garrison.oauth.token_claims import RFC9068, TYPE, TokenShape


@dataclass(frozen=True, slots=True)
class IssuerShape:
    """How a product's issuers write and sign their access tokens.

    Attributes:
        tokens: which they are, and where scopes and the client are in them.
        algorithms: what they are signed by.
        prefixed_scopes: whether clients ask for `https://api.example/orders:read` and tokens say `orders:read`.
    """

    tokens: TokenShape = RFC9068
    algorithms: Sequence[str] = ALGORITHMS
    prefixed_scopes: bool = False

    def granted(self, scopes: frozenset[str], asked: frozenset[str]) -> frozenset[str]:
        """`scopes` of a token, and those of `asked` that it names without their prefix."""
        if not self.prefixed_scopes:
            return scopes
        return scopes | {scope for scope in asked if scope.rpartition("/")[2] in scopes}


ISSUER_SHAPES: Mapping[str, IssuerShape] = {
    "rfc9068": IssuerShape(),
    "keycloak": IssuerShape(
        TokenShape(types=(TYPE, "jwt"), client_id_claims=("azp",)), algorithms=(*ALGORITHMS, "PS256")
    ),
    "entra": IssuerShape(
        TokenShape(types=("jwt",), scope_claims=("scp", "roles"), client_id_claims=("azp",)),
        algorithms=("RS256",),
        prefixed_scopes=True,
    ),
    "auth0": IssuerShape(TokenShape(types=(TYPE, "jwt"), client_id_claims=("client_id", "azp"))),
    "okta": IssuerShape(
        TokenShape(absent_type=True, scope_claims=("scp",), client_id_claims=("cid",)), algorithms=("RS256",)
    ),
}
"""By the names that `connect(issuer_shape=…)` and `--issuer-shape` take."""
