"""Typed fields: free text passes whatever it says; ids and money take nothing but what they name."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import fastmcp
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from garrison.content.fields import KEYWORD, CustomerId, Identifier, Money, PlainText, Priority
from garrison.content.requests import CalculationRequest, CustomerRequest, TicketRequest
from garrison.content.schema import ToolSchemas

DATA = Path(__file__).parents[1] / "data"
REQUESTS = {model.__name__: model for model in (CustomerRequest, TicketRequest, CalculationRequest)}
SCHEMAS = ToolSchemas({name: model.model_json_schema() for name, model in REQUESTS.items()})


def rows(name: str) -> list[str]:
    return [json.loads(line)["text"] for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]


HONEST = rows("benign-banking77-test") + rows("benign-spider-questions")
ATTACKS = rows("attacks-libinjection-sqli")


def accepted(request: str, arguments: dict[str, Any]) -> bool:
    """Whether the model takes the arguments; the guard's schema must agree."""
    by_schema = SCHEMAS.check(request, arguments) == []
    try:
        REQUESTS[request].model_validate(arguments)
    except ValidationError:
        assert not by_schema, "the model refuses what the schema lets through"
        return False
    assert by_schema, "the schema refuses what the model takes"
    return True


def customer(customer_id: Any) -> bool:
    return accepted("CustomerRequest", {"customer_id": customer_id})


def ticket(**changes: Any) -> bool:
    whole = {"customer_id": "ABC12345", "subject": "Help", "description": "My card is lost.", "priority": "normal"}
    return accepted("TicketRequest", whole | changes)


def amount(value: Any) -> bool:
    return accepted("CalculationRequest", {"customer_id": "ABC12345", "amounts": [value]})


def test_free_text_passes_whatever_it_says() -> None:
    texts = ["How do I DROP TABLE safely?", "; rm -rf /", "<script>", "{{7*7}}", "../../etc/passwd", "O'Brien"]
    assert [text for text in HONEST + ATTACKS + texts if not ticket(description=text)] == []


def test_attacks_pass_as_no_id_no_money_and_no_choice() -> None:
    assert [text for text in HONEST + ATTACKS if customer(text) or amount(text) or ticket(priority=text)] == []


def test_a_customer_id_is_five_to_ten_capitals_and_digits() -> None:
    assert all(map(customer, ["ABC12", "ABCDE12345", "00000"]))


@pytest.mark.parametrize(
    "wrong",
    ["ABC1", "ABCDE123456", "abc12", "ABC12\n", "\nABC12", "ABC 12", "ABC-1", "", "\u0410\u0412\u042112", "ABC1\u0661",
     "../../admin", 12345, None, ["ABC12"]],
)  # fmt: skip
def test_what_is_no_customer_id_is_refused(wrong: Any) -> None:
    assert not customer(wrong)


def test_the_lengths_of_a_ticket_are_bounded() -> None:
    assert ticket(subject="x" * 200, description="x" * 2000)
    assert not ticket(subject="x" * 201)
    assert not ticket(description="x" * 2001)
    assert not ticket(subject="")
    assert not ticket(description=" \n\t")


def test_a_subject_is_one_line_and_a_description_may_be_several() -> None:
    assert ticket(description="one\ntwo\r\nthree")
    assert not ticket(subject="one\ntwo")


def test_hidden_characters_are_refused_in_text() -> None:
    assert not ticket(description="Approve \U000e0064\U000e0065\U000e006c")
    assert not ticket(subject="\u202eevil")


def test_a_priority_is_one_of_four() -> None:
    assert all(ticket(priority=priority) for priority in ("low", "normal", "high", "urgent"))
    assert not any(ticket(priority=priority) for priority in ("URGENT", "low ", "", None))


def test_text_is_stored_in_nfc() -> None:
    request = TicketRequest(customer_id="ABC12", subject="Cafe\u0301", description="a\r\nb")
    assert (request.subject, request.description) == ("Caf\u00e9", "a\nb")


def test_text_that_grows_past_its_length_in_nfc_is_refused() -> None:
    field = TypeAdapter(Annotated[str, PlainText(max_length=1)])
    with pytest.raises(ValidationError, match="NFC"):
        field.validate_python("\u0958")


def test_money_is_added_exactly() -> None:
    request = CalculationRequest.model_validate_json('{"customer_id":"ABC12","amounts":[0.1,0.2,"0.30",1]}')
    assert sum(request.amounts) == Decimal("1.60")


