"""Each adapter asks the three questions, through the scripted model, with real tool calls through the guard."""

import secrets

from garrison.clients.adapters import ADAPTERS, load
from garrison.demo.questions import QUESTIONS
from garrison.demo.scene import Scene, Step, expect
from garrison.demo.scripted_model import create_app
from garrison.demo.steps.tools import connected
from garrison.serving import Endpoint, bind, running

HOST = "127.0.0.1"


def asks(adapter: str) -> Step:
    """The step in which `adapter` asks all questions in one session."""

    async def step(scene: Scene) -> str:
        run = load(adapter).run
        sockets = bind("scripted model", HOST, 0)
        base_url = f"http://{HOST}:{sockets[0].getsockname()[1]}{'' if adapter == 'anthropic' else '/v1'}"
        model = Endpoint("scripted model", create_app(), sockets)
        called: list[str] = []
        async with running(model), connected(scene) as session:
            for question, tool in QUESTIONS.items():
                # The scripted model takes any key, but never none: adapters must send what they were given.
                answer = await run(session, question, base_url=base_url, api_key=secrets.token_urlsafe(16))
                good = [call.name for call in answer.calls if not call.is_error]
                expect(tool in good, f"{question!r} led to {[call.name for call in answer.calls]}")
                scene.show(f"{question}")
                scene.show(f"  {answer.text}")
                called += good
        return f"{len(QUESTIONS)} questions, tool calls: {', '.join(called)}"

    return step


STEPS: tuple[tuple[str, Step], ...] = tuple(
    (f"{adapter} answers the three questions", asks(adapter)) for adapter in ADAPTERS
)
