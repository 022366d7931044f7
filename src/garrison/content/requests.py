"""The three requests of the customer service, as models on typed fields."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from garrison.content.fields import CustomerId, Money, PlainText, Priority

Subject = Annotated[str, PlainText(max_length=200, multiline=False)]
Description = Annotated[str, PlainText(max_length=2000)]
Amount = Annotated[Decimal, Money(minimum=0, maximum=1_000_000)]
Amounts = Annotated[list[Amount], Field(min_length=1, max_length=100)]


class _Request(BaseModel):
    """Knows its fields and no others; an error never repeats what was sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class CustomerRequest(_Request):
    customer_id: CustomerId


class TicketRequest(_Request):
    customer_id: CustomerId
    subject: Subject
    description: Description
    priority: Priority = "normal"


class CalculationRequest(_Request):
    customer_id: CustomerId
    amounts: Amounts
