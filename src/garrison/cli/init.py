"""`garrison init`."""

import argparse
import os

from garrison.cli._common import add_home, add_json, print_json, run_async


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_home(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from garrison.base.files import make_private_folder
    from garrison.config.server import server_settings
    from garrison.demo.installation import install
    from garrison.home import Home

    home = Home(args.home)
    make_private_folder(home.folder)
    made = run_async(install(home, server_settings(home.folder, os.environ).auth_database_url))
    if args.json:
        print_json({"home": str(home.folder), "made": [path.name for path in made]})
    elif made:
        print(f"made in {home.folder}: {', '.join(path.name for path in made)}")
        print(f"the first client's secret is in {home.client}, the first user's password in {home.user}")
        print(f"further clients and an administrator for the demonstration are in {home.demo_accounts}")
    else:
        print(f"{home.folder} is complete; nothing was changed")
    return 0
