"""The scripted model: what it takes from a question, and what it answers over HTTP."""

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.demo.scripted_react import react_answer
from garrison.demo.scripted_rules import Wish, conclusion, wishes
from tests.clients.world import TOOL_SCOPES, World

TOOLS = list(TOOL_SCOPES)


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Get information about customer ABC123", [("get_customer_info", {"customer_id": "ABC123"})]),
        ("who is customer Q1W2E3R4?", [("get_customer_info", {"customer_id": "Q1W2E3R4"})]),
        (
            "Create a high priority support ticket for customer XYZ789 about login issues. The user can't log in.",
            [
                (
                    "create_support_ticket",
                    {
                        "customer_id": "XYZ789",
                        "subject": "login issues",
                        "description": "login issues. The user can't log in.",
                        "priority": "high",
                    },
                )
            ],
        ),
        (
            "Calculate the account value for customer DEF456 with purchases of $1000, $2500, and $500",
            [("calculate_account_value", {"customer_id": "DEF456", "amounts": [1000, 2500, 500]})],
        ),
        (
            "What is the account value of customer DEF456 with purchases of $1,000.50 and 20?",
            [("calculate_account_value", {"customer_id": "DEF456", "amounts": [1000.5, 20]})],
        ),
        (
            "Get details of customers ABC123, DEF456 and XYZ789",
            [("get_customer_info", {"customer_id": name}) for name in ("ABC123", "DEF456", "XYZ789")],
        ),
        (
            "Get information about customer ABC123 and create a ticket about billing",
            [
                ("get_customer_info", {"customer_id": "ABC123"}),
                (
                    "create_support_ticket",
                    {"customer_id": "ABC123", "subject": "billing", "description": "billing", "priority": "normal"},
                ),
            ],
        ),
        ("Get information about customer abc';--", [("get_customer_info", {"customer_id": "abc';--"})]),
        ("What is the weather?", []),
        ("Get information about nobody", []),
    ],
)
def test_a_question_is_read_by_rules(question: str, wanted: list[tuple[str, dict[str, object]]]) -> None:
    assert wishes(question, TOOLS) == [Wish(tool, arguments) for tool, arguments in wanted]


def test_only_tools_that_are_offered_are_wished_for() -> None:
    assert wishes("Get information about customer ABC123", ["create_support_ticket"]) == []


@given(st.text(), st.text())
def test_no_text_breaks_the_rules(question: str, result: str) -> None:
    assert isinstance(wishes(question, TOOLS), list)
    assert conclusion([("a", result)])
    assert react_answer(question, result) is None


@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
async def test_a_key_is_required(world: World, path: str) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        said = [{"role": "user", "content": "hello"}]
        body = {"messages": said, "input": said}
        assert (await http.post(f"{world.model}/{path}", json=body)).status_code == 401
        assert (await http.post(f"{world.model}/{path}", json=body, headers={"x-api-key": "k"})).status_code == 200
        bearer = {"authorization": "Bearer k"}
        assert (await http.post(f"{world.model}/{path}", json=body, headers=bearer)).status_code == 200
        assert (await http.post(f"{world.model}/{path}", json=[], headers=bearer)).status_code == 400
        assert (await http.post(f"{world.model}/{path}", json={"stream": True}, headers=bearer)).status_code == 400


@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_model_that_is_called_after_an_error_answers_with_it(world: World, path: str, status: int) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        said = [{"role": "user", "content": "hello"}]
        for stream in (False, True):
            body = {"messages": said, "input": said, "model": f"scripted-{status}", "stream": stream}
            answer = await http.post(f"{world.model}/{path}", json=body, headers={"x-api-key": "k"})
            assert answer.status_code == status
            assert answer.json()["error"]["message"]
