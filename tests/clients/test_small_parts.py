"""The pure parts: Retry-After, what is shown, token answers, loading an adapter."""

import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.base.errors import FetchError, UsageError
from garrison.base.fetch import Fetched
from garrison.clients.adapters import load
from garrison.clients.display import display, money
from garrison.clients.errors import AuthorizationFailed, ModelFailed, TokenRefused
from garrison.clients.retry_after import parse, pause
from garrison.clients.token_request import Client, authenticate, process_token_response
from garrison.clients.tokens import renewal_time
from garrison.oauth.server_metadata import ServerMetadata

CUSTOMER = {
    "customer_id": "ABC123",
    "name": "Customer ABC123",
    "status": "active",
    "account_type": "premium",
    "contact_info": {"email": "abc123@example.com", "phone": "+1-555-0100"},
}
NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60.0),
        ("Tue, 14 Nov 2023 21:13:20 GMT", 0.0),
        ("99999999999999999999", 999999999.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u0665", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse(value, NOW) == seconds


@given(st.text())
def test_no_retry_after_breaks_the_client(value: str) -> None:
    assert (parse(value, NOW) or 0.0) >= 0.0


def test_a_pause_is_lengthened_by_chance() -> None:
    assert pause("10", 0, NOW, lambda: 1.0, 0.1) == 11.0
    assert pause(None, 9, NOW, lambda: 0.0, 0.1) == 8.0


def test_a_short_lived_token_is_renewed_in_the_last_tenth_of_its_life() -> None:
    assert renewal_time(0.0, 900.0) == 870.0
    assert renewal_time(0.0, 10.0) == 9.0
    assert renewal_time(10.0, 5.0) == 5.0


def test_a_customer_is_shown_in_labelled_lines() -> None:
    shown = display("get_customer_info", CUSTOMER)
    assert shown.split("\n") == [
        "Customer ID: ABC123",
        "Name: Customer ABC123",
        "Status: active",
        "Account Type: premium",
        "Email: abc123@example.com",
        "Phone: +1-555-0100",
    ]
    assert display("get_customer_info", json.dumps(CUSTOMER)) == shown


def test_a_ticket_is_shown_in_labelled_lines() -> None:
    ticket = {
        "ticket_id": "TICKET-1",
        "customer_id": "XYZ789",
        "subject": "login issues",
        "description": "x" * 1500,
        "priority": "high",
        "estimated_resolution": "48 hours",
    }
    assert display("create_support_ticket", ticket).split("\n") == [
        "Ticket ID: TICKET-1",
        "Customer ID: XYZ789",
        "Subject: login issues",
        f"Description: {'x' * 1500}",
        "Priority: high",
        "Resolution Time: 48 hours",
    ]


@pytest.mark.parametrize("total", ["4000.00", 4000, 4000.0])
def test_an_account_value_is_shown_in_money(total: Any) -> None:
    numbers = {"total": total, "average": 1333.3333, "count": 3, "max_purchase": "2500", "min_purchase": 500}
    value = {"customer_id": "DEF456", "calculation": numbers, "account_tier": "bronze"}
    assert display("calculate_account_value", value).split("\n") == [
        "Customer ID: DEF456",
        "Total Value: $4,000.00",
        "Average Purchase: $1,333.33",
        "Number of Purchases: 3",
        "Highest Purchase: $2,500.00",
        "Lowest Purchase: $500.00",
        "Account Tier: BRONZE",
    ]


def test_money_keeps_every_digit() -> None:
    assert money("12345678901234567890.12") == "$12,345,678,901,234,567,890.12"


@pytest.mark.parametrize("tool", ["get_customer_info", "anything"])
@pytest.mark.parametrize("result", [{"a": 1}, "plain words", [1, 2], None, "1e400"])
def test_any_other_answer_is_shown_as_it_is(tool: str, result: Any) -> None:
    assert display(tool, result)


@given(st.text())
def test_a_result_can_not_steer_the_terminal_or_forge_a_line(text: str) -> None:
    shown = display("get_customer_info", {**CUSTOMER, "name": text})
    assert len(shown.split("\n")) == 6
    assert {unicodedata.category(c) for c in shown.replace("\n", "")}.isdisjoint({"Cc", "Cf", "Zl", "Zp"})
    assert "\x1b" not in display("other", text + "\x1b[2J")


SERVER = ServerMetadata(
    issuer="https://a.example", token_endpoint="https://a.example/t", jwks_uri="https://a.example/j"
)


def fetched(document: Any, status: int = 200) -> Fetched:
    return Fetched(status, {}, document if isinstance(document, bytes) else json.dumps(document).encode())


GOOD = {"access_token": "abc.def-_~+/=", "token_type": "bearer", "expires_in": "60", "scope": "a b"}


def test_a_token_answer_is_read() -> None:
    answer = process_token_response(fetched(GOOD))
    assert (answer.access_token, answer.lifetime) == ("abc.def-_~+/=", 60.0)
    assert answer.scopes == frozenset({"a", "b"})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (fetched({**GOOD, "token_type": "DPoP"}), AuthorizationFailed),
        (fetched({**GOOD, "access_token": "a\r\nX-Evil: 1"}), AuthorizationFailed),
        (fetched({**GOOD, "access_token": ""}), AuthorizationFailed),
        (fetched([]), AuthorizationFailed),
        (fetched(b"<html>"), FetchError),
        (fetched({}, 500), AuthorizationFailed),
        (fetched({}, 302), AuthorizationFailed),
        (fetched({"error": "invalid_grant"}, 400), TokenRefused),
        (fetched({"error": 7, "error_description": []}, 400), TokenRefused),
        (fetched([], 401), TokenRefused),
    ],
)
def test_a_token_answer_that_is_none_is_refused(answer: Fetched, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        process_token_response(answer)


@pytest.mark.parametrize("lifetime", [True, "x", -1, None, 1e300, "nan", "inf"])
def test_a_senseless_lifetime_is_no_lifetime(lifetime: Any) -> None:
    assert process_token_response(fetched({**GOOD, "expires_in": lifetime})).lifetime is None


def test_a_malformed_scope_is_no_scope() -> None:
    assert process_token_response(fetched({**GOOD, "scope": 'a"b'})).scopes is None


def test_a_server_that_takes_no_secret_gets_none() -> None:
    metadata = ServerMetadata(**{**vars(SERVER), "token_endpoint_auth_methods": ("private_key_jwt",)})
    with pytest.raises(AuthorizationFailed, match="takes no client secret"):
        authenticate({}, Client("id", "secret"), metadata, 0)


def test_a_public_client_names_itself_in_the_form() -> None:
    assert authenticate({"a": "b"}, Client("id"), SERVER, 0).form == {"a": "b", "client_id": "id"}


def test_an_unknown_adapter_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="no adapter 'gpt'"):
        load("gpt")


def test_a_missing_library_is_named_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anthropic", None)
    monkeypatch.delitem(sys.modules, "garrison.clients.adapters.anthropic", raising=False)
    with pytest.raises(UsageError, match="isn't installed") as missing:
        load("anthropic")
    assert missing.value.hint == "pip install 'garrison[anthropic]'"


def test_a_provider_that_repeats_the_key_is_not_quoted() -> None:
    class Refused(Exception):
        status_code = 401

    assert "sk-secret" not in ModelFailed("OpenAI", Refused("Incorrect API key provided: sk-secret")).message
