"""MCP bundles (`.mcpb`, manifest version 0.4): a bridge that a person installs in Claude Desktop by opening one file.

Of the server type `uv`: the program that installs the bundle brings Python and the libraries that pyproject.toml names,
so that neither Node nor Python need be there. Garrison itself is in the bundle. It holds no secret; its user logs in.
"""

import contextlib
import json
import secrets
import zipfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from garrison.base.errors import GarrisonError

MANIFEST_VERSION = "0.4"
_START = '''"""Starts the bridge that the file beside this one describes."""

import json
import sys
from pathlib import Path

from garrison.cli.main import main

words = json.loads(Path(__file__).with_name("bridge.json").read_text(encoding="utf-8"))
sys.exit(main([*words, "--home", str(Path.home() / ".garrison")]))
'''


def write_bundle(file: Path, name: str, words: Sequence[str]) -> None:
    """Write a bundle to `file`.

    Args:
        file: is replaced.
        name: of the server, for Claude Desktop.
        words: of the command line, from `bridge` on, without --home.

    Raises:
        GarrisonError: it can't be written.
    """
    parts = {
        "manifest.json": json.dumps(manifest(name, words[1]), indent=2),
        "pyproject.toml": _pyproject(),
        "src/server.py": _START,
        "src/bridge.json": json.dumps(list(words), indent=2),
    }
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}.tmp")
    try:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_DEFLATED) as bundle:
            for path, text in parts.items():
                bundle.writestr(path, text + "\n")
            for path, source in _package():
                bundle.write(source, f"src/{path}")
        temporary.replace(file)  # a link of that name goes too: nothing is written where it leads
    except OSError as error:
        raise GarrisonError(f"{file} can't be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def manifest(name: str, url: str) -> dict[str, Any]:
    """The bundle's manifest (MCPB MANIFEST.md, 0.4)."""
    return {
        "manifest_version": MANIFEST_VERSION,
        "name": name,
        "display_name": name,
        "version": metadata.version("garrison"),
        "description": f"The MCP server at {url}, by a bridge that logs in to it.",
        "author": {"name": "Garrison"},
        "server": {
            "type": "uv",
            "entry_point": "src/server.py",
            "mcp_config": {"command": "uv", "args": ["run", "--directory", "${__dirname}", "src/server.py"]},
        },
        "tools_generated": True,
        "prompts_generated": True,
        "compatibility": {"platforms": ["darwin", "linux"], "runtimes": {"python": ">=3.11"}},
    }


def _pyproject() -> str:
    """What Garrison itself needs, without its extras."""
    needed = [line for line in metadata.requires("garrison") or [] if "extra ==" not in line]
    return f"""[project]
name = "garrison-bridge"
version = "{metadata.version("garrison")}"
requires-python = ">=3.11"
dependencies = {json.dumps(needed, indent=2)}
"""


def _package() -> Iterator[tuple[str, Path]]:
    """Garrison's own files, and the paths that they are imported by."""
    root = Path(__file__).parents[1]
    for source in sorted(root.rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            yield f"garrison/{source.relative_to(root).as_posix()}", source
