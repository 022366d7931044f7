"""What the guard will not start with: each check passes or raises `UsageError`."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from garrison.base.addresses import is_loopback_host
from garrison.base.errors import UsageError
from garrison.content.schema import ToolSchemas
from garrison.guard.policy import Policy
from garrison.oauth import resource as resource_rfc8707
from garrison.oauth.errors import InvalidTarget

MIN_SECRET = 32
"""Bytes."""


def check_resource(resource: str, *, insecure_http_off_loopback: bool) -> None:
    """The resource is a URL (RFC 8707) that tokens can't be overheard at."""
    try:
        resource_rfc8707.check(resource)
    except InvalidTarget as error:
        raise UsageError(
            f"The guard's resource is no address: {error.description}.", "Give the server's URL, as clients know it."
        ) from error
    if urlsplit(resource).query:
        raise UsageError("The guard's resource has a query.", "Give the server's URL without it.")
    if _is_plain_off_loopback(resource) and not insecure_http_off_loopback:
        raise UsageError(
            f"The resource {resource} is plain http off loopback: anybody on the way could take the tokens.",
            "Serve it by https, or set insecure_http_off_loopback where the network itself is encrypted.",
        )


def check_issuers(issuers: Sequence[str]) -> None:
    """Somebody's tokens are believed, and nobody on the way can replace their keys."""
    if not issuers:
        raise UsageError("The guard has no issuer.", "Name the authorization server whose tokens it should believe.")
    for issuer in issuers:
        parts = urlsplit(issuer)
        if parts.scheme not in {"https", "http"} or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(f"The issuer {issuer!r} is no address.", "RFC 8414 asks for https without query.")
        if _is_plain_off_loopback(issuer):
            raise UsageError(f"The issuer {issuer} is plain http off loopback.", "Use its https address.")


def check_policy(policy: Policy, schemas: ToolSchemas, issuers: Sequence[str]) -> None:
    """Something can be called, with arguments that can be judged, by callers that can't be mistaken."""
    if policy.is_empty():
        raise UsageError(
            "The guard's policy is empty, so that nothing could be called.",
            "Name the tools, resources and prompts that may be used, and their scopes.",
        )
    if unknown := sorted(name for name in policy.tools if name not in schemas):
        raise UsageError(
            f"The policy names tools whose arguments have no schema: {', '.join(unknown)}.",
            "Take out of the policy what the server doesn't offer, or give the schema: no call could be judged.",
        )
    if len(issuers) > 1 and any((rule.subjects or rule.clients) and not rule.issuers for rule in policy.rules()):
        raise UsageError(
            "The policy names subjects or clients, and the guard believes several issuers.",
            "Say whose they are with the rule's `issuers`: each issuer has its own alice (RFC 9068, section 5).",
        )


def check_secret(secret: bytes) -> None:
    if len(secret) < MIN_SECRET:
        raise UsageError(f"The guard's secret is shorter than {MIN_SECRET} bytes.", "Use secrets.token_bytes(32).")


def check_lists(**lists: Sequence[str]) -> None:
    """A text instead of a list would allow its letters, and a wildcard everybody."""
    for name, values in lists.items():
        if isinstance(values, str) or any("*" in value for value in values):
            raise UsageError(f"{name} must be a list of exact values, without wildcards.")


def _is_plain_off_loopback(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback_host(parts.hostname or "")
