"""`garrison certs init|show|bundle`."""

import argparse
import time
from pathlib import Path

from garrison.cli._common import add_home, add_json, print_json, print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="init|show|bundle", required=True)
    init = verbs.add_parser("init", help="make what is missing, renew what is due", allow_abbrev=False)
    init.add_argument(
        "--name", action="append", default=[], metavar="HOST", help="a further host name or address; repeatable"
    )
    show = verbs.add_parser("show", help="what the certificates say", allow_abbrev=False)
    bundle = verbs.add_parser(
        "bundle",
        help="print the path of a bundle for SSL_CERT_FILE: the system's CAs and the local one",
        allow_abbrev=False,
    )
    for verb in (init, show, bundle):
        add_home(verb)
        add_json(verb)


def run(args: argparse.Namespace) -> int:
    return {"init": _init, "show": _show, "bundle": _bundle}[args.verb](args)


def _init(args: argparse.Namespace) -> int:
    from garrison.tls.authority import ensure

    ensure(args.home, names=args.name)
    return _show(args)


def _show(args: argparse.Namespace) -> int:
    from garrison.base.errors import UsageError
    from garrison.tls.authority import CertificatePaths
    from garrison.tls.describe import describe

    paths = CertificatePaths.inside(args.home)
    files: dict[str, Path] = {"ca": paths.ca, "server": paths.server}
    missing = [str(path) for path in files.values() if not path.exists()]
    if missing:
        raise UsageError(f"{missing[0]} is not there", f"Make it: garrison certs init --home {args.home}")
    found = {name: describe(path.read_bytes(), time.time()) for name, path in files.items()}
    if args.json:
        print_json({name: {"file": str(files[name]), **description} for name, description in found.items()})
        return 0
    rows = [(name, files[name], " ".join(d["names"]) or d["subject"], d["days_left"]) for name, d in found.items()]
    print_table(rows, ("WHAT", "FILE", "NAMES", "DAYS_LEFT"))
    for name, description in found.items():
        print(f"{name} sha256 {description['sha256']}")
    return 0


def _bundle(args: argparse.Namespace) -> int:
    from garrison.tls.authority import ensure

    bundle = ensure(args.home).ca_bundle.resolve()
    if args.json:
        print_json({"ca_bundle": str(bundle)})
    else:
        print(bundle)
    return 0
