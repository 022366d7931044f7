from collections.abc import AsyncIterator

import pytest

from garrison.demo.scripted_model import create_app
from tests.clients.far_server import FarServer
from tests.clients.world import AuthServer, McpGate, Stage, World, serving


@pytest.fixture(scope="session")
async def stages() -> AsyncIterator[tuple[Stage, Stage, Stage]]:
    """Three servers for all tests, whose applications each test brings along: to start and stop them takes longer."""
    issuer, gate, model = Stage(), Stage(), Stage()
    async with serving(issuer) as issuer.url, serving(gate) as gate.url, serving(model) as model.url:
        yield issuer, gate, model


@pytest.fixture
async def world(stages: tuple[Stage, Stage, Stage]) -> AsyncIterator[World]:
    issuer_stage, gate_stage, model_stage = stages
    issuer, gate = AuthServer(issuer_stage.url), McpGate(f"{gate_stage.url}/mcp", [issuer_stage.url])
    issuer_stage.app, gate_stage.app, model_stage.app = issuer.app(), gate, create_app()
    async with gate.inner.router.lifespan_context(gate.inner):
        yield World(issuer, gate, model_stage)


@pytest.fixture
async def far(stages: tuple[Stage, Stage, Stage]) -> AsyncIterator[FarServer]:
    far = FarServer()
    app = far.app()
    stages[1].app = app
    async with app.router.lifespan_context(app):
        yield far


@pytest.fixture
def url(stages: tuple[Stage, Stage, Stage]) -> str:
    """Where the gate, or the far server, is."""
    return f"{stages[1].url}/mcp"
