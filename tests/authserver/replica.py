"""One replica in a process of its own, which reads its keys again often. Arguments: port, database URL."""

import sys

import uvicorn

from garrison.authserver import key_schedule
from garrison.authserver.app import create_app
from garrison.authserver.settings import AuthServerSettings
from garrison.base.events import NullSink
from tests.authserver.world import RESOURCE, SCOPES

ISSUER = "http://localhost:1"

if __name__ == "__main__":
    key_schedule.RELOAD = 0.2  # type: ignore[assignment]
    chosen = AuthServerSettings(issuer=ISSUER, database_url=sys.argv[2], secret=b"s" * 32, resources={RESOURCE: SCOPES})
    uvicorn.run(create_app(chosen, events=NullSink()), port=int(sys.argv[1]), log_level="error")
