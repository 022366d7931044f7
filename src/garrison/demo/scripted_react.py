"""The text protocol of DSPy's ReAct, for the scripted model.

DSPy's ChatAdapter names the output fields and the tools in its system prompt, writes each field of the conversation as
`[[ ## name ## ]]` on a line of its own, and wants its fields answered in the same way. One tool a turn, then `finish`;
a last request then asks for the answer itself.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from garrison.demo.scripted_rules import Wish, conclusion, no_tool, wishes

_OUTPUTS = re.compile(r"^Your output fields are:\n((?:\d+\. .*\n)+)", re.MULTILINE)
_OUTPUT = re.compile(r"^\d+\. `(\w+)`", re.MULTILINE)
_TOOL = re.compile(r"^\s*\(\d+\) ([\w-]+), whose description is ", re.MULTILINE)
_QUESTION = re.compile(r"^\[\[ ## question ## \]\]\n(.*?)\n\n\[\[ ## trajectory ## \]\]", re.MULTILINE | re.DOTALL)
_STEP = re.compile(
    r"^\[\[ ## tool_name_\d+ ## \]\]\n(.*?)\n\n\[\[ ## tool_args_\d+ ## \]\]\n.*?"
    r"\n\n\[\[ ## observation_\d+ ## \]\]\n(.*?)(?=\n\n\[\[ ## thought_\d+ ## \]\]|\n\nRespond with)",
    re.MULTILINE | re.DOTALL,
)
FINISH = "finish"


def react_answer(system: str, user: str, before: Sequence[str] = ()) -> str | None:
    """What to say to ReAct's prompt of `system` and `user`, after earlier ones; None if it is no such prompt."""
    outputs, question = _OUTPUTS.search(system), _QUESTION.search(user)
    if not outputs or not question:
        return None
    steps = [(name, observation) for name, observation in _STEP.findall(user) if name != FINISH]
    names = _OUTPUT.findall(outputs.group(1))
    if "next_tool_name" in names:
        return _fields(_next_step(question.group(1), before, _offered(system), steps))
    said = conclusion(steps) if steps else no_tool()
    return _fields({name: "The tools have answered." if name == "reasoning" else said for name in names})


def _offered(system: str) -> list[str]:
    return [name for name in _TOOL.findall(system) if name != FINISH]


def _next_step(
    question: str, before: Sequence[str], offered: Sequence[str], steps: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    wanted = wishes(question, offered, before)
    wish = wanted[len(steps)] if len(steps) < len(wanted) else Wish(FINISH, {})
    thought = "Nothing is left to ask." if wish.tool == FINISH else f"The question needs {wish.tool}."
    return {"next_thought": thought, "next_tool_name": wish.tool, "next_tool_args": json.dumps(wish.arguments)}


def _fields(values: Mapping[str, str]) -> str:
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in {**values, "completed": ""}.items())
