"""The table of attacks in README.md names tests that exist, and forgets none of the attacks that a guard must meet."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (Path(__file__).parent / "README.md").read_text()
ROWS = {int(number): tests for number, tests in re.findall(r"^\| (\d+) \|.*\| (`.*`) \|$", TABLE, re.MULTILINE)}


def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_attack_on_a_guard_has_a_row() -> None:
    assert sorted(ROWS) == [14, 15, 16, 18, 19, 20, 22, 23, 24, 25, 27, 29, 30]


def test_every_test_that_the_table_names_exists() -> None:
    for number, tests in ROWS.items():
        named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", tests)
        assert len(named) == tests.count("`") / 2, number
        for path, name in named:
            assert name in functions(path), (number, path, name)


def test_every_attack_of_this_folder_is_in_the_table() -> None:
    for path in Path(__file__).parent.glob("test_[0-9]*.py"):
        number = int(path.name.split("_")[1])
        for name in functions(f"tests/attacks/{path.name}"):
            assert not name.startswith("test_") or f"{path.name}::{name}`" in ROWS[number], name
