"""Errors that reach a person: one line for what is wrong, one for what to do.

    GarrisonError            exit 1, a failure
    ├── UsageError           exit 2, the command or the settings were wrong
    ├── EventStoreError      an event could not be made durable: the act it speaks of must not happen
    └── FetchError           a guarded HTTP fetch was refused or failed

Errors of the OAuth wire have a tree of their own in oauth/errors.py.
"""

import difflib
from collections.abc import Iterable


class GarrisonError(Exception):
    """Something went wrong that the caller can read about.

    Args:
        message: what is wrong, one sentence without secrets.
        hint: what to do about it; empty where there is nothing to do.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(GarrisonError):
    exit_code = 2


class EventStoreError(GarrisonError):
    pass


class FetchError(GarrisonError):
    pass


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not among `known`: the nearest of them, and all of them."""
    names = list(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    return (f"Did you mean {nearest[0]}? " if nearest else "") + f"Known: {', '.join(names)}."
