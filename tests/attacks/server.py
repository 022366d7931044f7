"""A guarded server in a process of its own, so that what an attack costs it can be measured.

python -m tests.attacks.server ISSUER RESOURCE HOME
"""

import asyncio
import sys

from garrison import protect
from garrison.serving import Endpoint, bind, running, until_interrupted
from tests.guard.world import POLICY, SCHEMAS, NotingApp, living


async def serve(issuer: str, resource: str, home: str) -> None:
    app = protect(living(NotingApp()), POLICY, resource=resource, issuer=issuer, schemas=SCHEMAS, home=home)
    port = int(resource.split(":")[2].partition("/")[0])
    async with running(Endpoint("guarded server", app, bind("guarded server", "127.0.0.1", port))):
        print("ready", flush=True)
        await until_interrupted()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
