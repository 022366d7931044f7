"""Coverage at a third of what it costs by itself.

SQLAlchemy's asynchronous half runs its other half in greenlets. So that coverage mixes up nothing, it is told of them
(`concurrency` in pyproject.toml), and asks at each call and each return of any function which greenlet this is, and
looks that up in a dictionary written in Python: four fifths of its price. In the thread that tests run in, greenlets
are left out instead, and need not be asked for.
"""

import sys
from typing import Any

import greenlet  # type: ignore[import-untyped]


class _Aside:
    """Is told of each switch: while a greenlet runs, the tracer of its thread is put aside."""

    def __init__(self) -> None:
        self._tracer: Any = None

    def __call__(self, _event: str, ends: tuple[Any, Any]) -> None:
        within = ends[1].parent is not None
        if within and sys.gettrace():
            self._tracer = sys.gettrace()
            sys.settrace(None)
        elif self._tracer and not within:
            sys.settrace(self._tracer)
            self._tracer = None


def leave_greenlets_out() -> None:
    """In this thread, for as long as the measurement that is going on isn't stopped."""
    tracer: Any = sys.gettrace()
    if getattr(tracer, "concur_id_func", None):
        tracer.concur_id_func = None
        greenlet.settrace(_Aside())


def end_first_measurement() -> None:
    """In a process of pytest-xdist, where pytest-cov begins one as if this were the main process, and forgets it below
    the one that it begins next. It would go on wherever that is paused, in `no_cover`.
    """
    coverage: Any = sys.modules.get("coverage")
    first = coverage and coverage.Coverage.current()
    if first:
        first.stop()
