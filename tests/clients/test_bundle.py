"""The bundle: its manifest is as the format says, and what it holds is the bridge."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from mcp import Client, StdioServerParameters

from garrison.base.errors import GarrisonError
from garrison.clients.bundle import manifest, write_bundle
from tests.clients.world import World

TEXT: dict[str, Any] = {"type": "string"}
STRINGS = {"type": "array", "items": TEXT}


def closed(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


# The rules of the format's published schema (mcpb-manifest-v0.4.schema.json) for what a bundle like ours has.
RULES = closed(
    ("name", "version", "description", "author", "server"),
    manifest_version={"const": "0.4"},
    name=TEXT,
    display_name=TEXT,
    version={"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
    description=TEXT,
    author=closed(("name",), name=TEXT, email=TEXT, url=TEXT),
    server=closed(
        ("entry_point", "type"),
        type={"const": "uv"},
        entry_point=TEXT,
        mcp_config=closed(("command",), command=TEXT, args=STRINGS, env={"type": "object"}),
    ),
    tools_generated={"type": "boolean"},
    prompts_generated={"type": "boolean"},
    compatibility=closed(
        (),
        claude_desktop=TEXT,
        platforms={"type": "array", "items": {"enum": ["darwin", "win32", "linux"]}},
        runtimes=closed((), python=TEXT, node=TEXT),
    ),
)


def test_the_manifest_is_as_the_format_wants_it() -> None:
    jsonschema_rs.validator_for(RULES).validate(manifest("far", "https://mcp.example/mcp"))


def test_the_bundle_has_what_its_type_must_have_and_nothing_it_must_not(tmp_path: Path) -> None:
    file = tmp_path / "far.mcpb"
    write_bundle(file, "far", ["bridge", "https://mcp.example/mcp", "--login"])
    with zipfile.ZipFile(file) as bundle:
        names = bundle.namelist()
        said = json.loads(bundle.read("manifest.json"))
        project = bundle.read("pyproject.toml").decode()
    assert said["server"]["entry_point"] in names
    assert '"mcp<3,>=2.3"' in project
    assert not [name for name in names if name.startswith("server/") or "__pycache__" in name]


def test_a_link_of_the_bundles_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target, file = tmp_path / "theirs", tmp_path / "far.mcpb"
    target.write_text("precious")
    file.symlink_to(target)
    write_bundle(file, "far", ["bridge", "https://mcp.example/mcp"])
    assert target.read_text() == "precious"
    assert zipfile.is_zipfile(file)
    assert {path.name for path in tmp_path.iterdir()} == {"theirs", "far.mcpb"}


def test_a_bundle_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GarrisonError, match="can't be written"):
        write_bundle(tmp_path / "none" / "far.mcpb", "far", ["bridge", "https://mcp.example/mcp"])


async def test_what_is_in_the_bundle_is_a_bridge(world: World, tmp_path: Path) -> None:
    world.gate.open = True
    file = tmp_path / "far.mcpb"
    write_bundle(file, "far", ["bridge", world.url])
    with zipfile.ZipFile(file) as bundle:
        bundle.extractall(tmp_path / "there")
    server = StdioServerParameters(
        command=sys.executable, args=[str(tmp_path / "there" / "src" / "server.py")], env={"HOME": str(tmp_path)}
    )
    async with Client(server) as local:
        assert local.server_info
        assert local.server_info.name == "customers"
    assert (tmp_path / ".garrison" / "bridge").is_dir()
