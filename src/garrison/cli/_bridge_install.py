"""`garrison bridge install|uninstall|list|bundle`: which programs start a bridge, and how."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from garrison.base.errors import UsageError
from garrison.cli._bridge_state import name_of
from garrison.cli._common import note, print_json, print_table
from garrison.cli._connection import server_url

if TYPE_CHECKING:
    from garrison.clients.programs import ServerList

DEFAULT_CLIENT = "claude-desktop"


def install(args: argparse.Namespace) -> int:
    from garrison.clients.destination import check_configured
    from garrison.clients.programs import PROGRAMS

    url = check_configured(server_url(args))
    program, servers = PROGRAMS[args.client or DEFAULT_CLIENT], _servers(args)
    name = args.name or name_of(url)
    existed = servers.file.exists()
    backup = servers.install(name, program.entry(command(args, url), environment()))
    if args.json:
        print_json({"name": name, "file": str(servers.file), "changed": backup is not None})
        return 0
    if backup is None:
        print(f"{program.title} has {name} already; nothing was changed")
        return 0
    print(f"{program.title} starts {name} from now on: {servers.file}")
    if existed:
        print(f"before: {backup}")
    note(f"Restart {program.title} to see it.")
    return 0


def uninstall(args: argparse.Namespace) -> int:
    from garrison.clients.programs import PROGRAMS

    program, servers = PROGRAMS[args.client or DEFAULT_CLIENT], _servers(args)
    if not args.name and not args.url:
        raise UsageError("which server?", "Give its URL or --name. See: garrison bridge list")
    name = args.name or name_of(args.url)
    backup = servers.uninstall(name)
    if args.json:
        print_json({"name": name, "file": str(servers.file), "changed": backup is not None})
    elif backup is None:
        print(f"{program.title} has no {name}; nothing was changed")
    else:
        print(f"{program.title} no longer starts {name}: {servers.file}")
        print(f"before: {backup}")
    return 0


def show(args: argparse.Namespace) -> int:
    from garrison.clients.programs import PROGRAMS

    clients = [args.client] if args.client else [DEFAULT_CLIENT] if args.file else list(PROGRAMS)
    found = []
    for client in clients:
        servers = _servers(argparse.Namespace(client=client, file=args.file))
        found += [
            {"client": client, "name": one.name, "url": one.url, "command": one.command, "file": str(servers.file)}
            for one in servers.installed()
        ]
    if args.json:
        print_json(found)
    else:
        print_table([(row["client"], row["name"], row["url"]) for row in found], ("CLIENT", "NAME", "URL"))
    return 0


def bundle(args: argparse.Namespace) -> int:
    from garrison.clients.bundle import write_bundle
    from garrison.clients.destination import check_configured

    url = check_configured(server_url(args))
    if args.client_secret_file or args.private_key_file or trusted():
        raise UsageError(
            "a bundle is for other machines, and the client's secret or key and TLS_CA_CERT_PATH are files of this one",
            "Bundle a server with a public certificate, whose users log in.",
        )
    name = args.name or name_of(url)
    output = args.output or Path(f"{name}.mcpb")
    write_bundle(output, name, ["bridge", url, *_options(args)])
    if args.json:
        print_json({"name": name, "file": str(output)})
    else:
        print(f"wrote {output}: open it with Claude Desktop")
    return 0


def command(args: argparse.Namespace, url: str) -> list[str]:
    """How a program starts the bridge from any folder, without this shell's environment. Raises `UsageError`."""
    from garrison.clients.destination import is_local

    # For good, so only what the user named, or what serves from here; else the person's own folder, as for a bundle.
    home = args.home if args.home_named or is_local(url) else Path.home() / ".garrison"
    return [*_program(), "bridge", url, "--home", str(home.absolute()), *_options(args)]


def _options(args: argparse.Namespace) -> list[str]:
    """What was said of the client. Raises `UsageError` if a secret would have to be written down."""
    from garrison.config.clients import client_settings

    said = client_settings(os.environ)
    client_id = args.client_id or (None if args.client_metadata else said.client_id)
    if said.client_secret and not args.client_id and not args.client_metadata:
        raise UsageError(
            "OAUTH_CLIENT_SECRET is set, and no secret is written into another program's file",
            "Put it into a file of mode 0600, and say --client-id and --client-secret-file.",
        )
    for option, file in (
        ("--client-secret-file", args.client_secret_file),
        ("--private-key-file", args.private_key_file),
    ):
        if file and not args.client_id:
            raise UsageError(f"{option} without --client-id", "Give both.")
    options = {
        "--client-id": client_id,
        "--client-secret-file": args.client_secret_file and args.client_secret_file.absolute(),
        "--private-key-file": args.private_key_file and args.private_key_file.absolute(),
        "--client-metadata": args.client_metadata,
        "--issuer": args.issuer or said.issuer,
        "--scope": args.scope,
        "--issuer-shape": args.issuer_shape or said.issuer_shape,
        "--token-audience": args.token_audience or said.token_audience,
    }
    words = [word for name, value in options.items() if value for word in (name, str(value))]
    flags = {
        "--omit-resource": args.omit_resource,
        "--private-addresses": args.private_addresses,
        "--login": args.login,
        "--no-browser": args.no_browser,
    }
    return words + [flag for flag, on in flags.items() if on]


def environment() -> dict[str, str]:
    """What the bridge needs of this shell's environment: whom to trust, and where the user's logins are."""
    from garrison.config.clients import client_settings

    said, usual = client_settings(os.environ), client_settings({"HOME": os.environ.get("HOME", "")})
    found = trusted()
    if said.logins != usual.logins:
        found["GARRISON_LOGINS"] = str(said.logins.absolute())
    if not said.use_keyring:
        found["GARRISON_KEYRING"] = "off"
    return found


def trusted() -> dict[str, str]:
    from garrison.config.clients import client_settings

    ca_file = client_settings(os.environ).ca_file
    return {"TLS_CA_CERT_PATH": str(ca_file.absolute())} if ca_file else {}


def _program() -> list[str]:
    """This very installation; not a `garrison` that happens to be first on somebody's path."""
    beside = Path(sys.executable).with_name("garrison.exe" if sys.platform == "win32" else "garrison")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "garrison.cli.main"]


def _servers(args: argparse.Namespace) -> "ServerList":
    from garrison.clients.programs import PROGRAMS, ServerList

    program = PROGRAMS[args.client or DEFAULT_CLIENT]
    return ServerList(program, args.file or program.file(sys.platform, Path.home(), os.environ))
