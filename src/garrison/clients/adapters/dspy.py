"""DSPy's ReAct, asynchronous. The model's name says the provider, as in LiteLLM (`openai/…`).

A model asks for one tool a turn here. `dspy.ReActV2` (3.4) lets it ask for several, but makes the calls one after the
other; it is marked experimental; calls in the provider's own form are for models that LiteLLM's list knows, not for
those of one's own; and where a model just answers instead of calling `submit`, another request forces it to, by a
`tool_choice` that many servers refuse, and the answer is lost.
"""

import os
from typing import Any, Unpack

# Read by litellm, DSPy's HTTP layer, when it is imported: without it, it fetches a price list from the network.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import dspy  # type: ignore[import-untyped]  # ships no types

from garrison.base.errors import GarrisonError
from garrison.clients.answer import Answer
from garrison.clients.errors import ModelFailed
from garrison.clients.question import Options, asked
from garrison.clients.toolbox import Sessions, Toolbox

DEFAULT_MODEL = "openai/gpt-5.4-mini"
_SIGNATURES = ("question -> answer", "history: dspy.History, question -> answer")


async def run(session: Sessions, question: str, **options: Unpack[Options]) -> Answer:
    asking = await asked(session, question, DEFAULT_MODEL, **options)
    toolbox, last = asking.toolbox, asking.max_turns - 1
    name = asking.model if "/" in asking.model else f"openai/{asking.model}"
    # No cache: its disk half unpickles what it finds, and a tool's result is not to be kept there.
    address = {"api_base": asking.base_url} if asking.base_url else {}
    lm = dspy.LM(name, api_key=asking.api_key, cache=False, **address)
    inputs = {
        "question": question,
        **({"history": dspy.History(messages=list(asking.before))} if asking.before else {}),
    }
    agent = dspy.ReAct(_SIGNATURES[len(inputs) - 1], tools=_tools(toolbox))
    # ReAct ends in an error where a model names no tool of its list; here the model is told, as by the other adapters.
    agent.react.signature = agent.react.signature.with_updated_fields("next_tool_name", type_=str)
    agent.tools = _Tools(toolbox, agent.tools)
    try:
        with dspy.context(lm=lm):
            prediction = await agent.acall(**inputs, max_iters=asking.max_turns)
    except GarrisonError:
        raise
    except Exception as error:
        raise ModelFailed("the model", error) from error
    if prediction.trajectory.get(f"tool_name_{last}", "finish") != "finish":
        raise asking.unanswered()
    for turn in lm.history:
        usage = turn.get("usage") or {}
        toolbox.count(usage.get("prompt_tokens"), usage.get("completion_tokens"), turn.get("cost") or None)
    if asking.on_text:
        asking.on_text(prediction.answer)  # ReAct writes its answer in a last step, after all calls, in one piece
    return asking.answer(prediction.answer, [*asking.before, {"question": question, "answer": prediction.answer}])


def _tools(toolbox: Toolbox) -> list[dspy.Tool]:
    return [
        _tool(toolbox, offered.name, offered.description, offered.schema.get("properties", {}))
        for offered in toolbox.offered
    ]


class _Tool(dspy.Tool):  # type: ignore[misc]  # untyped base class
    """A tool that the toolbox runs: DSPy would check arguments by a slow validator and tell the model our stack."""

    async def acall(self, **arguments: Any) -> str:
        answer: str = await self.func(arguments)
        return answer


class _Tools(dict[str, dspy.Tool]):
    """Has a tool of every name: the toolbox answers for those that don't exist."""

    def __init__(self, toolbox: Toolbox, tools: dict[str, dspy.Tool]) -> None:
        super().__init__(tools)
        self._toolbox = toolbox

    def __missing__(self, name: str) -> dspy.Tool:
        return _tool(self._toolbox, name, "", {})


def _tool(toolbox: Toolbox, name: str, description: str, properties: dict[str, Any]) -> dspy.Tool:
    async def use(arguments: dict[str, Any]) -> str:
        return (await toolbox.use(name, arguments)).text

    return _Tool(use, name=name, desc=description, args=properties, arg_types={})
