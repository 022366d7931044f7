"""Errors that reach a person: what is wrong, what to do, and how the process ends."""

import pytest

from garrison.base.errors import EventStoreError, FetchError, GarrisonError, UsageError


@pytest.mark.parametrize(("kind", "code"), [(GarrisonError, 1), (EventStoreError, 1), (FetchError, 1), (UsageError, 2)])
def test_a_failure_ends_with_1_and_a_wrong_command_with_2(kind: type[GarrisonError], code: int) -> None:
    assert kind("x").exit_code == code
    assert isinstance(kind("x"), GarrisonError)


def test_an_error_says_what_is_wrong_and_what_to_do() -> None:
    error = GarrisonError("the port is taken", "Choose another with --port.")
    assert (str(error), error.message, error.hint) == (
        "the port is taken",
        "the port is taken",
        "Choose another with --port.",
    )
    assert not GarrisonError("x").hint
