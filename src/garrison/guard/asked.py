"""What a request asks for, each thing with the policy's rule for it; a thing without one is denied."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from garrison.guard.policy import Policy, Rule

Params = Mapping[str, Any]
_NONE: Mapping[str, Any] = {}
_SUBSCRIPTIONS = frozenset({"toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions"})
"""All there is to subscribe to: another spelling that the app understood would ask past the policy."""
MAX_SUBSCRIPTIONS = 256
"""URIs in one request to be told of; each is held against every template."""
MAX_SUBSCRIBED = 1 << 16
"""Characters of all of them; a megabyte would hold everybody up for a second."""


class Asked(NamedTuple):
    """One thing that a request asks for.

    Attributes:
        kind: `tool`, `resource`, `prompt` or `completion`.
        name: what it was called in the request; "" where that was no text.
        key: what the policy calls it: the name, or the URI template that stands for it.
        rule: None for what the policy doesn't name.
        arguments: what the rule's conditions look at.
    """

    kind: str
    name: str
    key: str
    rule: Rule | None
    arguments: Mapping[str, Any]


Finder = Callable[[Policy, Params], tuple[Asked, ...]]


def tool(policy: Policy, params: Params) -> tuple[Asked, ...]:
    """Not as a task: that would go on after the answer, where nobody watches it."""
    rules = policy.tools if params.get("task") is None else {}
    return (_named("tool", rules, params.get("name"), params.get("arguments")),)


def prompt(policy: Policy, params: Params) -> tuple[Asked, ...]:
    return (_named("prompt", policy.prompts, params.get("name"), params.get("arguments")),)


def resource(policy: Policy, params: Params) -> tuple[Asked, ...]:
    return _uri(policy, params.get("uri"))


def completion(policy: Policy, params: Params) -> tuple[Asked, ...]:
    """Completing an argument tells about the prompt, resource or template that has it, by that one's own name."""
    given, ref = _given(params), params.get("ref")
    ref = ref if isinstance(ref, Mapping) else _NONE
    if ref.get("type") == "ref/prompt":
        of = _named("prompt", policy.prompts, ref.get("name"), given)
    elif ref.get("type") == "ref/resource":
        of = _named("resource", policy.resources, ref.get("uri"), given)
    else:
        return (Asked("completion", "", "", None, _NONE),)
    if of.name not in policy.completions:
        return (of,)
    return of, _named("completion", policy.completions, of.name, given)


def subscription(policy: Policy, params: Params) -> tuple[Asked, ...]:
    """List changes are free; being told of a resource's updates needs what reading it needs."""
    wanted = params.get("notifications")
    uris = wanted.get("resourceSubscriptions") if isinstance(wanted, Mapping) else None
    each = uris if isinstance(uris, list) else [] if uris is None else [None]
    too_many = len(each) > MAX_SUBSCRIPTIONS or sum(len(uri) for uri in each if isinstance(uri, str)) > MAX_SUBSCRIBED
    if not isinstance(wanted, Mapping) or not wanted.keys() <= _SUBSCRIPTIONS or too_many:
        return (Asked("subscription", "", "", None, _NONE),)
    return tuple(asked for uri in each for asked in _uri(policy, uri))


def listed(policy: Policy, member: str, name: object) -> tuple[Asked, ...]:
    """What an entry of a list asks to be shown: `member` is the result's member that holds the list."""
    if member == "resources":
        return _uri(policy, name)
    rules = {"tools": policy.tools, "prompts": policy.prompts, "resourceTemplates": policy.resources}[member]
    return (_named(member, rules, name, None),)


def _named(kind: str, rules: Mapping[str, Rule], name: object, arguments: object) -> Asked:
    known = name if isinstance(name, str) else ""
    return Asked(kind, known, known, rules.get(known), arguments if isinstance(arguments, dict) else _NONE)


def _uri(policy: Policy, uri: object) -> tuple[Asked, ...]:
    known = uri if isinstance(uri, str) else ""
    matches = policy.matches(known)
    if not matches:
        return (Asked("resource", known, "", None, _NONE),)
    return tuple(Asked("resource", known, match.name, match.rule, match.variables) for match in matches)


def _given(params: Params) -> Mapping[str, Any]:
    """The arguments that a completion knows: those chosen before, and the beginning of the one asked about."""
    context, argument = params.get("context"), params.get("argument")
    before = context.get("arguments") if isinstance(context, Mapping) else None
    given = dict(before) if isinstance(before, Mapping) else {}
    if isinstance(argument, Mapping) and isinstance(argument.get("name"), str):
        given[argument["name"]] = argument.get("value")
    return given
