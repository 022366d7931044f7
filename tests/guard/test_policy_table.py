"""A policy in a table is the policy: written down and read again, it is equal."""

import pytest
from hypothesis import given

from garrison.base.errors import UsageError
from garrison.guard.policy import Policy, needs
from garrison.guard.policy_table import from_table, to_table
from tests.guard.test_explain import POLICIES


@pytest.mark.cover
@given(POLICIES)
def test_a_policy_that_is_written_down_and_read_again_is_equal(policy: Policy) -> None:
    if any(rule.when for rule in policy.rules()):
        with pytest.raises(UsageError, match="can't be written down"):
            to_table(policy)
    else:
        assert from_table(to_table(policy)) == policy


def test_policies_that_differ_in_anything_are_not_equal() -> None:
    rules = [needs(), needs("a"), needs(subjects={"a"}), needs(clients={"a"}), needs(issuers={"a"})]
    rules += [needs(arguments={"a": {1}}), needs(arguments={"a": {True}}), needs(when=lambda _context: True)]
    policies = [Policy(tools={"t": rule}) for rule in rules] + [Policy(prompts={"t": needs()}), Policy()]
    policies += [Policy(tools={"t": needs()}, hierarchy={"a": {"b"}})]
    for at, one in enumerate(policies):
        assert [one == other for other in policies].count(True) == 1, at
