"""What `garrison auth serve` and `garrison demo serve` share: one server, alone, TLS or behind a proxy that adds it."""

import argparse
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from garrison.cli._common import log_to_stderr, port, run_async

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from garrison.monitor.store import EventStore


def add_serve_arguments(parser: argparse.ArgumentParser, default_port: int) -> None:
    parser.add_argument("--host", default="localhost", help="the address to listen on (default: localhost)")
    parser.add_argument("--port", type=port, default=default_port, metavar="N", help=f"default: {default_port}")
    parser.add_argument("--issuer", required=True, metavar="URL", help="the authorization server's public address")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--http", action="store_true", help="plain HTTP, on loopback only")
    how.add_argument(
        "--behind-proxy", action="store_true", help="plain HTTP on any address: a proxy in front of it adds TLS"
    )


def serve_alone(
    args: argparse.Namespace, name: str, build: "Callable[[EventStore], AbstractAsyncContextManager[ASGIApp]]"
) -> int:
    """Serve one application until Ctrl-C, and say when it answers."""
    run_async(_serve(args, name, build))
    return 0


async def _serve(
    args: argparse.Namespace, name: str, build: "Callable[[EventStore], AbstractAsyncContextManager[ASGIApp]]"
) -> None:
    from garrison.config.server import server_settings
    from garrison.demo.authorization import certificate_files
    from garrison.home import Home
    from garrison.monitor.store import EventStore
    from garrison.serving import Endpoint, bind, check_plain_http, running, until_interrupted
    from garrison.serving.connection import Bounds
    from garrison.tls.context import server_context

    home = Home(args.home)
    plain = args.http or args.behind_proxy
    if plain:
        check_plain_http(args.host, behind_proxy=args.behind_proxy)
    settings = server_settings(home.folder, os.environ)
    log_to_stderr(settings.log_level)
    home.read_secret()  # says what is missing, and how it is made
    context = None if plain else server_context(*certificate_files(home, settings))
    sockets = bind(name, args.host, args.port)
    async with (
        EventStore(home.events, durability=settings.durability) as events,
        build(events) as app,
        running(Endpoint(name, app, sockets, context, Bounds(settings.body_seconds, settings.max_connections))),
    ):
        print(f"ready {'http' if plain else 'https'}://{args.host}:{args.port}", flush=True)
        await until_interrupted()
