"""`garrison up`."""

import argparse
import os

from garrison.cli._common import add_home, log_to_stderr, note, port, run_async


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_home(parser)
    parser.add_argument("--http", action="store_true", help="plain HTTP, on loopback only (ports 8080 and 8000)")
    parser.add_argument("--auth-port", type=port, metavar="N", help="the authorization server's port (default: 8443)")
    parser.add_argument("--mcp-port", type=port, metavar="N", help="the MCP server's port (default: 8001)")


def run(args: argparse.Namespace) -> int:
    run_async(_up(args))
    return 0


async def _up(args: argparse.Namespace) -> None:
    from garrison.base.files import make_private_folder
    from garrison.config.server import server_settings
    from garrison.demo.installation import install
    from garrison.demo.system import HTTP_PORTS, TLS_PORTS, Addresses, serving_both
    from garrison.home import Home
    from garrison.serving import until_interrupted

    auth_port, mcp_port = HTTP_PORTS if args.http else TLS_PORTS
    at = Addresses(args.auth_port or auth_port, args.mcp_port or mcp_port, tls=not args.http)
    home = Home(args.home)
    make_private_folder(home.folder)
    if await install(home, server_settings(home.folder, os.environ).auth_database_url):
        note(f"made the state folder {home.folder}")
    if args.http:
        note("plain HTTP: on loopback only, nothing is encrypted; leave --http out for TLS")
    settings = server_settings(home.folder, os.environ)
    log_to_stderr(settings.log_level)
    async with serving_both(home, settings, at):
        print(f"ready {at.issuer} {at.resource}", flush=True)
        await until_interrupted()
