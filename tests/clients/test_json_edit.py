"""Editing other programs' configuration: one member changes, nothing else does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.base.errors import UsageError
from garrison.clients.json_edit import put, read, remove

ENTRY = {"command": "/bin/garrison", "args": ["bridge"]}
TEXTS = {
    "two spaces": '{\n  "theme": "dark",\n  "mcpServers": {\n    "a": {"command": "x"}\n  }\n}\n',
    "tabs": '{\n\t"mcpServers": {\n\t\t"a": {}\n\t},\n\t"n": 1.0\n}',
    "windows": '{\r\n    "mcpServers": {\r\n        "a": 1\r\n    }\r\n}\r\n',
    "one line": '{"z": 1e3, "mcpServers": {"a": {"command": "x"}}, "b": [1, {"c": "}"}]}',
    "comments": '// mine\n{\n  "mcpServers": {\n    "a": 1 // the first {\n    /* "b": 2, */\n  }\n}\n',
    "comma in a comment": '{\n  "mcpServers": {\n    "a": 1 /* b, c */ ,\n    "b": 2\n  }\n}\n',
    "trailing comma in a line": '{"mcpServers": {"a": 1,}}',
    "trailing commas": '{\n  "mcpServers": {\n    "a": 1,\n  },\n}\n',
    "byte order mark": '\N{ZERO WIDTH NO-BREAK SPACE}{\n  "mcpServers": {\n    "a": "ü"\n  }\n}\n',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_is_put_and_removed_again_leaves_every_byte_as_it_was(text: str) -> None:
    changed = put(text, ("mcpServers", "far"), ENTRY)
    assert read(changed)["mcpServers"] == {**read(text)["mcpServers"], "far": ENTRY}
    assert {**read(changed), "mcpServers": 0} == {**read(text), "mcpServers": 0}
    gone = remove(changed, ("mcpServers", "far"))
    assert gone == text if ",}" not in text and ",\n  }" not in text else read(gone) == read(text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_comments_and_the_order_of_the_others_stay(text: str) -> None:
    changed = put(text, ("mcpServers", "far"), ENTRY)
    for comment in ("// mine", "// the first {", '/* "b": 2, */'):
        assert (comment in changed) == (comment in text)
    assert list(read(changed)) == list(read(text))


def test_what_is_there_already_is_replaced_where_it_stands() -> None:
    text = put(TEXTS["two spaces"], ("mcpServers", "a"), ENTRY)
    assert read(text) == {"theme": "dark", "mcpServers": {"a": ENTRY}}
    assert text.startswith('{\n  "theme": "dark",\n  "mcpServers": {\n    "a": {\n      "command"')
    assert put(text, ("mcpServers", "a"), ENTRY) == text


@pytest.mark.parametrize(
    "text", ["", " \n", "{}", "{ }", "// nothing yet\n{\n}\n", '{"other": {}}', '{"mcpServers": {}}']
)
def test_objects_on_the_way_are_made(text: str) -> None:
    changed = put(text, ("mcpServers", "far"), ENTRY)
    assert read(changed)["mcpServers"] == {"far": ENTRY}
    assert ("// nothing yet" in changed) == ("// nothing yet" in text)
    assert read(remove(changed, ("mcpServers", "far"))) == {**read(text), "mcpServers": {}}


def test_the_first_and_a_middle_member_can_go() -> None:
    text = '{\n  "s": {\n    "a": 1,\n    "b": [2, 3],\n    "c": 3\n  }\n}\n'
    assert remove(text, ("s", "b")) == '{\n  "s": {\n    "a": 1,\n    "c": 3\n  }\n}\n'
    assert remove(text, ("s", "a")) == '{\n  "s": {\n    "b": [2, 3],\n    "c": 3\n  }\n}\n'
    assert remove(text, ("s", "c")) == '{\n  "s": {\n    "a": 1,\n    "b": [2, 3]\n  }\n}\n'


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{"s": { // c\n"a": 1}}', '{"s": { // c\n}}'),
        ('{"s": {"b": 2, // c\r\n"a": 1}}', '{"s": {"b": 2 // c\r\n}}'),
        ('{"s": {"b": 2, // c\n"a": 1 // d\n}}', '{"s": {"b": 2 // c\n // d\n}}'),
        ('{"s": {"b": "// c",\n"a": 1}}', '{"s": {"b": "// c"}}'),
    ],
)
def test_a_comment_before_what_goes_keeps_the_end_of_its_line(text: str, left: str) -> None:
    assert remove(text, ("s", "a")) == left


@pytest.mark.parametrize("value", ["a\u2028b", "a\u0085b", "a\u001cb"])
def test_a_character_that_is_a_line_break_elsewhere_stays_in_its_text(value: str) -> None:
    assert read(put("{}", ("s", "a"), [value])) == {"s": {"a": [value]}}


@pytest.mark.parametrize("path", [("s", "x"), ("t", "x")])
def test_what_is_not_there_can_not_go(path: tuple[str, str]) -> None:
    assert remove('{"s": {"a": 1}}', path) == '{"s": {"a": 1}}'


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '"x"', "{]", '{"a" 1}', '{"a": 1 "b": 2}', "{'a': 1}", '{"mcpServers": []}', '{"a": 1, "a": 2}', "nul",
     '{"a": 1 2}',
     '{"a": "\n"}', "{/}", "[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300],
)  # fmt: skip
def test_what_is_not_such_json_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        put(text, ("mcpServers", "far"), ENTRY)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(
    config=st.dictionaries(st.text(), json_values, max_size=4),
    servers=st.dictionaries(st.text(), json_values, max_size=4),
    name=st.text(),
    indent=st.sampled_from([None, 1, 2, "\t"]),
    ascii_only=st.booleans(),
)
def test_whatever_is_written_the_member_comes_and_goes_and_all_else_stays(
    config: dict[str, object], servers: dict[str, object], name: str, indent: int | str | None, ascii_only: bool
) -> None:
    config = {**config, "mcpServers": servers}
    text = json.dumps(config, indent=indent, ensure_ascii=ascii_only)
    changed = put(text, ("mcpServers", name), ENTRY)
    assert json.loads(changed) == {**config, "mcpServers": {**servers, name: ENTRY}}
    gone = remove(changed, ("mcpServers", name))
    assert json.loads(gone) == {**config, "mcpServers": {key: servers[key] for key in servers if key != name}}
    if name not in servers and servers:
        assert gone == text
