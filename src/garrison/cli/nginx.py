"""`garrison nginx`: the configuration that puts both servers behind one nginx, with TLS."""

import argparse
import os
import sys
from pathlib import Path

from garrison.cli._common import add_home, note, port


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_home(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there (default: print it)")
    parser.add_argument("--server-name", default="localhost", metavar="HOST")
    parser.add_argument("--auth-upstream", default="127.0.0.1:8080", metavar="HOST:PORT")
    parser.add_argument("--mcp-upstream", default="127.0.0.1:8000", metavar="HOST:PORT")
    parser.add_argument("--auth-port", type=port, default=8443, metavar="N")
    parser.add_argument("--mcp-port", type=port, default=8001, metavar="N")
    parser.add_argument("--http-port", type=int, default=80, metavar="N", help="redirects to https; 0: no such port")
    parser.add_argument("--listen", action="append", metavar="ADDRESS", help="repeatable (default: 0.0.0.0)")
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="default: TLS_CERT_PATH, else the state folder's"
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="default: TLS_KEY_PATH, else the state folder's")
    parser.add_argument("--run-folder", type=Path, metavar="DIR", help="for the pid file and temporary files")
    parser.add_argument("--access-log", type=Path, metavar="FILE", help="default: none is kept")


def run(args: argparse.Namespace) -> int:
    from garrison.base.files import make_private_folder
    from garrison.config.server import server_settings
    from garrison.tls.authority import CertificatePaths
    from garrison.tls.nginx import NginxSettings, render

    local = CertificatePaths.inside(args.home.resolve())
    said = server_settings(args.home, os.environ).tls
    certificate = args.certificate or (said.certificate if said else local.server)
    key = args.key or (said.key if said else local.server_key)
    run_folder = (args.run_folder or args.home / "nginx").absolute()
    if args.run_folder is None:
        make_private_folder(run_folder)
    text = render(
        NginxSettings(
            certificate=certificate.absolute(),
            key=key.absolute(),
            auth_upstream=args.auth_upstream,
            mcp_upstream=args.mcp_upstream,
            run_folder=run_folder,
            access_log="off" if args.access_log is None else str(args.access_log.absolute()),
            server_name=args.server_name,
            auth_port=args.auth_port,
            mcp_port=args.mcp_port,
            http_port=args.http_port or None,
            addresses=tuple(args.listen or ("0.0.0.0",)),
        )
    )
    if args.out is None:
        sys.stdout.write(text)
    else:
        args.out.write_text(text, encoding="utf-8")
        note(f"wrote {args.out}")
    return 0
