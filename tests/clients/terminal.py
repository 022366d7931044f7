"""A program at a terminal of its own (a pty), and a person who reads what it shows before typing on."""

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import Process

# The program's own terminal, so that Ctrl-C reaches it as it reaches a program that a shell has started.
_BECOME = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    def __init__(self, fd: int, process: Process) -> None:
        self._fd = fd
        self._process = process
        self._read = 0
        self.shown = ""

    async def see(self, text: str) -> None:
        """Wait until `text` is shown, behind all that was seen before."""
        while (at := self.shown.find(text, self._read)) < 0:
            await anyio.wait_readable(self._fd)
            try:
                self.shown += os.read(self._fd, 65_536).decode()
            except OSError as error:  # the program has gone
                raise AssertionError(f"{text!r} is not in {self.shown!r}") from error
        self._read = at + len(text)

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    async def ended(self) -> int:
        """The exit code, once the program has ended."""
        return await self._process.wait()


@asynccontextmanager
async def terminal(command: Sequence[str], environ: Mapping[str, str], seconds: float) -> AsyncIterator[Terminal]:
    """`command` at a terminal, for as long as the block runs, and `seconds` at the most."""
    ours, its = os.openpty()
    try:
        with anyio.fail_after(seconds):
            async with await anyio.open_process(
                [sys.executable, "-c", _BECOME, *command],
                stdin=its,
                stdout=its,
                stderr=its,
                env=dict(environ),
                start_new_session=True,
            ) as process:
                os.close(its)
                its = -1
                try:
                    yield Terminal(ours, process)
                finally:
                    if process.returncode is None:
                        process.kill()
    finally:
        for fd in (ours, its):
            if fd >= 0:
                os.close(fd)
