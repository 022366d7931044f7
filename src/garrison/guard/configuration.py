"""What the guard will not start with: each check passes or raises `UsageError`."""

import logging
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from garrison.base.addresses import is_loopback_host
from garrison.base.errors import UsageError, did_you_mean
from garrison.content.schema import ToolSchemas
from garrison.guard.issuers import Introspection, Issuer
from garrison.guard.policy import Policy
from garrison.oauth import resource as resource_rfc8707
from garrison.oauth.access_token import KNOWN_ALGORITHMS
from garrison.oauth.errors import InvalidTarget

_log = logging.getLogger(__name__)

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


def check_issuers(issuers: Sequence[Issuer]) -> None:
    """Somebody's tokens are believed, by keys that nobody on the way can replace, and no two speak for one another."""
    if not issuers:
        raise UsageError("The guard has no issuer.", "Name the authorization server whose tokens it should believe.")
    for issuer in issuers:
        _check_issuer(issuer)
    urls = [issuer.url for issuer in issuers]
    if len(set(urls)) < len(urls):
        raise UsageError("An issuer is named twice.", "One entry per issuer says all about its tokens.")
    if sum(1 for issuer in issuers if issuer.introspection and issuer.introspection.opaque) > 1:
        raise UsageError(
            "Several issuers are to be asked about opaque tokens, which don't say whose they are.",
            "Set opaque=False on all but one: a token is shown to nobody but its own issuer.",
        )


def _check_issuer(issuer: Issuer) -> None:
    parts = urlsplit(issuer.url)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"The issuer {issuer.url!r} is no address.", "RFC 8414 asks for https without query.")
    if _is_plain_off_loopback(issuer.url):
        raise UsageError(f"The issuer {issuer.url} is plain http off loopback.", "Use its https address.")
    for name in ("token_types", "algorithms", "scope_claims", "client_id_claims"):
        values = getattr(issuer, name)
        if isinstance(values, str) or not all(isinstance(value, str) and value for value in values):
            raise UsageError(f"{name} of the issuer {issuer.url} must be a list of names.")
    if issuer.audience == "" or not (issuer.token_types or issuer.absent_type_accepted):
        raise UsageError(f"The issuer {issuer.url} has an empty audience or no token types.")
    if any(not "!" <= c <= "~" or c in '"\\' for c in issuer.scope_prefix):
        raise UsageError(f"The scope prefix of the issuer {issuer.url} can't be written in a scope parameter.")
    if not issuer.algorithms or not KNOWN_ALGORITHMS.issuperset(issuer.algorithms):
        raise UsageError(
            f"The algorithms of the issuer {issuer.url} must be among {', '.join(sorted(KNOWN_ALGORITHMS))}.",
            "An unsigned token proves nothing, and a symmetric key would be the guard's to sign with.",
        )
    if issuer.jwks_uri is not None:
        _check_endpoint(issuer.jwks_uri, "jwks_uri")
    if issuer.introspection:
        _check_introspection(issuer.introspection)


def _check_introspection(introspection: Introspection) -> None:
    if not introspection.client_id or not introspection.client_secret:
        raise UsageError("Introspection needs client_id and client_secret.", "Register the guard with its issuer.")
    if introspection.endpoint is not None:
        _check_endpoint(introspection.endpoint, "introspection endpoint")
    if introspection.insecure_answers_without_audience_are_believed:
        _log.warning("insecure: opaque tokens that name no audience are believed; they may be meant for other servers")


def _check_endpoint(url: str, name: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname or _is_plain_off_loopback(url):
        raise UsageError(f"The {name} {url!r} is no https address.")


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


def check_tool_limits(tools: Collection[str], policy: Policy) -> None:
    """A misspelt limit must not mean no limit."""
    if unknown := sorted(set(tools) - policy.tools.keys()):
        raise UsageError(
            f"There are limits for tools that the policy doesn't name: {', '.join(unknown)}.",
            did_you_mean(unknown[0], policy.tools),
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
