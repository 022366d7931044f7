"""RFC 8414 metadata, OpenID Connect's address for it, the key set (RFC 7517), health: only what works is advertised."""

from starlette.responses import JSONResponse, Response

from garrison.authserver.context import Exchange
from garrison.authserver.key_schedule import JWKS_MAX_AGE
from garrison.authserver.records import METHODS
from garrison.authserver.token import GRANTS
from garrison.oauth import client_assertion, jwks, pkce

_FRESH = {"Cache-Control": f"public, max-age={JWKS_MAX_AGE}"}


async def endpoint(exchange: Exchange) -> Response:
    settings = exchange.settings
    document = {
        "issuer": settings.issuer,
        "authorization_endpoint": settings.url("/authorize"),
        "token_endpoint": settings.url("/token"),
        "revocation_endpoint": settings.url("/revoke"),
        "introspection_endpoint": settings.url("/introspect"),
        "jwks_uri": settings.url("/jwks"),
        "scopes_supported": sorted(frozenset().union(*settings.resources.values())),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANTS),
        "token_endpoint_auth_methods_supported": list(METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(client_assertion.ALGORITHMS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(client_assertion.ALGORITHMS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(client_assertion.ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "introspection_endpoint_auth_methods_supported": [method for method in METHODS if method != "none"],
        "code_challenge_methods_supported": [pkce.METHOD],
        "client_id_metadata_document_supported": settings.client_documents,
        "authorization_response_iss_parameter_supported": True,
        "protected_resources": sorted(settings.resources),
    }
    if settings.registration:
        document["registration_endpoint"] = settings.url("/register")
    return JSONResponse(document, headers=_FRESH)


async def health(exchange: Exchange) -> Response:
    """200 while the database answers, else 503."""
    await exchange.store.ping()
    return JSONResponse({"status": "ok"})


async def key_set(exchange: Exchange) -> Response:
    return JSONResponse(jwks.public_set(exchange.server.keys.published(exchange.now)), headers=_FRESH)
