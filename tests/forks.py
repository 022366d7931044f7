"""A program in forks of one process that has loaded what it needs of others' libraries: that takes longer than most of
its runs, and some tests run it often.

`python forks.py SOCKET WORD…` is the program, with the words, the environment, the folder and the standard files that
it was started with. Each fork loads the program's own modules itself, as it would in a process of its own. A signal
doesn't reach it: what is to be ended by one is to be started as people start it.
"""

import atexit
import gc
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import count
from pathlib import Path
from runpy import run_module

STANDARD = (0, 1, 2)
LONGEST = 1 << 20
BROKEN = 70
AT_ONCE = 4
"""Programs: many that are started together would share the processor until the clocks of each run out."""


@contextmanager
def program(name: str, *modules: str, folder: str | Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """A script that is the module `name`, as `python -m` would run it; it is called as the module's package.

    Args:
        modules: what it may load in the end; what these load of other packages than its own is loaded beforehand.
        folder: for script and socket; its path is to be short, as sockets want it.
        environ: that of the process that is forked, as far as Python asks for it when it starts.
    """
    address, script = f"{folder}/socket", Path(folder) / name.partition(".")[0]
    command = [sys.executable, "-m", "tests.forks", address, name, *modules]
    root = Path(__file__).parents[1]
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -SE "{__file__}" "{address}" "$@"\n')
    script.chmod(0o755)
    with subprocess.Popen(command, cwd=root, env=environ, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == b"ready\n"
            yield script
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # and what may hang


def ask(address: str, words: list[str]) -> int:
    """Exit status of one run of the program."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.connect(address)
        variables = [f"{name}={value}" for name, value in os.environ.items()]
        known = [str(Path.cwd()), str(len(words)), *words, *variables]
        socket.send_fds(server, [b"\0"], STANDARD)
        server.sendall(os.fsencode("\0".join(known)))
        server.shutdown(socket.SHUT_WR)
        return (server.recv(1) or bytes([BROKEN]))[0]  # nothing, if it was killed


def serve(address: str, name: str, modules: list[str]) -> None:
    """Until this process is killed; returns in a fork that is to be the program."""
    for module in (name, *modules):
        import_module(module)
    own = name.partition(".")[0]
    for module in [module for module in sys.modules if module.partition(".")[0] == own]:
        del sys.modules[module]
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(address)
        server.listen(1000)
        print("ready", flush=True)
        for turn in count():
            asker, _ = server.accept()
            if turn >= AT_ONCE:
                os.wait()
            with asker:
                if os.fork():
                    continue
                if pid := os.fork():
                    tell(asker, pid)
                become(asker)
                return


def become(asker: socket.socket) -> None:
    """What the asker is."""
    _, standard, _, _ = socket.recv_fds(asker, 1, len(STANDARD))
    for number, file in zip(STANDARD, standard, strict=True):
        os.dup2(file, number)
        os.close(file)
    text = os.fsdecode(b"".join(iter(lambda: asker.recv(LONGEST), b"")))
    folder, words, *rest = text.split("\0")
    sys.argv[1:] = rest[: int(words)]
    os.environ.clear()
    os.environ.update(dict(variable.split("=", 1) for variable in rest[int(words) :]))
    os.chdir(folder)


def tell(asker: socket.socket, pid: int) -> None:
    """How the program ended, which is a process like any other; then this fork ends."""
    status = BROKEN
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        with suppress(OSError):  # whoever asked may be gone
            asker.sendall(bytes([status % 256]))
        os._exit(0)


def end(code: str | int | None) -> None:
    """This process, without taking all apart that it was forked with: that takes longer than most programs."""
    if isinstance(code, str):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))


if __name__ == "__main__":
    address, *words = sys.argv[1:]
    if sys.flags.no_site:  # which is quick to start, and all that asking needs
        sys.exit(ask(address, words))
    serve(address, words[0], words[1:])
    try:
        run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        end(ended.code)
    except BaseException:  # noqa: BLE001 - whatever it is, the interpreter would print it
        traceback.print_exc()
        end(1)
    end(0)
