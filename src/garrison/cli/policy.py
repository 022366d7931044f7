"""`garrison policy check` and `garrison policy explain`."""

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from garrison.cli._common import add_home, add_json, note, print_json, print_table, scopes, shown
from garrison.cli.call import split, value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from garrison.guard.conditions import Condition
    from garrison.guard.policy import Policy
    from garrison.guard.rule import Rule
    from garrison.oauth.access_token import AccessToken

KINDS = ("tools", "resources", "prompts", "completions")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(dest="part", metavar="check|explain", required=True)
    check = parts.add_parser("check", help="see that it can be understood, and list its rules", allow_abbrev=False)
    _shared_arguments(check)
    explain = parts.add_parser(
        "explain",
        help="say step by step why a call would be allowed or not",
        description="Say step by step why a call would be allowed (exit 0) or not (exit 1). Nothing is called; "
        "and a real call's arguments must fit the tool's schema too.",
        allow_abbrev=False,
    )
    _shared_arguments(explain)
    explain.add_argument("--as", dest="subject", required=True, metavar="SUBJECT", help="who calls: the token's sub")
    explain.add_argument("--client", default="", metavar="ID", help="by which client: the token's client_id")
    explain.add_argument("--issuer", default="", metavar="URL", help="whose token it is: its iss")
    explain.add_argument("--scope", default="", metavar='"A B"', help="the token's scopes (default: none)")
    explain.add_argument(
        "--claim",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another claim of the token, for a policy whose functions look at it (NAME:=JSON is JSON); repeatable",
    )
    explain.add_argument("--resource", metavar="URI", help="explain the reading of a resource")
    explain.add_argument("--prompt", metavar="NAME", help="explain the use of a prompt")
    explain.add_argument(
        "arguments",
        nargs="*",
        metavar="TOOL key=value",
        help="the call of a tool, and its arguments: text, or JSON where the rule asks for no text; key:=JSON is JSON",
    )


def run(args: argparse.Namespace) -> int:
    policy, source = _policy(args)
    return _check(args, policy, source) if args.part == "check" else _explain(args, policy, source)


def _shared_arguments(parser: argparse.ArgumentParser) -> None:
    add_home(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--file", type=Path, metavar="FILE", help="the policy's file (default: garrison.toml of --home)")
    where.add_argument(
        "--python", metavar="MODULE:NAME", help="a policy in Python, as server:policy; the module is imported"
    )
    add_json(parser)


def _policy(args: argparse.Namespace) -> "tuple[Policy, str]":
    """The policy that is asked about, and where it stands. Raises `UsageError`."""
    from garrison.base.errors import UsageError
    from garrison.config.file import FILE
    from garrison.config.server import policy_of_file
    from garrison.demo.policy import POLICY

    if args.python:
        return _python_policy(args.python), args.python
    file = args.file or args.home / FILE
    if args.file and not file.is_file():
        raise UsageError(f"{file} is not there")
    policy = policy_of_file(file)
    if policy is not None:
        return policy, str(file)
    note(f"{file} has no [policy]: this is the demonstration's own")
    return POLICY, "the demonstration"


def _python_policy(where: str) -> "Policy":
    """The policy that `module:name` names, from the current folder on. Raises `UsageError`."""
    from garrison.base.errors import UsageError
    from garrison.guard.policy import Policy

    module, _, name = where.partition(":")
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise UsageError(
            f"{where} can't be had ({type(error).__name__}: {error})", "Give --python server:policy."
        ) from error
    if not isinstance(found, Policy):
        raise UsageError(f"{where} is no Policy", "Name the one that is given to protect().")
    return found


def _check(args: argparse.Namespace, policy: "Policy", source: str) -> int:
    from garrison.base.errors import UsageError
    from garrison.guard.policy_table import to_table

    if policy.is_empty():
        raise UsageError(f"{source}: the policy is empty, so that nothing could be called", "Name what may be used.")
    if args.json:
        print_json({"source": source, "policy": to_table(policy)})
        return 0
    rows = [
        (kind[:-1], name, " ".join(sorted(rule.scopes)) or "(any valid token)", _further(rule))
        for kind in KINDS
        for name, rule in sorted(getattr(policy, kind).items())
    ]
    print_table(rows, ("KIND", "NAME", "SCOPES", "FURTHER CONDITIONS"))
    for above, below in sorted(policy.hierarchy.items()):
        print(f"{shown(above)} includes {shown(' '.join(sorted(below)))}")
    return 0


def _further(rule: "Rule") -> str:
    among = (("issuer", rule.issuers), ("subject", rule.subjects), ("client", rule.clients))
    said = [f"{name} one of {', '.join(sorted(names))}" for name, names in among if names is not None]
    said += [f"{name} {condition}" for name, condition in rule.arguments.items()]
    return "; ".join([*said, *([f"when {rule.when_name}"] if rule.when else [])])


def _explain(args: argparse.Namespace, policy: "Policy", source: str) -> int:
    from garrison.guard.authorize import judge
    from garrison.guard.explain import explain, verdict

    method, params = _request(args, policy)
    token = _token(args)
    decision = judge(policy, token, method, params)
    steps = explain(policy, token, decision)
    if args.json:
        print_json(
            {
                "allowed": decision.allowed,
                "verdict": verdict(decision),
                "source": source,
                "method": method,
                "steps": [{"outcome": step.outcome, "what": step.text} for step in steps],
                "needed": sorted(decision.needed),
                "missing": sorted(decision.missing),
            }
        )
    else:
        for step in steps:
            print(f"{step.outcome:<12}{shown(step.text)}")
        print(shown(verdict(decision)))
    return 0 if decision.allowed else 1


def _request(args: argparse.Namespace, policy: "Policy") -> tuple[str, dict[str, Any]]:
    """The request that is asked about. Raises `UsageError`."""
    from garrison.base.errors import UsageError

    tools = [word for word in args.arguments if "=" not in word]
    given = [word for word in args.arguments if "=" in word]
    asked = [*tools, *(name for name in (args.resource, args.prompt) if name is not None)]
    if len(asked) != 1:
        raise UsageError("what should be explained?", "Give one of TOOL, --resource URI and --prompt NAME.")
    if args.resource is not None:
        if given:
            raise UsageError("a resource takes no key=value", "Its template's variables are in the URI.")
        return "resources/read", {"uri": args.resource}
    rule = (policy.tools if tools else policy.prompts).get(asked[0])
    params = {"name": asked[0], "arguments": _arguments(given, rule.arguments if rule else {})}
    return "tools/call" if tools else "prompts/get", params


def _arguments(given: list[str], conditions: "Mapping[str, Condition]") -> dict[str, Any]:
    """The arguments of key=value pairs, each of the JSON type that its condition speaks of. Raises `UsageError`."""
    arguments = {}
    for key, text, force in map(split, given):
        wants_json = force or (key in conditions and not conditions[key].takes_text)
        arguments[key] = value(text, wants_json, {})
    return arguments


def _token(args: argparse.Namespace) -> "AccessToken":
    """A token as it would be, were it issued. Raises `UsageError`."""
    from garrison.oauth.access_token import AccessToken

    claims = {name: value(text, is_json, {}) for name, text, is_json in map(split, args.claim)}
    return AccessToken(args.issuer, args.subject, args.client, (), scopes(args.scope), 0, 0, "", claims)
