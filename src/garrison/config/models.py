"""What the environment says of models: whose, which one, where, and with what key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from garrison.base.addresses import is_loopback_host
from garrison.base.errors import UsageError

_PROVIDERS: Mapping[str, tuple[str, str, str]] = {
    # provider: the variables of its key, address and model
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL"),
    "ollama": ("", "OLLAMA_BASE_URL", "OLLAMA_MODEL"),
}
_KEY_PAGES = {"openai": "platform.openai.com/api-keys", "anthropic": "console.anthropic.com/settings/keys"}
_SPEAKS_ANTHROPIC = frozenset({"anthropic", "dspy", "litellm"})
_BY_QUALIFIED_NAME = frozenset({"dspy", "litellm"})


@dataclass(frozen=True)
class ModelSettings:
    """Which model to ask and where; None leaves it to the adapter's default."""

    model: str | None
    base_url: str | None
    api_key: str | None = field(repr=False)


def provider_of(adapter: str, environ: Mapping[str, str]) -> str:
    """Whose models `adapter` asks: its own provider's, or the one that LLM_PROVIDER names, as far as it knows it.

    Raises:
        UsageError: LLM_PROVIDER names none that the adapter knows.
    """
    if adapter == "anthropic":
        return adapter
    adapter = adapter.partition("-")[0]
    chosen = environ.get("LLM_PROVIDER", "openai").lower()
    known = [name for name in _PROVIDERS if name != "anthropic" or adapter in _SPEAKS_ANTHROPIC]
    if adapter == "openai" and chosen == "anthropic":
        return "openai"
    if chosen not in known:
        raise UsageError(f"LLM_PROVIDER is {chosen!r}", f"With {adapter} it can be {', '.join(known)}.")
    return chosen


def model_settings(adapter: str, environ: Mapping[str, str]) -> ModelSettings:
    """The model that `adapter` is to ask.

    Raises:
        UsageError: the provider's key is missing; the hint says which variable and where to get one.
    """
    provider = provider_of(adapter, environ)
    key_name, base_name, model_name = _PROVIDERS[provider]
    base_url, model = environ.get(base_name) or None, environ.get(model_name) or None
    if provider == "ollama":
        base = (base_url or "http://localhost:11434").rstrip("/").removesuffix("/v1")
        return ModelSettings(model or "llama3.2", f"{base}/v1", None)
    api_key = environ.get(key_name) or None
    if not api_key and not _on_this_machine(base_url):
        hint = f"Get a key from https://{_KEY_PAGES[provider]} and export {key_name}=…"
        raise UsageError(
            f"{key_name} is not set", f"{hint} (a server of your own on loopback needs none: {base_name})."
        )
    if model and provider == "anthropic" and adapter in _BY_QUALIFIED_NAME and "/" not in model:
        model = f"anthropic/{model}"
    return ModelSettings(model, base_url, api_key)


def _on_this_machine(url: str | None) -> bool:
    return is_loopback_host(urlsplit(url or "").hostname or "")
