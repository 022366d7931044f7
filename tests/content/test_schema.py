"""Arguments against schemas: linear time, nothing fetched, public sentences."""

import http.server
import threading
import time
from typing import Any

import pytest

from garrison.content.schema import MAX_SENTENCES, SchemaError, ToolSchemas


def check(schema: dict[str, Any], arguments: Any) -> list[str]:
    return ToolSchemas({"tool": schema}).check("tool", arguments)


def properties(**schemas: Any) -> dict[str, Any]:
    return {"type": "object", "properties": schemas}


def test_a_hostile_pattern_does_not_hang() -> None:
    begun = time.process_time()
    assert check(properties(a={"type": "string", "pattern": "^(a+)+$"}), {"a": "a" * 100_000 + "!"}) != []
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "(?=a)b"},
        {"pattern": r"(a)\1"},
        {"pattern": "("},
        {"pattern": "a{1000}{1000}"},
        {"type": "strin"},
        {"$ref": "#/nowhere"},
        {"x-garrison-field": "sql-injection"},
        {"x-garrison-field": ["text"]},
    ],
)
def test_a_schema_that_does_not_compile_is_refused_by_its_tools_name(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="of the tool pay "):
        ToolSchemas({"pay": properties(a=schema)})


@pytest.mark.parametrize("schema", [{"type": "array"}, {"properties": [1]}, {"allOf": 5}, {"$schema": "urn:mine"}])
def test_what_is_no_schema_of_arguments_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        ToolSchemas({"pay": schema})


def test_a_schema_that_nests_without_end_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(2000):
        schema = {"items": schema}
    with pytest.raises(SchemaError):
        ToolSchemas({"pay": properties(a=schema)})


def test_a_remote_reference_is_not_fetched() -> None:
    fetched = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_arguments: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            for reference in (f"http://127.0.0.1:{server.server_port}/schema", "file:///etc/hostname"):
                with pytest.raises(SchemaError):
                    ToolSchemas({"pay": properties(a={"$ref": reference})})
        finally:
            server.shutdown()
            thread.join()
    assert fetched == []


def test_formats_are_checked() -> None:
    assert check(properties(when={"type": "string", "format": "date"}), {"when": "2026-02-30"}) != []


def test_a_tool_without_schema_lets_nothing_through() -> None:
    assert ToolSchemas({}).check("tool", {}) != []


@pytest.mark.parametrize("arguments", [{1: 2}, {"a": b"x"}, {"a": object()}, {"\udfff": 1}])
def test_what_is_no_json_is_refused(arguments: Any) -> None:
    assert check(properties(a={"type": "string"}), arguments) != []


def test_sentences_name_the_place_and_the_rule() -> None:
    schema = {
        **properties(
            name={"type": "string", "maxLength": 3},
            rows={"type": "array", "items": properties(n={"type": ["integer", "null"], "minimum": 1})},
            kind={"enum": ["a", "b"]},
        ),
        "required": ["kind"],
    }
    assert check(schema, {"name": "long", "rows": [{"n": 0}, {"n": "x"}], "kind": "c"}) == [
        "/name must have at most 3 characters.",
        "/rows/0/n must be at least 1.",
        "/rows/1/n must be of type null or integer.",
        '/kind must be one of ["a", "b"].',
    ]
    assert check(schema, {}) == ["The arguments object lacks the property kind."]
    assert check(schema, {"kind": "a", "extra": 1}) == [
        "The arguments object has a property that the tool doesn't declare: extra."
    ]


def test_a_tool_that_takes_nothing_says_so() -> None:
    assert check({"type": "object"}, {"extra": 1}) == ["The arguments object has a value where the tool declares none."]


def test_sentences_never_repeat_a_value() -> None:
    secret = "hunter2"
    schema = properties(
        a={"type": "integer"},
        b={"type": "string", "pattern": "^x$", "maxLength": 1, "format": "date", "enum": ["x"], "const": "x"},
        c={"anyOf": [{"type": "null"}, {"type": "integer"}]},
        d={"type": "string", "x-garrison-field": "id"},
        e={"not": {"type": "string"}},
    )
    for arguments in ({"a": secret}, {"b": secret}, {"c": secret}, {"d": f"{secret} {secret}"}, {"e": secret}):
        sentences = check(schema, arguments)
        assert sentences
        assert not any(secret in sentence for sentence in sentences)


def test_names_that_a_caller_invents_are_repeated_only_if_plain() -> None:
    (sentence,) = check(properties(), {"<script>\r\n\x1b[31m": 1})
    assert sentence == "The arguments object has a property that the tool doesn't declare: (a name that is not plain)."
    (sentence,) = check(properties(m={"additionalProperties": {"type": "integer"}}), {"m": {"se cret": "x"}})
    assert "se cret" not in sentence


def test_there_are_at_most_five_sentences() -> None:
    schema = properties(rows={"type": "array", "items": {"type": "integer"}})
    assert len(check(schema, {"rows": ["x"] * 100})) == MAX_SENTENCES


def test_typed_fields_are_checked_wherever_the_schema_uses_them() -> None:
    text = {"type": "string", "x-garrison-field": "text"}
    schema = {
        **properties(
            referred={"$ref": "#/$defs/Text"},
            listed={"type": "array", "items": text},
            optional={"anyOf": [text, {"type": "null"}]},
        ),
        "$defs": {"Text": text},
    }
    hidden = "a\U000e0041"
    assert check(schema, {"referred": "a", "listed": ["a"], "optional": "a"}) == []
    assert check(schema, {"referred": "a", "listed": [], "optional": None}) == []
    for arguments in ({"referred": hidden}, {"listed": [hidden]}, {"optional": hidden}):
        assert check(schema, arguments) != []


def test_a_typed_field_given_to_a_bare_string_is_enough() -> None:
    schema = properties(i={"type": "string", "x-garrison-field": "id"}, t={"x-garrison-field": "line"})
    assert check(schema, {"i": "customer-42", "t": "one line"}) == []
    assert check(schema, {"i": "../../admin"}) != []
    assert check(schema, {"t": "two\nlines"}) != []
    assert check(schema, {"t": ["one line"]}) == ["/t is not a string."]
    assert check(properties(m={"x-garrison-field": "money", "maximum": 5}), {"m": "5.01"}) != []
    assert check(properties(m={"x-garrison-field": "money"}), {"m": [1]}) == ["/m is not a number."]


def test_a_typed_field_may_be_null_where_its_type_says_so() -> None:
    schema = properties(t={"type": ["string", "null"], "x-garrison-field": "text"})
    assert check(schema, {"t": None}) == []