@pytest.mark.parametrize("right", [0, -0.0, 1, 0.01, 19.99, 999999.99, 1000000, 1e6, 1e2, "0", "0.5", "1000000.00"])
def test_money_is_a_number_or_a_decimal_string(right: Any) -> None:
    assert amount(right)


@pytest.mark.parametrize(
    "wrong",
    [-0.01, 1000000.01, "1000000.01", "-1", 0.015, 0.1 + 0.2, "1e5", "1e999999", "1E-999999", "NaN", "Infinity",
     float("nan"), float("inf"), 1e300, 10**400, "9" * 10_000, "\u0661", " 1", "1\n", "1_0", "", ".5", "5.", True, None,
     [1], {"amount": 1}],
)  # fmt: skip
def test_what_is_no_money_is_refused(wrong: Any) -> None:
    assert not amount(wrong)


@given(st.decimals(0, 1_000_000, places=2))
def test_every_amount_survives_the_wire_as_number_and_as_string(value: Decimal) -> None:
    for sent in (float(value), str(value)):
        assert amount(json.loads(json.dumps(sent)))
        assert Money(0, 1_000_000).parse(sent) == value


@example(-0.0)
@given(st.one_of(st.floats(), st.text(), st.integers(), st.none(), st.booleans(), st.decimals()))
def test_money_is_in_range_or_refused(value: Any) -> None:
    try:
        parsed = Money(0, 100).parse(value)
    except ValueError:
        return
    assert 0 <= parsed <= 100
    assert parsed.as_tuple().exponent == -2
    assert not parsed.is_signed()


def test_money_without_places_is_whole() -> None:
    assert Money(0, 10, places=0).parse("7") == 7
    with pytest.raises(ValueError, match="decimal places"):
        Money(0, 10, places=0).parse(0.5)


def test_money_must_be_defined_within_what_is_exact() -> None:
    for wrong in ({"minimum": 2, "maximum": 1}, {"minimum": 0, "maximum": 10**16}):
        with pytest.raises(ValueError, match="Money needs"):
            Money(**wrong)


def test_an_identifier_never_leads_elsewhere_whatever_its_pattern() -> None:
    field = TypeAdapter(Annotated[str, Identifier("^.*$")])
    assert field.validate_python("urn:customer:4.2@eu") == "urn:customer:4.2@eu"
    for wrong in ("../admin", "a/b", "a b", "..", "-x", "a%2fb", "\u00e4", "x" * 129):
        with pytest.raises(ValidationError, match="identifier"):
            field.validate_python(wrong)


def test_no_more_and_no_less_than_a_hundred_amounts() -> None:
    for count, fits in ((0, False), (1, True), (100, True), (101, False)):
        assert accepted("CalculationRequest", {"customer_id": "ABC12", "amounts": [1] * count}) is fits


def test_a_request_knows_no_other_fields() -> None:
    assert not accepted("CustomerRequest", {"customer_id": "ABC12", "admin": True})


def test_an_error_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(ValidationError) as error:
        CustomerRequest.model_validate({"customer_id": "hunter2-is-my-password"})
    assert "hunter2" not in str(error.value)


def test_each_field_shows_its_kind_in_the_json_schema() -> None:
    def kind(field: Any) -> Any:
        return TypeAdapter(field).json_schema()[KEYWORD]

    fields = [CustomerId, Annotated[str, PlainText(9)], Annotated[str, PlainText(9, multiline=False)], Priority]
    assert [kind(field) for field in fields] == ["id", "text", "line", "choice"]
    assert kind(Annotated[Decimal, Money(0, 1)]) == "money"


async def test_fastmcp_takes_the_fields_in_a_tools_signature() -> None:
    server = fastmcp.FastMCP("test")

    @server.tool
    def total(customer_id: CustomerId, amounts: list[Annotated[Decimal, Money(0, 1_000_000)]]) -> str:
        return str(sum(amounts))

    async with fastmcp.Client(server) as client:
        (tool,) = await client.list_tools()
        assert tool.input_schema["properties"]["customer_id"][KEYWORD] == "id"
        result = await client.call_tool("total", {"customer_id": "ABC12", "amounts": [0.1, "0.2"]})
        assert result.data == "0.30"
        with pytest.raises(fastmcp.exceptions.ToolError):
            await client.call_tool("total", {"customer_id": "ABC12\n", "amounts": [1]})
