"""The room's own rule: OAuth without I/O. Clock, randomness for claims, network and files belong to the callers."""

import ast
import re
from pathlib import Path

import pytest

import garrison.oauth

MODULES = sorted(Path(next(iter(garrison.oauth.__path__))).glob("*.py"))
IO = re.compile(
    r"(aiosqlite|anyio|asyncio|builtins|ctypes|datetime|ftplib|glob|http|httpcore2|httpx2?|importlib|io|logging|mmap"
    r"|multiprocessing|os|pathlib|pickle|queue|random|select|selectors|shelve|shutil|signal|smtplib|socket|socketserver"
    r"|sqlite3|ssl|starlette|subprocess|sys|tempfile|threading|time|urllib\.request|uvicorn|warnings)(\..*)?"
)


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_module_imports_what_does_io_or_knows_the_time(module: Path) -> None:
    assert not [name for name in imported(ast.parse(module.read_text())) if IO.fullmatch(name)]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_of_the_rooms_below_only_the_pure_modules_are_used(module: Path) -> None:
    rooms = {name for name in imported(ast.parse(module.read_text())) if name.startswith("garrison.")}
    allowed = ("garrison.oauth", "garrison.base.errors", "garrison.base.addresses")
    assert all(name.startswith(allowed) for name in rooms)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_module_checks_by_assert_or_opens_a_file(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        assert not isinstance(node, ast.Assert)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "eval", "exec", "input", "__import__"}
