"""`garrison init`."""

import argparse

from garrison.cli._common import add_home, add_json, print_json, run_async


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_home(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from garrison.demo.installation import install
    from garrison.home import Home

    home = Home(args.home)
    made = run_async(install(home))
    if args.json:
        print_json({"home": str(home.folder), "made": [path.name for path in made]})
    elif made:
        print(f"made in {home.folder}: {', '.join(path.name for path in made)}")
        print(f"the first client's secret is in {home.client}, the first user's password in {home.user}")
    else:
        print(f"{home.folder} is complete; nothing was changed")
    return 0
