"""Who may sign in is said in the settings; whoever they don't name may not."""

from collections.abc import Mapping
from typing import Any

import pytest

from garrison.authserver.federation import rules
from garrison.authserver.federation.settings import Allow, IdentityProvider
from garrison.authserver.registration import username
from garrison.base.errors import UsageError

READ, WRITE = frozenset({"customer:read"}), frozenset({"ticket:create"})
ISSUER = "https://login.example"


def provider(*allow: Allow, **changes: Any) -> IdentityProvider:
    return IdentityProvider(issuer=ISSUER, client_id="us", allow=allow or [Allow(scope=READ, everyone=True)], **changes)


def given(claims: Mapping[str, Any], *allow: Allow) -> frozenset[str]:
    return rules.scope_of(provider(*allow), claims)


def test_every_rule_that_matches_counts_and_no_other() -> None:
    support = Allow(scope=READ, claims={"groups": ["support", "desk"]})
    leads = Allow(scope=WRITE, claims={"groups": ["leads"], "tid": ["t1"]})
    assert given({"groups": ["desk"]}, support, leads) == READ
    assert given({"groups": ["leads", "support"], "tid": "t1"}, support, leads) == READ | WRITE
    assert given({"groups": ["leads"], "tid": "t2"}, support, leads) == frozenset()
    assert given({"groups": ["leads"]}, support, leads) == frozenset(), "a condition on what is missing is not met"
    assert given({}, support, leads) == frozenset()


@pytest.mark.parametrize(
    ("claim", "meets"),
    [
        ("a", True),
        (["b", "a"], True),
        ("A", False),
        ("a ", False),
        (["x"], False),
        ({"a": 1}, False),
        (None, False),
        ("ab", False),
    ],
)
def test_a_claim_has_a_value_or_a_list_that_holds_it(claim: Any, meets: bool) -> None:
    assert bool(given({"role": claim}, Allow(scope=READ, claims={"role": ["a"]}))) is meets


def test_text_numbers_and_booleans_are_told_apart() -> None:
    assert not given({"level": True}, Allow(scope=READ, claims={"level": [1]}))
    assert not given({"level": 1}, Allow(scope=READ, claims={"level": [True]}))
    assert not given({"level": "1"}, Allow(scope=READ, claims={"level": [1]}))
    assert given({"level": 1}, Allow(scope=READ, claims={"level": [1]}))


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_email_address_counts_only_where_the_provider_has_verified_it(verified: Any) -> None:
    by_domain = Allow(scope=READ, email_domains=["example.com"])
    by_address = Allow(scope=READ, claims={"email": ["a@example.com"]})
    for rule in (by_domain, by_address):
        assert given({"email": "a@example.com", "email_verified": True}, rule)
        assert not given({"email": "a@example.com", "email_verified": verified}, rule)
    named = provider(username_claim="email")
    assert rules.username_of(named, "1", {"email": "A@example.com", "email_verified": True}) == "idp:a@example.com"
    assert rules.username_of(named, "1", {"email": "A@example.com", "email_verified": verified}) is None


@pytest.mark.parametrize(
    "email",
    ["a@evil.example", "a@sub.example.com", "a@notexample.com", "a@example.com@evil.example", "example.com", "", 7],
)
def test_an_email_domain_is_that_domain_and_none_below_it(email: Any) -> None:
    assert not given({"email": email, "email_verified": True}, Allow(scope=READ, email_domains=["example.com"]))


def test_a_domain_is_the_same_in_capitals() -> None:
    assert given({"email": "A@Example.COM", "email_verified": True}, Allow(scope=READ, email_domains=["example.com"]))


def test_a_name_is_no_local_users_and_no_clients() -> None:
    """Tokens name users and clients in one claim, `sub` (RFC 9068 §5)."""
    named = provider(username_claim="preferred_username")
    made = rules.username_of(named, "1", {"preferred_username": "client_1"})
    assert made == "idp:client_1"
    with pytest.raises(UsageError):
        username(made)
    by_hash = rules.username_of(provider(), "1", {})
    assert by_hash
    assert len(by_hash) == 36
    with pytest.raises(UsageError):
        username(by_hash)
    assert by_hash != rules.username_of(provider(), "2", {})
    other = IdentityProvider(issuer="https://other.example", client_id="us", allow=[Allow(scope=READ, everyone=True)])
    assert by_hash != rules.username_of(other, "1", {})


@pytest.mark.parametrize("value", ["", "a b", "a\u0000", "\u00e9", "x" * 61, ".a", "a/b", "<b>", 7, None, ["a"]])
def test_what_is_no_name_names_nobody(value: Any) -> None:
    assert rules.username_of(provider(username_claim="name"), "1", {"name": value}) is None


def test_the_claims_that_decide_are_known() -> None:
    assert rules.needed_claims(provider()) == frozenset()
    wanted = provider(Allow(scope=READ, claims={"groups": ["a"]}, email_domains=["b.example"]), username_claim="upn")
    assert rules.needed_claims(wanted) == {"groups", "email", "email_verified", "upn"}


EVERYONE = Allow(scope=READ, everyone=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"allow": []},
        {"issuer": "http://login.example"},
        {"issuer": "https://login.example/?a"},
        {"client_id": ""},
        {"name": "L\u00f6gin"},
        {"scopes": frozenset({'a"'})},
        {"allow": [Allow(scope=frozenset({"a b"}), everyone=True)]},
        {"account_prompt": "none"},
        {"grant_lifetime": 299},
    ],
)
def test_a_provider_that_could_not_work_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        IdentityProvider(**{"issuer": ISSUER, "client_id": "us", "allow": [EVERYONE], **changes})


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"scope": READ},
        {"scope": frozenset(), "everyone": True},
        {"scope": READ, "everyone": True, "claims": {"a": ["b"]}},
        {"scope": READ, "claims": {"a": []}},
        {"scope": READ, "email_domains": ["Example.com"]},
        {"scope": READ, "email_domains": ["@example.com"]},
    ],
)
def test_a_rule_that_lets_in_nobody_or_everybody_by_mistake_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Allow(**{"scope": frozenset(), **rule})


def test_the_secret_is_in_no_text_of_the_settings() -> None:
    assert "s3cret" not in repr(provider(client_secret="s3cret"))
