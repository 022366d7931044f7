"""README.md lists the tests of every statement; here it is held against the tests themselves."""

import os
import re
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
README = HERE / "README.md"
STATEMENTS = range(1, 58)
_LISTED = re.compile(r"- `(\w+/)*test_")
_STATEMENT = re.compile(r"### (\d+)\. ")
_TEST = re.compile(r"^(?:async )?def (test_(\d\d)_\w+)\(", re.MULTILINE)


def by_statement() -> dict[int, list[str]]:
    found = defaultdict(list)
    for file in sorted(HERE.rglob("test_*.py")):
        for name, number in _TEST.findall(file.read_text()):
            found[int(number)].append(f"- `{file.relative_to(HERE)}` {name.replace('_', ' ')[8:]}")
    return found


def rendered(readme: str) -> str:
    """`readme` with the tests that there are below each statement."""
    tests, lines = by_statement(), []
    for line in readme.splitlines():
        if _LISTED.match(line):
            continue
        lines.append(line)
        if statement := _STATEMENT.match(line):
            lines += ["", *tests[int(statement.group(1))]]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def test_every_statement_is_named_by_a_test_that_exists() -> None:
    assert [number for number in STATEMENTS if not by_statement()[number]] == []
    assert set(by_statement()) == set(STATEMENTS), "a test is named after a statement that there is not"


def test_the_list_of_statements_names_the_tests_that_there_are() -> None:
    readme = README.read_text()
    if os.environ.get("GARRISON_GOLDEN") == "write":
        README.write_text(rendered(readme))
    assert [int(number) for number in _STATEMENT.findall(readme)] == list(STATEMENTS)
    assert README.read_text() == rendered(README.read_text())
