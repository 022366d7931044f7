"""The tables of mutants can't rot: each is still one of this source, and no statement is without."""

import ast
from collections import Counter

import pytest

from tests.mutants.table import ROOT, Mutant, mutants

STATEMENTS = range(1, 58)


@pytest.mark.parametrize("mutant", mutants(), ids=[mutant.name for mutant in mutants()])
def test_a_mutant_applies_and_has_tests_that_can_notice(mutant: Mutant) -> None:
    changed = mutant.applied()
    if mutant.file.suffix == ".py":
        ast.parse(changed)
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / file).read_text()


def test_every_statement_has_a_mutant_and_every_mutant_a_name_of_its_own() -> None:
    assert {mutant.about for mutant in mutants()} >= set(STATEMENTS)
    assert [name for name, times in Counter(mutant.name for mutant in mutants()).items() if times > 1] == []
