"""Lists on their way back, cut to what the caller may use: what can't be called need not be known.

What hides a thing is what can be decided without a call of it: whether it is named, for whom, and with which scopes.
Conditions on arguments and `when` hide nothing.

Answers to list requests come through here, and what such an answer could come on instead: the old era's stream of
everything, and in a session of the old era every answer, as servers find the stream of an answer by the request's id,
which a caller may use twice at once. Everything else is streamed untouched. A list that can't be read doesn't pass.
"""

import json
from functools import partial
from typing import Any

from starlette.types import Send

from garrison.guard.asked import listed
from garrison.guard.decision import decide_unseen
from garrison.guard.policy import Policy
from garrison.guard.rewriting import Rewrite, Rewriter, UnreadableError, rendered
from garrison.guard.types import Call, Caller
from garrison.oauth.access_token import AccessToken

METHODS = frozenset({"tools/list", "resources/list", "resources/templates/list", "prompts/list"})
_NAMES = {"tools": "name", "prompts": "name", "resources": "uri", "resourceTemplates": "uriTemplate"}
"""The member of a result that holds a list, and the member of an entry that the policy knows it by."""
_MEMBERS = (*(f'"{member}"'.encode() for member in _NAMES), b"\\u00")
"""In what looks like a list: a member of one, or an escaped character, which may be a letter of its name."""


def concerns(call: Call) -> bool:
    """Whether a list may be on its way: it was asked for, or this is the old era's stream of everything."""
    return call.message.method in METHODS if call.message else call.request.method == "GET"


def filtering(send: Send, policy: Policy, caller: Caller, rename: Rewrite | None = None) -> Send:
    """What stands in for `send`, in front of it. Args: rename: makes an event's id the caller's own."""
    return Rewriter(send, partial(_cut, policy, caller.token), rename=rename).send


def watching(send: Send, policy: Policy, caller: Caller, rename: Rewrite) -> Send:
    """The same for what should be no list: only what looks like one is read, and passes if it can't be."""
    return Rewriter(send, partial(_cut_if_list, policy, caller.token), rename=rename, lenient=True).send


def _cut_if_list(policy: Policy, token: AccessToken, text: bytes) -> bytes:
    if not any(member in text for member in _MEMBERS):
        return text
    try:
        return _cut(policy, token, text)
    except UnreadableError:
        return text


def _cut(policy: Policy, token: AccessToken, text: bytes) -> bytes:
    """A JSON-RPC message, or a batch of them (MCP 2025-03-26), with only those entries that the caller may use."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("the list is not JSON") from error
    messages = document if isinstance(document, list) else [document]
    held_lists = [_cut_message(policy, token, message) for message in messages]
    return rendered(document) if any(held_lists) else text


def _cut_message(policy: Policy, token: AccessToken, message: Any) -> bool:
    """Cuts `message` itself; False when there is no list in it."""
    result = message.get("result") if isinstance(message, dict) else None
    if not isinstance(result, dict) or not result.keys() & {*_NAMES, "cacheScope"}:
        return False
    for member, name in _NAMES.items():
        if isinstance(entries := result.get(member), list):
            result[member] = [entry for entry in entries if _allowed(policy, token, member, name, entry)]
    if "cacheScope" in result:
        result["cacheScope"] = "private"  # it is this caller's list now, and nobody else's
    return True


def _allowed(policy: Policy, token: AccessToken, member: str, name: str, entry: Any) -> bool:
    named = entry.get(name) if isinstance(entry, dict) else None
    return decide_unseen(policy, token, listed(policy, member, named)).allowed
