"""A headless Chromium of the tests' own, spoken to in the Chrome DevTools Protocol over two pipes: no port, no driver.

Everything waits for a condition, for as long as a busy machine may take, and looks again every few milliseconds.
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from asyncio import Future, StreamReader, StreamReaderProtocol, Task, create_task, get_running_loop, sleep
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import SEARCH_PATH

PATIENCE = 60.0
_GLANCE = 0.02
_LONGEST_MESSAGE = 1 << 28
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and answers on 4, whatever they were here.
_LAUNCH = """
import fcntl, os, sys
r, w = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(r, 3)
os.dup2(w, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class ProtocolError(Exception):
    """Chromium refused a command."""


class Connection:
    """Commands and their answers; what else Chromium tells is not listened to."""

    def __init__(self, reader: StreamReader, to_browser: int) -> None:
        self._reader, self._to_browser = reader, to_browser
        self._waiting: dict[int, Future[Any]] = {}
        self._last = 0
        self._listening: Task[None] = create_task(self._listen())

    async def command(self, method: str, session: str = "", **parameters: Any) -> Any:
        self._last += 1
        message = {
            "id": self._last,
            "method": method,
            "params": parameters,
            **({"sessionId": session} if session else {}),
        }
        answer: Future[Any] = get_running_loop().create_future()
        self._waiting[self._last] = answer
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        return await answer

    async def _listen(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                message = json.loads((await self._reader.readuntil(b"\0"))[:-1])
                if answer := self._waiting.pop(message.get("id", 0), None):
                    if "error" in message:
                        answer.set_exception(ProtocolError(message["error"]["message"]))
                    else:
                        answer.set_result(message["result"])
        for answer in self._waiting.values():
            answer.set_exception(ProtocolError("Chromium has ended"))

    async def close(self) -> None:
        self._listening.cancel()


@dataclass
class Page:
    """One tab of a profile of its own, with a cookie jar of its own."""

    connection: Connection
    session: str
    _authenticator: str = field(default="", init=False)

    async def command(self, method: str, **parameters: Any) -> Any:
        return await self.connection.command(method, self.session, **parameters)

    async def open(self, url: str) -> None:
        """Ask for `url`; what it shows is for `shows` to wait for."""
        answer = await self.command("Page.navigate", url=url)
        assert not answer.get("errorText"), f"{url}: {answer['errorText']}"

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression, once it has one."""
        answer = await self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise ProtocolError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait for the JavaScript expression to be true; the page may change in between."""
        deadline = time.monotonic() + PATIENCE
        while True:
            # In the middle of a navigation there is nothing to ask.
            with contextlib.suppress(ProtocolError):
                if await self.run(f"document.readyState === 'complete' && !!({condition})"):
                    return
            assert time.monotonic() < deadline, f"{condition} never came; {await self.text()}"
            await sleep(_GLANCE)

    async def shows(self, heading: str) -> None:
        """Wait for the page with this heading."""
        await self.until(f"document.querySelector('h1')?.textContent === {json.dumps(heading)}")

    async def text(self) -> str:
        return str(await self.run("`${location.href}\\n${document.body?.innerText}`"))

    async def fill(self, field_id: str, value: str) -> None:
        """Type into the field, as a person with a keyboard does."""
        await self.until(f"document.getElementById('{field_id}')")
        await self.run(f"document.getElementById('{field_id}').select()")
        await self.command("Input.insertText", text=value)

    async def press(self, name: str) -> None:
        """Press the button or follow the link of this name."""
        named = f"[...document.querySelectorAll('button, a')].find((e) => e.textContent.trim() === {json.dumps(name)})"
        await self.until(f"{named} && !{named}.disabled")
        await self.run(f"{named}.click()")

    async def enter(self) -> None:
        """The Enter key, where the focus is."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        await self.command("Input.dispatchKeyEvent", type="keyDown", **key)
        await self.command("Input.dispatchKeyEvent", type="keyUp", **key)

    async def look(self, *, width: int, dark: bool) -> None:
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.command("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, file: Path) -> None:
        """All of the page, as wide as it looks now."""
        size = (await self.command("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = await self.command(
            "Page.captureScreenshot", clip=clip, captureBeyondViewport=True, optimizeForSpeed=True
        )
        file.write_bytes(base64.b64decode(shot["data"]))

    async def plug_in_authenticator(self) -> None:
        """A device of this tab's own that makes passkeys, whose user is always there and always recognized."""
        await self.command("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = await self.command("WebAuthn.addVirtualAuthenticator", options=options)
        self._authenticator = made["authenticatorId"]

    async def credentials(self) -> list[dict[str, Any]]:
        """What the authenticator holds."""
        held = await self.command("WebAuthn.getCredentials", authenticatorId=self._authenticator)
        return list(held["credentials"])

    async def recognize(self, *, user: bool) -> None:
        """Whether the authenticator recognizes its user from now on."""
        await self.command("WebAuthn.setUserVerified", authenticatorId=self._authenticator, isUserVerified=user)


@dataclass
class Chromium:
    connection: Connection

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        context = (await self.connection.command("Target.createBrowserContext"))["browserContextId"]
        target = await self.connection.command("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.connection.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self.connection, attached["sessionId"])
        await page.command("Page.enable")
        await page.command("Emulation.setFocusEmulationEnabled", enabled=True)  # passkeys want a page that is in front
        try:
            yield page
        finally:
            await self.connection.command("Target.disposeBrowserContext", browserContextId=context)


@asynccontextmanager
async def running(*trusted_keys: str) -> AsyncIterator[Chromium]:
    """Args: trusted_keys: SHA-256 of the public keys (SPKI, base64) whose certificates are believed."""
    program = shutil.which("chromium", path=SEARCH_PATH)
    assert program
    folder = tempfile.mkdtemp(prefix="garrison-chromium-")
    from_browser, its_output = os.pipe()
    its_input, to_browser = os.pipe()
    flags = [*_FLAGS, f"--user-data-dir={folder}", f"--ignore-certificate-errors-spki-list={','.join(trusted_keys)}"]
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCH, str(its_input), str(its_output), program, *flags, "about:blank"],
        pass_fds=(its_input, its_output),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={"PATH": SEARCH_PATH, "HOME": folder},
    )
    os.close(its_input)
    os.close(its_output)
    reader = StreamReader(limit=_LONGEST_MESSAGE)
    transport, _ = await get_running_loop().connect_read_pipe(
        lambda: StreamReaderProtocol(reader), os.fdopen(from_browser, "rb")
    )
    connection = Connection(reader, to_browser)
    try:
        yield Chromium(connection)
    finally:
        await connection.close()
        transport.close()
        os.close(to_browser)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
