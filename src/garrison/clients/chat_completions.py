"""The conversation of OpenAI's chat completions, for the libraries that speak it."""

from collections.abc import Awaitable, Callable
from typing import Any

from garrison.clients.answer import Answer
from garrison.clients.question import Question

Complete = Callable[[dict[str, Any]], Awaitable[Any]]
"""One turn of the model: a `ChatCompletion`, or its like, for a request's `model`, `messages` and `tools`."""


async def converse(
    question: Question, complete: Complete, model: str, cost: Callable[[Any], float | None] = lambda _: None
) -> Answer:
    """Ask, call what is asked for, and go on until there is an answer; `cost` is that of one turn, in US dollars.

    Raises:
        TooManyTurns: there is none.
        Exception: what `complete` raises.
    """
    tools = [{"type": "function", "function": offered.function()} for offered in question.toolbox.offered]
    messages: list[Any] = [*question.before, {"role": "user", "content": question.text}]
    for _ in range(question.max_turns):
        # No tools at all rather than an empty list, which OpenAI refuses.
        completion = await complete({"model": model, "messages": messages, **({"tools": tools} if tools else {})})
        if usage := getattr(completion, "usage", None):
            question.toolbox.count(usage.prompt_tokens, usage.completion_tokens, cost(completion))
        message = completion.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        calls = [call for call in message.tool_calls or [] if call.type == "function"]
        if not calls:
            return question.answer(message.content or "", messages)
        done = await question.toolbox.use_all([(call.function.name or "", call.function.arguments) for call in calls])
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": result.text}
            for call, result in zip(calls, done, strict=True)
        ]
    raise question.unanswered()
