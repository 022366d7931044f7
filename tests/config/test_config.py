"""Settings: the environment beats the file, and what is not understood is an error."""

from pathlib import Path

import pytest

from garrison.base.errors import UsageError
from garrison.config import TEMPLATE, client_settings, model_settings, server_settings


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
    lines = [line.removeprefix("# ") if " = " in line else line for line in TEMPLATE.splitlines()]
    (tmp_path / "garrison.toml").write_text("\n".join(lines))
    assert server_settings(tmp_path, {}) == server_settings(tmp_path / "none", {})


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / "garrison.toml").write_text('[limits]\nrequests_per_minute = 5\nredis_url = "redis://file/0"\n')
    assert server_settings(tmp_path, {}).limits.requests_per_minute == 5
    environ = {"RATE_LIMIT_REQUESTS_PER_MINUTE": "7", "REDIS_URL": "redis://environ/0"}
    settings = server_settings(tmp_path, environ)
    assert (settings.limits.requests_per_minute, settings.limits.redis_url) == (7, "redis://environ/0")


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
