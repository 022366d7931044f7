"""A process of its own that asks one tool with the tokens of a shared file: python process.py URL FILE AHEAD.

AHEAD is by how many seconds its clock is fast, so that a stored token looks as if it were about to end. Prints the
subject of the token that it used, and has no way to log in.
"""

import sys
import time
from pathlib import Path

import anyio

from garrison import connect
from garrison.clients.login import Login
from garrison.clients.retry_after import Timing
from garrison.clients.tokens import FileTokens


async def nobody(url: str) -> None:
    raise SystemExit("a login was asked for")


async def main(url: str, file: str, ahead: float) -> None:
    async with connect(
        url,
        client_id="cli",
        timing=Timing(clock=lambda: time.time() + ahead),
        login=Login(nobody),
        storage=FileTokens(Path(file)),
    ) as session:
        assert not (await session.call("get_customer_info", {"customer_id": "ABC123"})).is_error
        print(session.token.subject if session.token else "")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]))
