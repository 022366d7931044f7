"""`garrison logout [URL|--all]`: revokes at the authorization server, where it offers that, and forgets."""

import argparse
import os
import sys
import time

from garrison.cli._common import add_home, note, run_async
from garrison.cli._connection import client_trust, token_storage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", metavar="URL", help="the MCP server (default: $MCP_SERVER_URL)")
    parser.add_argument("--all", action="store_true", help="end every login, and forget every registration")
    add_home(parser)


def run(args: argparse.Namespace) -> int:
    return run_async(_logout(args))


async def _logout(args: argparse.Namespace) -> int:
    from garrison.base.errors import GarrisonError, UsageError
    from garrison.base.fetch import Fetcher
    from garrison.clients.destination import is_local
    from garrison.clients.revocation import log_out
    from garrison.config.clients import client_settings
    from garrison.oauth import resource

    url = args.url or (None if args.all else client_settings(os.environ).server_url)
    if bool(url) == args.all:
        raise UsageError("which login is to end?", "Give the server's URL, or --all.")
    storage, trust, failed = token_storage(), client_trust(args), False
    logins = [login for login in await storage.logins() if args.all or resource.same(login.url, str(url))]
    if not logins and url:
        raise GarrisonError(f"nobody is logged in to {url}", "garrison whoami lists the logins.")
    for login in logins:
        try:
            async with Fetcher(trust, private_addresses=login.private_addresses or is_local(login.url)) as fetcher:
                revoked = await log_out(storage, login, fetcher, time.time())
            print(f"logged out of {login.url}{'' if revoked else ' (its server revokes no tokens)'}")
        except GarrisonError as error:
            failed = True
            note(f"garrison: logged out of {login.url} here, but not there: {error.message}")
    if args.all:
        await storage.forget_all()
    sys.stdout.flush()
    return 1 if failed else 0
