"""Take each check of the authorization server away in turn, and see the tests notice: `make mutants`.

Exit status 1 if any survives, 2 if the tests fail on the source as it is.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutants.copies import Copy
from tests.mutants.table import DoesNotApply, Mutant, mutants

_here: list[Copy] = []
"""The one copy of a worker process."""


@dataclass(frozen=True)
class Result:
    """`outcome` is killed (a test failed), survived (none did), timeout, or broken (they could not run at all)."""

    about: int | str
    name: str
    outcome: str
    seconds: float
    output: str = ""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run", description=__doc__)
    parser.add_argument(
        "--only",
        metavar="NAME",
        help="those with NAME in their name; a number means its statement, a word a table without numbers",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--trust", action="store_true", help="don't run the tests on the source as it is first")
    parser.add_argument("-n", type=int, default=os.cpu_count(), metavar="N", help="how many at once")
    asked = parser.parse_args(arguments)
    chosen = [mutant for mutant in mutants() if _is_meant(mutant, asked.only)]
    if not chosen:
        parser.error(f"there is no mutant {asked.only}")
    folder = Path(tempfile.mkdtemp(prefix="garrison-mutants-"))
    begun = time.monotonic()
    try:
        Copy(folder / "first").compile()
        with ProcessPoolExecutor(asked.n, multiprocessing.get_context("spawn"), _begin, (folder,)) as pool:
            if wrong := "" if asked.trust else _on_the_source_as_it_is(pool, chosen):
                print(f"the tests fail on the source as it is:\n{wrong}", file=sys.stderr)
                return 2
            results = _in_turn([pool.submit(_judge, mutant) for mutant in chosen])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    left = [result for result in results if result.outcome != "killed"]
    if asked.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    else:
        for result in left:
            print(f"{result.outcome}: {result.about}. {result.name}")
        seconds = time.monotonic() - begun
        print(f"{len(results) - len(left)} of {len(results)} mutants were noticed, in {seconds:.0f} s")
    return 1 if left else 0


def _is_meant(mutant: Mutant, only: str | None) -> bool:
    return only is None or only == str(mutant.about) or (only in mutant.name and not only.isdecimal())


def _begin(folder: Path) -> None:
    _here.append(Copy(Path(tempfile.mkdtemp(dir=folder)), source=folder / "first"))


def _judge(mutant: Mutant) -> Result:
    begun = time.monotonic()
    try:
        outcome, output = _here[0].test_mutated(mutant)
    except DoesNotApply as error:
        outcome, output = "broken", str(error)
    told = {"failed": "killed", "passed": "survived"}.get(outcome, outcome)
    return Result(mutant.about, mutant.name, told, round(time.monotonic() - begun, 1), output)


def _test(tests: Iterable[str], engine: str) -> tuple[str, str]:
    return _here[0].test(sorted(tests), engine)


def _on_the_source_as_it_is(pool: ProcessPoolExecutor, chosen: Sequence[Mutant]) -> str:
    """What pytest says if the tests fail without any mutant: then their failing with one would say nothing."""
    by_file: dict[tuple[str, str], set[str]] = defaultdict(set)
    for test, engine in {(test, mutant.engine) for mutant in chosen for test in mutant.tests}:
        by_file[test.partition("::")[0], engine].add(test)
    ends = pool.map(_test, by_file.values(), (engine for _, engine in by_file))
    return "\n".join(output for outcome, output in ends if outcome != "passed")


def _in_turn(futures: "Sequence[Future[Result]]") -> list[Result]:
    """The results, by the order of the table; on a terminal each is told when it is there."""
    tell: Callable[[str], object] = sys.stderr.write if sys.stderr.isatty() else str
    for done, future in enumerate(as_completed(futures), 1):
        result = future.result()
        tell(f"{done}/{len(futures)} {result.outcome}: {result.about}. {result.name} ({result.seconds} s)\n")
    return [future.result() for future in futures]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
