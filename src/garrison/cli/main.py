"""The command `garrison`: finds the command's file, runs it, and turns errors into two lines and an exit code.

Exit 0: done. 1: it failed. 2: it was asked wrongly. 130: interrupted.
"""

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType

from garrison.base.errors import GarrisonError
from garrison.cli._common import note

COMMANDS: Mapping[str, str] = {
    "init": "make the state folder: keys, local CA, certificates, a first client and user",
    "up": "run the authorization server and the guarded demo server until Ctrl-C",
    "demo": "the whole system in one walk, or `demo serve`: only the customer-service server",
    "auth": "the authorization server: serve it, and keep its clients and users",
    "token": "print an access token",
    "login": "log in to an MCP server in the browser, for all later commands",
    "logout": "end a login: revoke its token, and forget it",
    "whoami": "show who is logged in where",
    "tools": "list the tools of an MCP server",
    "call": "call a tool of an MCP server",
    "chat": "let a model answer a question with the tools of an MCP server",
    "bridge": "offer a remote MCP server on stdio, for Claude Desktop and others",
    "certs": "the local certificate authority and the certificates",
    "nginx": "print the nginx configuration",
    "policy": "who may do what: check the policy, or explain why a call would be allowed or not",
    "events": "the security events",
}
"""Every command: its file is the module of that name in this folder, with `add_arguments(parser)` and `run(args)`."""


def command_module(name: str) -> ModuleType:
    return importlib.import_module(f"garrison.cli.{name}")


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands; with `only`, that command's arguments alone are filled in, which is quicker."""
    parser = argparse.ArgumentParser(
        prog="garrison",
        description="Puts an MCP server on the network safely, and connects any LLM to it safely.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".", allow_abbrev=False)
        if only in {None, name}:
            command_module(name).add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not all(_is_text(argument) for argument in arguments):
        print("garrison: an argument is not text in UTF-8", file=sys.stderr)
        return 2
    # Only the command that is asked for is imported: `garrison --help` stays quick.
    asked = next((argument for argument in arguments if not argument.startswith("-")), "")
    args = _parse(build_parser(only=asked), arguments)
    try:
        return int(command_module(args.command).run(args) or 0)
    except GarrisonError as error:
        note(f"garrison: {error.message}")
        if error.hint:
            note(f"  {error.hint}")
        return error.exit_code
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # Whoever read our output has gone (`garrison events list | head`); there is nobody left to tell.
            sys.stderr.close()
            return 0
        print(f"garrison: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _is_text(argument: str) -> bool:
    """Whether the bytes that were typed are UTF-8; Python smuggles others in as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def _parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse, and let the words of a call (key=value) and of `bridge` stand before, between and behind their options."""
    args, rest = parser.parse_known_args(arguments)
    words = next((name for name in ("arguments", "words") if hasattr(args, name)), None)
    if rest and (words is None or not all(_is_word(words, word) for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest and words:
        getattr(args, words).extend(rest)
    return args


def _is_word(words: str, word: str) -> bool:
    return not word.startswith("-") and ("=" in word or words != "arguments")


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"garrison {version('garrison')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
