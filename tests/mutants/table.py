"""The tables of mutants (*.toml): which check each takes away, and which tests must notice."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCE = Path("src/garrison")
TABLES = tuple(sorted(Path(__file__).parent.glob("*.toml")))
_NAMED_AFTER = re.compile(r"^(?:async )?def (test_(\d\d)_\w+)\(", re.MULTILINE)


class DoesNotApply(Exception):
    """The source has changed: the mutant's text is not there exactly once, or its replacement is no program."""


@dataclass(frozen=True)
class Mutant:
    """`about` is a statement's number, or what else it is a check of; `engine` what its tests are run on."""

    about: int | str
    name: str
    file: Path
    find: str
    replace: str
    tests: tuple[str, ...]
    engine: str = "sqlite"

    def applied(self, root: Path = ROOT) -> str:
        """The source below `root` without the check. Raises `DoesNotApply`."""
        source = (root / self.file).read_text()
        times = source.count(self.find)
        if times != 1:
            raise DoesNotApply(f"{self.name}: the text to find is {times} times in {self.file}, not once")
        changed = source.replace(self.find, self.replace)
        if changed == source:
            raise DoesNotApply(f"{self.name}: the replacement changes nothing")
        return changed


@cache
def named_after(statement: int) -> tuple[str, ...]:
    """The node ids of the tests that are named after `statement`."""
    found = defaultdict(list)
    for file in sorted((ROOT / "tests/authserver").rglob("test_*.py")):
        for name, number in _NAMED_AFTER.findall(file.read_text()):
            found[int(number)].append(f"{file.relative_to(ROOT)}::{name}")
    return tuple(found[statement])


@cache
def mutants() -> tuple[Mutant, ...]:
    return tuple(mutant for table in TABLES for mutant in _of(tomllib.loads(table.read_text())))


def _of(table: Mapping[str, Any]) -> Iterator[Mutant]:
    for entry in table["mutant"]:
        about = entry.get("statement") or table["about"]
        yield Mutant(
            about=about,
            name=entry["name"],
            file=SOURCE / entry["file"],
            find=entry["find"],
            replace=entry["replace"],
            tests=tuple(f"tests/{test}" for test in entry.get("tests", ())) or named_after(about),
            engine=table.get("engine", "sqlite"),
        )
