"""LiteLLM, which speaks to a hundred providers: the model's name says which (`openai/…`, `anthropic/…`, `ollama/…`)."""

import os
from typing import Any

# Read by litellm when it is imported: without it, it fetches a price list from the network, three times over.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm

from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed, TooManyTurns
from garrison.clients.toolbox import NO_KEY, Approve, Offered, OnCall, OnText, Sessions, open_toolbox

DEFAULT_MODEL = "openai/gpt-5.4-mini"

litellm.telemetry = False
litellm.suppress_debug_info = True  # it prints help texts to standard output otherwise


async def run(
    session: Sessions,
    question: str,
    *,
    model: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    max_turns: int = 8,
    on_call: OnCall | None = None,
    approve: Approve | None = None,
    on_text: OnText | None = None,
) -> Answer:
    toolbox = await open_toolbox(session, on_call, approve)
    tools = [_tool(offered) for offered in toolbox.offered]
    messages: list[Any] = [{"role": "user", "content": question}]
    for _ in range(max_turns):
        try:
            request = {
                "model": qualified(model or DEFAULT_MODEL),
                "messages": messages,
                "tools": tools or None,
                "api_base": base_url,
                "api_key": api_key or NO_KEY,
            }
            completion = await _complete(request, on_text)
        except Exception as error:
            raise ModelFailed("the model", error) from error
        usage = getattr(completion, "usage", None)
        if usage:
            toolbox.count(usage.prompt_tokens, usage.completion_tokens, _cost(completion))
        message = completion.choices[0].message
        asked = message.tool_calls or []
        if not asked:
            return toolbox.answer(message.content or "")
        messages.append(message.model_dump(exclude_none=True))
        done = await toolbox.use_all([(call.function.name or "", call.function.arguments) for call in asked])
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": result.text}
            for call, result in zip(asked, done, strict=True)
        ]
    raise TooManyTurns(max_turns, toolbox.calls)


async def _complete(request: dict[str, Any], on_text: OnText | None) -> Any:
    """One turn of the model, whose text is told as it comes."""
    if on_text is None:
        return await litellm.acompletion(**request)
    stream: Any = await litellm.acompletion(**request, stream=True, stream_options={"include_usage": True})
    chunks = []
    async for chunk in stream:
        chunks.append(chunk)
        if chunk.choices and chunk.choices[0].delta.content:
            on_text(chunk.choices[0].delta.content)
    return litellm.stream_chunk_builder(chunks, messages=request["messages"])


def _cost(completion: Any) -> float | None:
    """US dollars, by the price list that comes with the library; None for a model that isn't in it."""
    try:
        return float(litellm.completion_cost(completion))
    except Exception:  # noqa: BLE001 - the library raises plain Exception for an unknown price
        return None


def qualified(model: str) -> str:
    """`model` with its provider: a bare name is taken as one of a server that speaks OpenAI's protocol."""
    return model if "/" in model else f"openai/{model}"


def _tool(offered: Offered) -> dict[str, Any]:
    function = {"name": offered.name, "description": offered.description, "parameters": offered.schema}
    return {"type": "function", "function": function}
