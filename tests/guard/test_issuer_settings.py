"""An issuer is described exactly, and the guard refuses to start with a description that would believe too much."""

import logging
from typing import Any

import pytest

from garrison.base.errors import UsageError
from garrison.guard.issuers import Introspection, Issuer
from tests.guard.samples import API, TENANT
from tests.guard.world import World


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        (Issuer.keycloak("https://sso.example/realms/acme"), "https://sso.example/realms/acme"),
        (Issuer.entra(TENANT.upper(), audience=API), f"https://login.microsoftonline.com/{TENANT}/v2.0"),
        (Issuer.auth0("Acme.eu.auth0.com"), "https://acme.eu.auth0.com/"),
        (Issuer.okta("https://acme.okta.com/oauth2/default"), "https://acme.okta.com/oauth2/default"),
    ],
    ids=str,
)
def test_each_product_calls_itself_by_its_exact_url(issuer: Issuer, url: str) -> None:
    assert issuer.url == url


@pytest.mark.parametrize("tenant", ["common", "organizations", "consumers", "acme.onmicrosoft.com", "{tenantid}", ""])
def test_entra_takes_one_tenant_and_not_everybodys(tenant: str) -> None:
    with pytest.raises(UsageError, match="GUID"):
        Issuer.entra(tenant, audience=API)


def test_entra_takes_the_guid_of_the_api_as_its_audience() -> None:
    with pytest.raises(UsageError, match="GUID"):
        Issuer.entra(TENANT, audience=f"api://{API}")


@pytest.mark.parametrize(
    "domain", ["https://acme.auth0.com", "acme.auth0.com/", "acme", "", "a b.c", "acme.auth0.com:1"]
)
def test_auth0_takes_a_domain(domain: str) -> None:
    with pytest.raises(UsageError, match="domain"):
        Issuer.auth0(domain)


def test_okta_takes_a_custom_authorization_server() -> None:
    with pytest.raises(UsageError, match="custom authorization server"):
        Issuer.okta("https://acme.okta.com")


ACCOUNT = Introspection("guard", "s")


@pytest.mark.parametrize(
    "issuer",
    [
        Issuer("https://as.example", algorithms=["none"]),
        Issuer("https://as.example", algorithms=["RS256", "HS256"]),
        Issuer("https://as.example", algorithms=[]),
        Issuer("https://as.example", algorithms="RS256"),
        Issuer("https://as.example", audience=""),
        Issuer("https://as.example", token_types=[]),
        Issuer("https://as.example", token_types="JWT"),
        Issuer("https://as.example", token_types=[""]),
        Issuer("https://as.example", scope_claims="scope"),
        Issuer("https://as.example", client_id_claims="azp"),
        Issuer("https://as.example", jwks_uri="http://as.example/jwks"),
        Issuer("https://as.example", jwks_uri="jwks"),
        Issuer("https://as.example", scope_prefix="api://a b/"),
        Issuer("https://as.example", scope_prefix='api://"/'),
        Issuer("https://as.example", introspection=Introspection("", "s")),
        Issuer("https://as.example", introspection=Introspection("guard", "")),
        Issuer("https://as.example", introspection=Introspection("guard", "s", endpoint="http://as.example/i")),
        Issuer("https://as.example", introspection=Introspection("guard", "s", endpoint="")),
        Issuer("http://as.example"),
        ["https://as.example", Issuer("https://as.example")],
        [Issuer("https://a.example", introspection=ACCOUNT), Issuer("https://b.example", introspection=ACCOUNT)],
    ],
    ids=str,
)
async def test_the_guard_does_not_start_with_an_issuer_that_is_not_safe(world: World, issuer: Any) -> None:
    with pytest.raises(UsageError):
        world.guard(issuer=issuer)


async def test_several_issuers_may_be_asked_if_one_alone_has_opaque_tokens(world: World) -> None:
    quiet = Introspection("guard", "s", opaque=False)
    world.guard(
        issuer=[Issuer("https://a.example", introspection=ACCOUNT), Issuer("https://b.example", introspection=quiet)]
    )


def test_an_issuer_does_not_tell_the_secret() -> None:
    assert "hunter2" not in repr(Issuer("https://a.example", introspection=Introspection("guard", "hunter2")))


async def test_a_guard_that_believes_answers_without_audience_says_so_loudly(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    account = Introspection("guard", "s", insecure_answers_without_audience_are_believed=True)
    with caplog.at_level(logging.WARNING):
        world.guard(issuer=Issuer("https://a.example", introspection=account))
    assert "insecure" in caplog.text
