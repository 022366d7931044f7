"""What is explained is what is decided, and what a list hides could not be used."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from garrison.guard import authorize, explain
from garrison.guard.asked import listed
from garrison.guard.conditions import at_most, one_of
from garrison.guard.decision import decide_unseen
from garrison.guard.explain import Outcome
from garrison.guard.policy import Policy, Rule
from garrison.guard.refusal import ScopeMissing
from garrison.oauth.access_token import AccessToken
from tests.guard.test_policy import check, token

NAMES = st.sampled_from(["a", "b", "c"])
# Mostly what holds: a rule is looked at to its end only then.
MOSTLY_A = st.sampled_from(["a", "a", "a", "b"])
SOME = st.sampled_from([None, None, None, None, frozenset({"a"}), frozenset({"a", "b"}), frozenset({"b"})])
SCOPES = st.sampled_from([frozenset(), frozenset({"a"}), frozenset({"a", "b"}), frozenset({"b", "c"})])
WHENS: list[Any] = [
    None,
    None,
    None,
    lambda _context: True,
    lambda _context: False,
    lambda context: "a" in context.scopes,
]
CONDITIONS = st.sampled_from([at_most(1), one_of("a"), one_of("a", "b")])


def rules(*arguments: str) -> SearchStrategy[Rule]:
    return st.builds(
        Rule,
        scopes=SCOPES,
        subjects=SOME,
        clients=SOME,
        issuers=SOME,
        arguments=st.fixed_dictionaries({}, optional=dict.fromkeys(arguments, CONDITIONS)),
        when=st.sampled_from(WHENS),
    )


RULES, RULES_OF_A, RULES_OF_NONE = rules("a", "b", "c"), rules("a"), rules()
RESOURCES = {"x://a": RULES_OF_NONE, "x://{a}": RULES_OF_A, "x://{b}": RULES_OF_NONE, "x:///{a*}": RULES_OF_A}
POLICIES = st.builds(
    Policy,
    tools=st.fixed_dictionaries({"a": RULES}, optional={"b": RULES}),
    resources=st.fixed_dictionaries({}, optional=RESOURCES),
    prompts=st.fixed_dictionaries({"a": RULES}),
    completions=st.dictionaries(st.just("a"), RULES, max_size=1),
    hierarchy=st.sampled_from([{}, {"a": {"b"}}, {"a": {"b"}, "b": {"c"}}]),
)
TOKENS = st.builds(
    token,
    scopes=st.sampled_from(["a b c", "a b c", "a b c", "a c", "a", "b", ""]),
    subject=MOSTLY_A,
    client=MOSTLY_A,
    issuer=MOSTLY_A,
)
ARGUMENTS = st.dictionaries(NAMES, st.sampled_from([0, 2, "a", "b", None]), max_size=3)
URIS = st.sampled_from(["x://a", "x://b", "x:///b", "x://%61", "y://a"])
REQUESTS = st.one_of(
    st.tuples(st.just("tools/call"), st.fixed_dictionaries({"name": MOSTLY_A, "arguments": ARGUMENTS})),
    st.tuples(st.just("prompts/get"), st.fixed_dictionaries({"name": MOSTLY_A, "arguments": ARGUMENTS})),
    st.tuples(st.just("resources/read"), st.fixed_dictionaries({"uri": URIS})),
    st.tuples(
        st.just("subscriptions/listen"),
        st.lists(URIS, max_size=3).map(lambda uris: {"notifications": {"resourceSubscriptions": uris}}),
    ),
    st.tuples(
        st.just("completion/complete"),
        st.tuples(MOSTLY_A, ARGUMENTS).map(
            lambda both: {
                "ref": {"type": "ref/prompt", "name": both[0]},
                "argument": {"name": "a", "value": "a"},
                "context": {"arguments": both[1]},
            }
        ),
    ),
)


@pytest.mark.cover
@settings(max_examples=500)
@given(POLICIES, TOKENS, REQUESTS)
def test_the_explanation_and_the_decision_never_disagree(
    policy: Policy, by: AccessToken, request: tuple[str, dict[str, Any]]
) -> None:
    refused = check(policy, by, *request)
    decision = authorize.judge(policy, by, *request)
    steps = explain.explain(policy, by, decision)
    outcomes = [step.outcome for step in steps]
    assert decision.allowed == (refused is None)
    assert (explain.verdict(decision) == "allowed") == decision.allowed
    assert all(outcome is Outcome.HOLDS for outcome in outcomes) == decision.allowed
    if refused is None:
        return
    assert refused.reason == decision.why
    first = outcomes.index(Outcome.FAILS)
    assert all(outcome is Outcome.HOLDS for outcome in outcomes[:first] if "scope" not in steps[first].text)
    failing = {step.text.split(":")[0] for step in steps if step.outcome is Outcome.FAILS}
    if isinstance(refused, ScopeMissing):
        assert failing <= {"scope a", "scope b", "scope c"}
        assert refused.data["scope"].split() == sorted(decision.needed)
    else:
        assert len([outcome for outcome in outcomes if outcome is Outcome.FAILS]) == 1
        assert all(outcome is Outcome.NOT_REACHED for outcome in outcomes[first + 1 :])


@given(POLICIES, TOKENS, NAMES)
def test_what_is_hidden_in_a_list_could_not_be_called_with_any_arguments(
    policy: Policy, by: AccessToken, name: str
) -> None:
    shown = decide_unseen(policy, by, listed(policy, "tools", name)).allowed
    for arguments in ({}, {"a": 0}, {"a": "a", "b": "a", "c": "a"}, {"a": 0, "b": 0, "c": 0}):
        if not shown:
            assert check(policy, by, "tools/call", {"name": name, "arguments": arguments}) is not None
