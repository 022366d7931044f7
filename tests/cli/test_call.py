"""What `garrison call` makes of a word, by a schema that may say anything."""

from pathlib import Path
from typing import Any

import pytest

from garrison.base.errors import UsageError
from garrison.cli.call import value
from tests.cli.test_hostile_server import answering, evil_server, run


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "null"}, {"type": ["integer", "string"]}]},
        {},
        None,
        True,
        {"anyOf": 7, "oneOf": [True]},
    ],
)
def test_what_may_be_text_is_taken_as_text(schema: Any) -> None:
    assert value("12", False, schema) == "12"
    assert value("12", True, schema) == 12


@pytest.mark.parametrize(
    "schema", [{"type": "integer"}, {"type": ["number", "null"]}, {"anyOf": [{"type": "integer"}]}]
)
def test_what_may_be_no_text_is_json(schema: Any) -> None:
    assert value("12", False, schema) == 12
    with pytest.raises(UsageError, match="not JSON"):
        value("abc", False, schema)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "[-1e999]", '{"a": NaN}'])
def test_a_number_that_json_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not JSON"):
        value(text, True, {})


def test_no_schema_of_a_server_ends_in_a_traceback(tmp_path: Path) -> None:
    tool = {"name": "t", "inputSchema": {"type": "object", "properties": {"x": True}}}
    with evil_server(answering(tool, {"content": [{"type": "text", "text": "hi"}]})) as evil:
        done = run(tmp_path, "call", f"{evil.url}/mcp", "t", "x=1")
    assert (done.returncode, done.stdout) == (0, "hi\n"), done.stderr
