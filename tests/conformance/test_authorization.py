"""The official conformance suite's scenarios for an authorization server: all of its checks end well."""

import json
import re
from pathlib import Path

import anyio
import httpx2
import pytest

from garrison.authserver import admin
from garrison.demo.browser import sign_in_and_consent
from garrison.serving import free_port
from tests.authserver.world import CHEAP
from tests.foreign.town import Town, command, environment, new_resource, town

REVISIONS = ("2025-11-25", "2026-07-28")
CHECKS = {
    "authorization-server-metadata": "SUCCESS",
    "authorization-server-metadata-cimd": "SUCCESS",
    "authorization-code-grant": "SUCCESS",
}
SCOPE = "math:use"


async def judged(place: Town, resource: str, user: admin.NewUser, revision: str) -> dict[str, str]:
    """Statuses by check, of all scenarios that `revision` has.

    The client is public: whatever secret the suite is given, it uses none where the metadata says that this can be.
    """
    port = free_port("127.0.0.1", 0)
    callback = f"http://127.0.0.1:{port}/callback"
    client = await admin.add_client(
        place.store, "Suite", grants=["authorization_code"], scope=SCOPE, redirect_uris=[callback], public=True
    )
    folder = place.folder / revision
    folder.mkdir()
    asked = ("--url", place.issuer, "--client-id", client.client_id, "-p", str(port), "--resource", resource)
    suite = command("conformance", "authorization", *asked, "--spec-version", revision, "-o", str(folder))
    said = ""
    async with await anyio.open_process(suite, cwd=folder, env=environment(folder), stderr=None) as process:
        assert process.stdout
        async for chunk in process.stdout:
            said += chunk.decode()
            link = re.search(rf"^{place.issuer}/authorize\S+\n", said, re.MULTILINE)
            if link and "Callback server started" in said:
                break
        else:
            pytest.fail(said)
        typed = {"username": user.username, "password": user.password}
        async with httpx2.AsyncClient(trust_env=False) as browser:
            answer = await sign_in_and_consent(browser, link.group().strip(), callback, typed)
            assert (await browser.get(answer)).status_code == 200
        async for chunk in process.stdout:
            said += chunk.decode()
    found = [check for file in folder.glob("*/checks.json") for check in json.loads(file.read_text())]
    assert await process.wait() == 0, said
    return {check["id"]: check["status"] for check in found}


@pytest.mark.needs("conformance")
@pytest.mark.xdist_group("npm")
async def test_the_official_suite_finds_nothing_wrong_with_the_authorization_server(tmp_path: Path) -> None:
    resource = new_resource()
    found: dict[str, dict[str, str]] = {}
    async with town(tmp_path, {resource: frozenset({SCOPE})}) as place:
        user = await admin.add_user(place.store, "alice", scope=SCOPE, cost=CHEAP)

        async def judge(revision: str) -> None:
            found[revision] = await judged(place, resource, user, revision)

        with anyio.fail_after(100):
            async with anyio.create_task_group() as tasks:
                for revision in REVISIONS:
                    tasks.start_soon(judge, revision)
    assert found == dict.fromkeys(REVISIONS, CHECKS)
