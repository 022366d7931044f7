"""Settings: the environment beats the file, and what is not understood is an error."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from garrison.authserver.federation.settings import Allow, IdentityProvider
from garrison.base.errors import UsageError
from garrison.config.clients import client_settings
from garrison.config.models import model_settings
from garrison.config.server import policy, server_settings
from garrison.config.template import TEMPLATE
from garrison.guard.conditions import at_least, at_most, between, one_of
from garrison.guard.policy import Policy, needs
from garrison.limits.settings import LimitSettings


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    settings = server_settings(tmp_path, {})
    assert settings.limits.requests_per_minute == 60
    assert settings.limits.tokens_per_hour == 100_000
    assert settings.limits.redis_url is None
    assert settings.access_token_lifetime == 900


def test_the_template_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "garrison.toml").write_text(TEMPLATE)
    assert server_settings(tmp_path, {}) == server_settings(tmp_path / "none", {})


def test_every_line_of_the_template_works_when_its_comment_sign_is_removed(tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") if " = " in line or "# [" in line else line for line in TEMPLATE.splitlines()]
    (tmp_path / "garrison.toml").write_text("\n".join(lines))
    (tmp_path / "identity-provider.secret").write_text("s3cret\n")
    settings = server_settings(tmp_path, {})
    assert settings.identity_provider == IdentityProvider(
        issuer="https://login.example.com",
        client_id="garrison",
        client_secret="s3cret",
        allow=(Allow(scope=frozenset({"customer:read", "ticket:create"}), claims={"groups": ("support",)}),),
    )
    assert settings.policy == Policy(
        tools={
            "get_customer_info": needs(
                "customer:read",
                subjects={"alex"},
                arguments={"region": one_of("eu"), "amount": at_most(100)},
            )
        },
        resources={"users://{id}/profile": needs("customer:read")},
        hierarchy={"admin:all": {"customer:read"}},
    )
    assert replace(settings, policy=None, identity_provider=None) == server_settings(tmp_path / "none", {})


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / "garrison.toml").write_text('[limits]\nrequests_per_minute = 5\nredis_url = "redis://file/0"\n')
    assert server_settings(tmp_path, {}).limits.requests_per_minute == 5
    environ = {"RATE_LIMIT_REQUESTS_PER_MINUTE": "7", "REDIS_URL": "redis://environ/0"}
    settings = server_settings(tmp_path, environ)
    assert (settings.limits.requests_per_minute, settings.limits.redis_url) == (7, "redis://environ/0")


def test_every_limit_of_the_file_reaches_the_settings(tmp_path: Path) -> None:
    wanted = LimitSettings(
        requests_per_minute=1,
        tokens_per_hour=2,
        tools={"search": 3, "a.b": 4},
        client_requests_per_minute=5,
        stranger_requests_per_minute=6,
        concurrent_calls=7,
        open_streams=8,
        token_counter="words",
        redis_url="redis+sentinel://localhost:26379/budgets",
        on_store_failure="refuse",
    )
    (tmp_path / "garrison.toml").write_text(
        "[limits]\nrequests_per_minute = 1\ntokens_per_hour = 2\nclient_requests_per_minute = 5\n"
        "stranger_requests_per_minute = 6\nconcurrent_calls = 7\nopen_streams = 8\ntoken_counter = 'words'\n"
        "redis_url = 'redis+sentinel://localhost:26379/budgets'\non_store_failure = 'refuse'\n"
        "[limits.tools]\nsearch = 3\n'a.b' = 4\n"
        "[network]\ntrusted_proxies = ['10.0.0.0/8']\nmax_connections = 9\nbody_seconds = 10\n"
    )
    settings = server_settings(tmp_path, {})
    assert settings.limits == wanted
    assert settings.trusted_proxies == ("10.0.0.0/8",)
    assert (settings.max_connections, settings.body_seconds) == (9, 10)


def test_the_template_knows_every_limit() -> None:
    for field in fields(LimitSettings):
        assert field.name in TEMPLATE


def test_the_database_of_the_authorization_server_is_a_secret_setting(tmp_path: Path) -> None:
    (tmp_path / "garrison.toml").write_text('[auth]\ndatabase_url = "postgresql://u:hunter2@file/g"\n')
    settings = server_settings(tmp_path, {})
    assert settings.auth_database_url == "postgresql://u:hunter2@file/g"
    assert "hunter2" not in repr(settings)
    environ = {"GARRISON_DATABASE_URL": "postgresql://environ/g"}
    assert server_settings(tmp_path, environ).auth_database_url == "postgresql://environ/g"
    assert server_settings(tmp_path / "none", {}).auth_database_url is None


@pytest.mark.parametrize(
    "text",
    [
        "[limits]\nrequest_per_minute = 5",
        "[limit]\n",
        "[limits.tools]\nsearch = 0",
        "[limits.tools]\nsearch = true",
        "[limits]\ntools = 5",
        "[limits]\nclient_requests_per_minute = -1",
        "[limits]\ntoken_counter = 'guess'",
        "[limits]\nredis_url = 'http://localhost'",
        "[network]\ntrusted_proxies = ['everybody']",
        "[network]\ntrusted_proxies = '10.0.0.1'",
        "[network]\nmax_connections = 0",
        "[network]\nbody_seconds = true",
        'limits = "x"',
        '[limits]\nrequests_per_minute = "5"',
        "[limits]\nrequests_per_minute = true",
        "[limits]\nrequests_per_minute = 0",
        '[limits]\non_store_failure = "shrug"',
        '[events]\ndurability = "hope"',
        "not toml",
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "garrison.toml").write_text(text)
    with pytest.raises(UsageError):
        server_settings(tmp_path, {})


@pytest.mark.parametrize("value", ["-1", "0", "1.5", "many", "\uff11\uff12"])
def test_a_limit_that_is_no_whole_number_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="RATE_LIMIT_REQUESTS_PER_MINUTE"):
        server_settings(tmp_path, {"RATE_LIMIT_REQUESTS_PER_MINUTE": value})


def test_certificate_and_key_go_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="go together"):
        server_settings(tmp_path, {"TLS_CERT_PATH": "c.pem"})
    tls = server_settings(tmp_path, {"TLS_CERT_PATH": "c.pem", "TLS_KEY_PATH": "k.pem"}).tls
    assert tls is not None
    assert (tls.certificate, tls.key) == (Path("c.pem"), Path("k.pem"))


def test_the_token_url_of_the_guide_names_the_issuer() -> None:
    assert client_settings({"OAUTH_TOKEN_URL": "https://localhost:8443/token"}).issuer == "https://localhost:8443"
    environ = {"OAUTH_TOKEN_URL": "https://a/token", "OAUTH_ISSUER_URL": "https://b"}
    assert client_settings(environ).issuer == "https://b"
    assert client_settings({}).issuer is None


def test_a_missing_key_says_which_variable_and_where_to_get_one() -> None:
    with pytest.raises(UsageError, match="OPENAI_API_KEY") as caught:
        model_settings("openai", {})
    assert "https://platform.openai.com/api-keys" in caught.value.hint
    with pytest.raises(UsageError, match="ANTHROPIC_API_KEY"):
        model_settings("anthropic", {"OPENAI_API_KEY": "k"})


def test_a_model_on_this_machine_needs_no_key() -> None:
    settings = model_settings("openai", {"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"})
    assert (settings.base_url, settings.api_key) == ("http://127.0.0.1:11434/v1", None)


def test_ollama_is_asked_in_openais_words() -> None:
    settings = model_settings("langchain", {"LLM_PROVIDER": "ollama", "OLLAMA_MODEL": "qwen3"})
    assert (settings.model, settings.base_url) == ("qwen3", "http://localhost:11434/v1")


def test_a_framework_asks_the_provider_that_is_chosen() -> None:
    environ = {"LLM_PROVIDER": "anthropic", "ANTHROPIC_API_KEY": "k", "ANTHROPIC_MODEL": "claude-x"}
    assert model_settings("litellm", environ).model == "anthropic/claude-x"
    with pytest.raises(UsageError, match="LLM_PROVIDER"):
        model_settings("langchain", environ)
    with pytest.raises(UsageError, match="LLM_PROVIDER"):
        model_settings("dspy", {"LLM_PROVIDER": "nobody"})


def test_secrets_do_not_show_in_a_repr() -> None:
    environ = {"OAUTH_CLIENT_ID": "c", "OAUTH_CLIENT_SECRET": "s3cret-value", "OPENAI_API_KEY": "k3y-value"}
    assert "s3cret-value" not in repr(client_settings(environ))
    assert "k3y-value" not in repr(model_settings("openai", environ))


WRITTEN = Policy(
    tools={
        "pay": needs(
            "pay:use",
            "pay:see",
            issuers={"https://as.example"},
            subjects={"alice", "bob"},
            clients={"desk"},
            arguments={
                "region": one_of("eu", "uk"),
                "dry_run": one_of(True),
                "level": one_of(1, 2),
                "amount": between(0.5, 100),
                "count": at_least(1),
                "size": at_most(7),
            },
        ),
        "whoami": needs(),
    },
    resources={"health://status": needs(), "users://{id}/profile": needs("users:read")},
    prompts={"greet": needs("users:read")},
    completions={"greet": needs("users:list")},
    hierarchy={"admin:all": {"users:all", "pay:use"}, "users:all": {"users:read"}},
)
TABLE = """
[policy.tools.pay]
scopes = ["pay:see", "pay:use"]
issuers = ["https://as.example"]
subjects = ["bob", "alice"]
clients = ["desk"]
[policy.tools.pay.arguments]
region = ["uk", "eu"]
dry_run = [true]
level = [1, 2]
amount = { at_least = 0.5, at_most = 100 }
count = { at_least = 1 }
size = { at_most = 7 }
[policy.tools.whoami]
scopes = []
[policy.resources]
"health://status" = { scopes = [] }
"users://{id}/profile" = { scopes = ["users:read"] }
[policy.prompts.greet]
scopes = ["users:read"]
[policy.completions.greet]
scopes = ["users:list"]
[policy.hierarchy]
"users:all" = ["users:read"]
"admin:all" = ["pay:use", "users:all"]
"""


def test_a_policy_in_the_file_and_in_python_are_one(tmp_path: Path) -> None:
    (tmp_path / "garrison.toml").write_text(TABLE)
    assert policy(tmp_path) == WRITTEN == server_settings(tmp_path, {}).policy


def test_a_file_without_a_policy_has_none(tmp_path: Path) -> None:
    assert policy(tmp_path) is None
    (tmp_path / "garrison.toml").write_text("[limits]\n")
    assert policy(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[polisy]\n", "Did you mean policy?"),
        ("[policy.tool.x]\nscopes = []", "Did you mean tools?"),
        ("[policy.tools.x]\nscope = []", "Did you mean scopes?"),
        ("[policy.tools.x]\nscopes = []\nsubject = ['a']", "Did you mean subjects?"),
        ("[policy.tools.x]\nscopes = []\narguments = { a = { most = 1 } }", "Did you mean at_most?"),
        ("[limits]\nrequest_per_minute = 5", "Did you mean requests_per_minute?"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "garrison.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        policy(tmp_path)
    assert said in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "policy = 1",
        "[policy]\ntools = 1",
        "[policy.tools]\nx = 1",
        "[policy.tools.x]\n",
        "[policy.tools.x]\nscopes = 'a'",
        "[policy.tools.x]\nscopes = [1]",
        "[policy.tools.x]\nscopes = ['a b']",
        "[policy.tools.x]\nscopes = []\nsubjects = []",
        "[policy.tools.x]\nscopes = []\nclients = ['*']",
        "[policy.tools.x]\nscopes = []\nwhen = 'true'",
        "[policy.tools.x]\nscopes = []\narguments = 1",
        "[policy.tools.x]\nscopes = []\narguments = { a = 'eu' }",
        "[policy.tools.x]\nscopes = []\narguments = { a = [] }",
        "[policy.tools.x]\nscopes = []\narguments = { a = [1, true] }",
        "[policy.tools.x]\nscopes = []\narguments = { a = [1.5] }",
        "[policy.tools.x]\nscopes = []\narguments = { a = [[]] }",
        "[policy.tools.x]\nscopes = []\narguments = { a = {} }",
        "[policy.tools.x]\nscopes = []\narguments = { a = { at_most = 'x' } }",
        "[policy.tools.x]\nscopes = []\narguments = { a = { at_most = nan } }",
        "[policy.tools.x]\nscopes = []\narguments = { a = { at_most = true } }",
        "[policy.tools.x]\nscopes = []\narguments = { a = { at_least = 2, at_most = 1 } }",
        "[policy.resources.'users://{id']\nscopes = []",
        "[policy.completions.x]\nscopes = []",
        "[policy.hierarchy]\na = ['b']\nb = ['a']",
        "[policy.hierarchy]\na = 'b'",
        "[policy.hierarchy]\n'a b' = ['c']",
    ],
)
def test_a_policy_that_is_not_understood_is_refused_wherever_the_file_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "garrison.toml").write_text(text)
    with pytest.raises(UsageError, match="policy"):
        policy(tmp_path)
    with pytest.raises(UsageError, match="policy"):
        server_settings(tmp_path, {})


def test_what_unproven_clients_may_do_is_set_in_the_file_and_the_token_in_the_environment(tmp_path: Path) -> None:
    defaults = server_settings(tmp_path, {}).open_clients
    assert (defaults.client_documents, defaults.registration, defaults.unproven_scope) == (True, False, None)
    (tmp_path / "garrison.toml").write_text(
        '[auth]\nregistration = true\nclient_document_hosts = ["*.example.com"]\nunproven_scope = "a:b c:d"\n'
    )
    chosen = server_settings(tmp_path, {"OAUTH_REGISTRATION_TOKEN": "t0ken"}).open_clients
    assert chosen.registration
    assert chosen.client_document_hosts == ("*.example.com",)
    assert chosen.unproven_scope == frozenset({"a:b", "c:d"})
    assert chosen.registration_token == "t0ken"
    assert "t0ken" not in repr(chosen)
    (tmp_path / "garrison.toml").write_text("[auth]\nclient_document_hosts = [1]\n")
    with pytest.raises(UsageError):
        server_settings(tmp_path, {})


PROVIDER = """
[auth.identity_provider]
issuer = "https://login.example"
client_id = "us"
client_secret_file = "secret"
name = "Example"
scopes = "openid groups"
username_claim = "email"
local_users = true
private_addresses = true
account_prompt = "select_account"
grant_lifetime = 3600
[[auth.identity_provider.allow]]
scope = "a:b c:d"
claims = { groups = ["x", 1, true] }
email_domains = ["example.com"]
[[auth.identity_provider.allow]]
scope = "a:b"
everyone = true
"""


def test_every_setting_of_an_identity_provider_is_in_the_file_and_its_secret_in_another(tmp_path: Path) -> None:
    (tmp_path / "garrison.toml").write_text(PROVIDER)
    (tmp_path / "secret").write_text("of the file\n")
    wanted = IdentityProvider(
        issuer="https://login.example",
        client_id="us",
        client_secret="of the file",
        name="Example",
        scopes=frozenset({"openid", "groups"}),
        username_claim="email",
        local_users=True,
        private_addresses=True,
        account_prompt="select_account",
        grant_lifetime=3600,
        allow=(
            Allow(
                scope=frozenset({"a:b", "c:d"}),
                claims={"groups": ("x", 1, True)},
                email_domains=("example.com",),
            ),
            Allow(scope=frozenset({"a:b"}), everyone=True),
        ),
    )
    assert server_settings(tmp_path, {}).identity_provider == wanted
    environ = {"GARRISON_IDENTITY_PROVIDER_SECRET": "of the environment"}
    settings = server_settings(tmp_path, environ)
    assert settings.identity_provider == replace(wanted, client_secret="of the environment")
    assert "of the environment" not in repr(settings)
    (tmp_path / "secret").write_text("\n")
    for remove in (False, True):
        if remove:
            (tmp_path / "secret").unlink()
        with pytest.raises(UsageError, match="client_secret_file"):
            server_settings(tmp_path, {})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('client_id = "us"', "", "client_id is missing"),
        ('client_id = "us"', "client_id = 7", "must be of type str"),
        ('name = "Example"', 'nme = "Example"', "unknown key nme"),
        ("everyone = true", "everyon = true", "unknown key everyon"),
        ("everyone = true", "", "everyone"),
        ('"example.com"', "7", "email_domains must be a list of texts"),
        ('["x", 1, true]', '"x"', "groups must be a list"),
        ('["x", 1, true]', "[1.5]", "groups must be a list"),
        ('scope = "a:b c:d"', "", "scope"),
        ("local_users = true", 'local_users = "no"', "must be of type bool"),
    ],
)
def test_an_identity_provider_that_is_not_understood_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in PROVIDER
    (tmp_path / "garrison.toml").write_text(PROVIDER.replace(old, new, 1))
    environ = {"GARRISON_IDENTITY_PROVIDER_SECRET": "s"}
    with pytest.raises(UsageError, match=said):
        server_settings(tmp_path, environ)


def test_rules_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    text = '[auth.identity_provider]\nissuer = "https://a.example"\nclient_id = "us"\n'
    for allow in ("", "allow = []", "allow = [1]"):
        (tmp_path / "garrison.toml").write_text(text + allow)
        with pytest.raises(UsageError, match="identity_provider"):
            server_settings(tmp_path, {})


def test_the_identity_provider_of_the_manual_is_understood(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "authorization-server.md").read_text()
    (block,) = re.findall(r"^```toml\n(\[auth.identity_provider\]\n.*?)^```$", manual, re.MULTILINE | re.DOTALL)
    (tmp_path / "garrison.toml").write_text(block)
    provider = server_settings(tmp_path, {"GARRISON_IDENTITY_PROVIDER_SECRET": "s"}).identity_provider
    assert provider
    shown = set(re.findall(r"^(\w+) = ", block.partition("[[")[0], re.MULTILINE))
    assert shown == {field.name for field in fields(IdentityProvider)} - {"client_secret", "allow"} | {
        "client_secret_file"
    }
    defaults = IdentityProvider(issuer=provider.issuer, client_id="garrison", allow=provider.allow)
    said = ("local_users", "private_addresses", "account_prompt", "grant_lifetime")
    assert [getattr(provider, name) for name in said] == [getattr(defaults, name) for name in said]
