"""The table of mutants (authserver.toml): which check each takes away, and which tests must notice."""

import re
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = Path("src/garrison")
TABLE = Path(__file__).with_name("authserver.toml")
_NAMED_AFTER = re.compile(r"^(?:async )?def (test_(\d\d)_\w+)\(", re.MULTILINE)


class DoesNotApply(Exception):
    """The source has changed: the mutant's text is not there exactly once, or its replacement is no program."""


@dataclass(frozen=True)
class Mutant:
    statement: int
    name: str
    file: Path
    find: str
    replace: str
    tests: tuple[str, ...]

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
    entries = tomllib.loads(TABLE.read_text())["mutant"]
    return tuple(
        Mutant(
            statement=entry["statement"],
            name=entry["name"],
            file=SOURCE / entry["file"],
            find=entry["find"],
            replace=entry["replace"],
            tests=tuple(f"tests/{test}" for test in entry.get("tests", ())) or named_after(entry["statement"]),
        )
        for entry in entries
    )
