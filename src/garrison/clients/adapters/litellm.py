"""LiteLLM, which speaks to a hundred providers: the model's name says which (`openai/…`, `anthropic/…`, `ollama/…`)."""

import os
from typing import Any

# Read by litellm when it is imported: without it, it fetches a price list from the network, three times over.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm

from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed, TooManyTurns
from garrison.clients.session import Session
from garrison.clients.toolbox import NO_KEY, Offered, OnCall, Toolbox

DEFAULT_MODEL = "openai/gpt-5.4-mini"

litellm.telemetry = False
litellm.suppress_debug_info = True  # it prints help texts to standard output otherwise


async def run(
    session: Session,
    question: str,
    *,
    model: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    max_turns: int = 8,
    on_call: OnCall | None = None,
) -> Answer:
    toolbox = Toolbox(session, await session.tools(), on_call)
    tools = [_tool(offered) for offered in toolbox.offered]
    messages: list[Any] = [{"role": "user", "content": question}]
    for _ in range(max_turns):
        try:
            completion: Any = await litellm.acompletion(
                model=qualified(model or DEFAULT_MODEL),
                messages=messages,
                tools=tools or None,
                api_base=base_url,
                api_key=api_key or NO_KEY,
            )
        except Exception as error:
            raise ModelFailed("the model", error) from error
        message = completion.choices[0].message
        asked = message.tool_calls or []
        if not asked:
            return Answer(message.content or "", toolbox.calls)
        messages.append(message.model_dump(exclude_none=True))
        done = await toolbox.use_all([(call.function.name or "", call.function.arguments) for call in asked])
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": result.text}
            for call, result in zip(asked, done, strict=True)
        ]
    raise TooManyTurns(max_turns, toolbox.calls)


def qualified(model: str) -> str:
    """`model` with its provider: a bare name is taken as one of a server that speaks OpenAI's protocol."""
    return model if "/" in model else f"openai/{model}"


def _tool(offered: Offered) -> dict[str, Any]:
    function = {"name": offered.name, "description": offered.description, "parameters": offered.schema}
    return {"type": "function", "function": function}
