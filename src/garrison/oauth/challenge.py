"""WWW-Authenticate challenges (RFC 9110 §11.6.1): RFC 6750 §3's Bearer, with RFC 9728 §5.1's resource_metadata."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MAX_HEADER = 8192
"""Characters of a challenge header that are read; a longer one is no challenge of an honest server."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 §5.6.2's token, not a secret
_PARAM = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN})(?=[\s,]|$))\s*')
_SCHEME = re.compile(rf"\s*({_TOKEN})(?:\s+([A-Za-z0-9._~+/-]+=*)(?=\s*(?:,|$)))?(?=\s|,|$)")


@dataclass(frozen=True)
class Challenge:
    """One challenge: a scheme in lower case and its parameters, names in lower case, values unquoted."""

    scheme: str
    params: Mapping[str, str] = field(default_factory=dict)


def render(scheme: str = "Bearer", **params: str | None) -> str:
    """A challenge for the WWW-Authenticate header; parameters that are None are left out."""

    def quoted(value: str) -> str:
        clean = "".join(c for c in value if " " <= c <= "~")
        return clean.replace("\\", "\\\\").replace('"', '\\"')

    rendered = ", ".join(f'{name}="{quoted(value)}"' for name, value in params.items() if value is not None)
    return f"{scheme} {rendered}".rstrip()


def parse(header: str) -> list[Challenge]:
    """The challenges of one header, in order; whatever can't be read ends the list."""
    found: list[Challenge] = []
    at = 0
    header = header[:MAX_HEADER]
    while at < len(header):
        at = _skip_commas(header, at)
        scheme = _SCHEME.match(header, at)
        if not scheme:
            break
        params, at = _parse_params(header, scheme.end())
        found.append(Challenge(scheme.group(1).lower(), params))
    return found


def _skip_commas(header: str, at: int) -> int:
    while at < len(header) and header[at] in ", \t":
        at += 1
    return at


def _parse_params(header: str, at: int) -> tuple[dict[str, str], int]:
    """Parameters from `at` on, and where they end; of a repeated one the first counts."""
    params: dict[str, str] = {}
    while match := _PARAM.match(header, _skip_commas(header, at)):
        name, quoted, bare = match.groups()
        params.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare)
        at = match.end()
        if at < len(header) and header[at] != ",":
            break
    return params, at


def bearer(headers: Iterable[str]) -> Challenge | None:
    """The first Bearer challenge of all WWW-Authenticate headers of a response, if there is one."""
    return next((c for header in headers for c in parse(header) if c.scheme == "bearer"), None)
