"""The client in forks of one process, for it takes longer to load than a scenario to play, and the suite plays sixty.

python forks.py SOCKET serves; python forks.py SOCKET URL is the client, with the environment, the folder and the output
that it was started with.
"""

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

LONGEST = 1 << 20
BROKEN = 70


def ask(path: str, url: str) -> int:
    """Exit status of one run of the client."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.connect(path)
        known = [url, str(Path.cwd()), *(f"{name}={value}" for name, value in os.environ.items())]
        socket.send_fds(server, [b"\0"], [1, 2])
        server.sendall("\0".join(known).encode())
        server.shutdown(socket.SHUT_WR)
        return (server.recv(1) or bytes([BROKEN]))[0]  # nothing, if it was killed


def serve(path: str) -> None:
    """Until this process is killed, and its forks with it."""
    from tests.conformance.client import run  # noqa: PLC0415 - who asks is not to load it

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)
        while True:
            asker, _ = server.accept()
            with asker:
                if os.fork():
                    continue
                status = BROKEN
                try:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    status = played(asker, run)
                finally:
                    asker.sendall(bytes([status]))
                    os._exit(status)


def played(asker: socket.socket, run: Callable[[str], None]) -> int:
    """In a fork: become what the asker is, and run."""
    _, outputs, _, _ = socket.recv_fds(asker, 1, 2)
    for standard, output in zip((1, 2), outputs, strict=True):
        os.dup2(output, standard)
        os.close(output)
    text = b"".join(iter(lambda: asker.recv(LONGEST), b"")).decode()
    url, folder, *variables = text.split("\0")
    os.environ.clear()
    for variable in variables:
        name, _, value = variable.partition("=")
        os.environ[name] = value
    os.chdir(folder)
    try:
        run(url)
    except SystemExit as ended:
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001 - whatever it is, the interpreter would print it
        traceback.print_exc()
        return 1
    else:
        return 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(ask(sys.argv[1], sys.argv[2]))
    serve(sys.argv[1])
