"""The settings of an external OpenID Connect provider: frozen, checked when they are made, cheap to import."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from garrison.authserver.settings import DAY, check_issuer
from garrison.base.addresses import is_loopback_host
from garrison.base.errors import UsageError
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.errors import InvalidScope

Value = str | int | bool

MIN_GRANT_LIFETIME = 300
_NAME = re.compile(r"[ -~]{1,64}")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_PROMPTS = ("login", "select_account")


@dataclass(frozen=True, kw_only=True)
class Allow:
    """Whoever meets all conditions of this rule may sign in, with `scope`.

    Attributes:
        scope: all that they may grant.
        everyone: whoever the provider signs in; the one rule that needs no condition.
        claims: each of these must have one of these values, or a list that holds one. Strings, numbers and booleans
            are told apart; `email` counts only where the provider has verified it.
        email_domains: the verified e-mail address must be of one of these, in lower case.
    """

    scope: frozenset[str]
    everyone: bool = False
    claims: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    email_domains: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.scope:
            raise UsageError("identity_provider.allow: each rule needs the scope that it gives")
        if self.everyone == bool(self.claims or self.email_domains):
            raise UsageError(
                "identity_provider.allow: a rule is for everyone, or it has conditions",
                "Give it claims or email_domains; everyone = true lets in whoever has an account at the provider.",
            )
        if not all(self.claims.values()):
            raise UsageError("identity_provider.allow: a claim has no value that would do")
        for domain in self.email_domains:
            if not _DOMAIN.fullmatch(domain):
                raise UsageError(f"identity_provider.allow: {domain!r} is no domain in lower case")


@dataclass(frozen=True, kw_only=True)
class IdentityProvider:
    """Where users sign in, if not here.

    Attributes:
        issuer: its one name, compared byte for byte; its metadata is at its well-known address below it.
        client_id, client_secret: who we are there; without a secret a public client.
        allow: who may sign in, and with which scope: all rules that match count together. Nobody else may.
        name: what the pages call it; the issuer's host by default.
        scopes: what we ask it for, `openid` always.
        username_claim: which claim of a user's first sign-in names them here, after `idp:`; by default a name is made
            of issuer and subject. Whatever the claim says later, the name stays that subject's.
        local_users: whether users with a password here may sign in too.
        private_addresses: whether it may be at special-use addresses, in a private network; on loopback it always may.
        account_prompt: the `prompt` by which it lets a user choose another account: login or select_account.
        grant_lifetime: seconds after which an application must send its user to sign in there again.
    """

    issuer: str
    client_id: str
    allow: Sequence[Allow]
    client_secret: str | None = field(default=None, repr=False)
    name: str = ""
    scopes: frozenset[str] = frozenset({"profile", "email"})
    username_claim: str = ""
    local_users: bool = False
    private_addresses: bool = False
    account_prompt: str = "login"
    grant_lifetime: int = 7 * DAY

    def __post_init__(self) -> None:
        check_issuer(self.issuer)
        if not self.client_id:
            raise UsageError(
                "identity_provider.client_id is missing", "The provider gives it to you when you register."
            )
        if not self.allow:
            raise UsageError(
                "identity_provider: nobody could sign in",
                "Say who may, and with which scope, in identity_provider.allow.",
            )
        if self.name and not _NAME.fullmatch(self.name):
            raise UsageError("identity_provider.name must be 1 to 64 printable ASCII characters")
        _check_scope("scopes", self.scopes)
        _check_scope("allow", frozenset().union(*(rule.scope for rule in self.allow)))
        if self.account_prompt not in _PROMPTS:
            raise UsageError(f"identity_provider.account_prompt must be one of {', '.join(_PROMPTS)}")
        if self.grant_lifetime < MIN_GRANT_LIFETIME:
            raise UsageError(f"identity_provider.grant_lifetime is less than {MIN_GRANT_LIFETIME} seconds")

    @property
    def host(self) -> str:
        return urlsplit(self.issuer).netloc

    @property
    def may_be_private(self) -> bool:
        return self.private_addresses or is_loopback_host(urlsplit(self.issuer).hostname or "")

    @property
    def label(self) -> str:
        return self.name or self.host


def _check_scope(where: str, scopes: frozenset[str]) -> None:
    try:
        parsed = scope_rfc6749.parse(scope_rfc6749.render(scopes))
    except InvalidScope as error:
        raise UsageError(f"identity_provider.{where}: {error.description}") from error
    if parsed != scopes:
        raise UsageError(f"identity_provider.{where}: one scope has a space in it")
