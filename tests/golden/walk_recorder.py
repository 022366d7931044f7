"""Records which functions of the package a piece of work passes through, each once, in order of their first call."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

PACKAGE = Path(__file__).parents[2] / "src" / "garrison"


class Recorder:
    """`names` holds `file:function` of every public function that was entered on this thread.

    Not counted is what tasks do that ran before: they purge and watch, and come in between when they please.
    """

    def __init__(self, folders: tuple[str, ...], background: set[asyncio.Task[Any]]) -> None:
        self.names: list[str] = []
        self._folders = folders
        self._background = background
        self._seen: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        code = frame.f_code
        if event != "call" or code in self._seen or asyncio.current_task() in self._background:
            return
        self._seen.add(code)
        if name := self._name(code):
            self.names.append(name)

    def _name(self, code: CodeType) -> str | None:
        path = Path(code.co_filename)
        if not path.is_relative_to(PACKAGE):
            return None
        place = path.relative_to(PACKAGE).as_posix()
        last = code.co_qualname.rpartition(".")[2]
        private = last.startswith(("_", "<")) and last != "__call__"
        return None if private or not place.startswith(self._folders) else f"{place}:{code.co_qualname}"


@contextmanager
def recording(*folders: str) -> Iterator[Recorder]:
    """Record while the block runs, functions below `folders` only (`guard/`, `oauth/`, …)."""
    recorder = Recorder(folders, asyncio.all_tasks() - {asyncio.current_task()})
    before = sys.getprofile()
    sys.setprofile(recorder)
    try:
        yield recorder
    finally:
        sys.setprofile(before)
