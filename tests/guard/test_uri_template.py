"""RFC 6570, level 1: a template stands for exactly those URIs that policy and app read alike."""

import re
from typing import Any

import pytest
from fastmcp.resources.template import match_uri_template
from hypothesis import example, given
from hypothesis import strategies as st
from mcp.shared.uri_template import UriTemplate as SdkTemplate

from garrison.base.errors import UsageError
from garrison.guard.policy import Policy, needs
from garrison.guard.uri_template import UriTemplate, folded, is_plain


def names(policy: Policy, uri: str) -> list[str]:
    return [match.name for match in policy.matches(uri)]


def values(template: str, uri: str) -> dict[str, str] | None:
    """What the policy's one template takes out of `uri`; None where it doesn't stand for it."""
    found = Policy(resources={template: needs()}).matches(uri)
    return dict(found[0].variables) if found else None


@pytest.mark.parametrize(
    ("template", "uri", "expected"),
    [
        ("users://{id}/profile", "users://7/profile", {"id": "7"}),
        ("users://{id}/profile", "users://a%20b/profile", {"id": "a b"}),
        ("users://{id}/profile", "users://%C3%A9/profile", {"id": "é"}),
        ("users://{id}", "users://a@b", {"id": "a@b"}),
        ("users://{id}", "users://a..b", {"id": "a..b"}),
        ("repo://{owner}/{name}/file/{path*}", "repo://a/b/file/c/d.py", {"owner": "a", "name": "b", "path": "c/d.py"}),
        ("repo://{path*}/raw", "repo://a/b/raw", {"path": "a/b"}),
        ("file:///{+path}", "file:///a/b", {"path": "a/b"}),
        ("file:///{name}.json", "file:///x.json", {"name": "x"}),
        ("file:///v{n}/x", "file:///v2/x", {"n": "2"}),
        ("urn:isbn:{number}", "urn:isbn:123", {"number": "123"}),
    ],
)
def test_a_template_takes_its_variables_decoded(template: str, uri: str, expected: dict[str, str]) -> None:
    assert values(template, uri) == expected


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("users://{id}/profile", "users:///profile"),
        ("users://{id}/profile", "users://a/b/profile"),
        ("users://{id}/profile", "users://7/profile/"),
        ("users://{id}/profile", "users://7/Profile"),
        ("users://{id}/profile", "USERS://7/profile"),
        ("users://{id}/profile", "xusers://7/profile"),
        ("users://{id}/profile", "users://7/profilex"),
        ("users://{id}/profile", "users://7/profile\n"),
        ("users://{id}", "users://{id}"),
        ("file:///{path*}", "file:///"),
        ("file:///{path*}", "file:////etc/passwd"),
        ("file:///{path*}", "file:///a//b"),
        ("file:///{path*}", "file:///a/"),
        ("file:///{name}.json", "file:///.json"),
        ("file:///a{name}a", "file:///a"),
        ("file:///a{name}a", "file:///aa"),
    ],
)
def test_another_uri_is_not_the_templates(template: str, uri: str) -> None:
    assert values(template, uri) is None


@pytest.mark.parametrize(
    "value",
    [
        *("..", ".", "a/..", "../a", "a/../b", "..;x", "%2E%2E", "%2e%2e", ".%2E", "\u2024\u2024", "%E2%80%A4."),
        *("a%2Fb", "a%2fb", "a%5Cb", "a\\b", "%252F", "a%00b", "a\x00b", "a%0Ab", "a\nb", "a\tb", "%7F", "%C2%85"),
        *("%E2%80%AE", "%E2%80%A8", "%EF%BB%BF", "\u202e"),  # text that hides or turns around
        *("%61dmin", "%c3%a9", "%", "%4", "%zz", "%FF", "%C3"),  # not the normal form, or no text
        *("a?b", "a#b", "?", "a%3Fb", "a%23b", "a b", "é", "a|b", "a{b", "[a]", '"', "<a>"),
    ],
)
def test_a_uri_that_could_be_read_in_two_ways_is_no_templates(value: str) -> None:
    assert values("file:///{path*}", f"file:///{value}") is None
    assert values("x://{id}/y", f"x://{value}/y") is None
    assert values("x:a-{id}", f"x:a-{value}") is None


@pytest.mark.parametrize(
    "template",
    [
        *("users://{id", "users://id}", "users://{}", "users://{{id}}", "users://{i d}", "users://{id}{x}"),
        *("users://{a}-{b}", "users://{id}/{id}", "file:///{a*}/{b*}", "file:///{+a}/{b*}", "{scheme}://x", "/{id}"),
        *("users://{?q}", "users://{id}{?q}", "users://{id}?q=1", "users://{/path*}", "users://{#x}", "users://{id:3}"),
        *("users://{a,b}", "USERS://{id}", "users://../{id}", "users://a b/{id}", "users://%61/{id}", "users://é/{id}"),
    ],
)
def test_a_template_that_could_not_be_matched_without_doubt_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="URI template"):
        Policy(resources={template: needs()})


def test_an_exact_uri_beats_a_template() -> None:
    policy = Policy(resources={"users://{id}": needs("a"), "users://admin": needs("b")})
    assert names(policy, "users://admin") == ["users://admin"]
    assert names(policy, "users://bob") == ["users://{id}"]


@pytest.mark.parametrize("uri", ["users://Admin@x", "users://admin%40x", "users://ADMIN%40X", "users://%61dmin@x"])
def test_no_other_spelling_of_an_exact_uri_gets_to_a_template(uri: str) -> None:
    """The app would decode what the template takes, and serve what the exact rule protects."""
    policy = Policy(resources={"users://{id}": needs(), "users://admin@x": needs("admin")})
    assert names(policy, uri) == []


@pytest.mark.parametrize("uri", ["t://Adm@in/s", "t://adm%40in/s", "t://ADM%40IN/s"])
def test_no_other_spelling_gets_around_a_second_template(uri: str) -> None:
    policy = Policy(resources={"t://{any}/{x}": needs(), "t://adm@in/{x}": needs("admin")})
    assert names(policy, uri) == []
    assert names(policy, "t://adm@in/s") == ["t://{any}/{x}", "t://adm@in/{x}"]


def test_all_templates_that_stand_for_a_uri_are_found() -> None:
    policy = Policy(resources={"f:///{path*}": needs("a"), "f:///{name}": needs("b"), "f:///x/{name}": needs("c")})
    assert names(policy, "f:///y") == ["f:///{path*}", "f:///{name}"]
    assert names(policy, "f:///x/y") == ["f:///{path*}", "f:///x/{name}"]


def test_a_long_uri_is_matched_in_time_that_grows_with_its_length() -> None:
    """A matcher that tried every way to split would not come back before the test's time is over."""
    policy = Policy(resources={f"f:///{'a/' * n}{{path*}}/b{{x}}b": needs() for n in range(50)})
    assert len(policy.matches("f:///" + "a/" * 2_000 + "b" * 4_000)) == 50
    assert policy.matches("f:///" + "a/" * 2_000 + "b" * 4_000 + "/") == ()
    assert policy.matches("f:///" + "a/" * 500_000 + "bbb") == ()


PARTS = st.text(alphabet="abcAB09-._~%2F5CeE@:;,+ /\\?#{}é\u2024", max_size=8)
TEMPLATES = ["x://{id}", "x://{id}/p", "x://{a}/{b}", "x:///{path*}", "x://a/{path*}/z", "x://a-{id}.b"]


@given(
    st.sampled_from(TEMPLATES), PARTS, PARTS, st.sampled_from(["x://{0}", "x://{0}/p", "x://{0}/{1}", "x:///{0}/{1}"])
)
@example("x://{id}", "a%2Fb", "", "x://{0}")
@example("x:///{path*}", "..", "a", "x:///{0}/{1}")
def test_fastmcp_and_the_sdk_take_the_same_values_out_of_every_uri_that_is_let_through(
    template: str, first: str, second: str, form: str
) -> None:
    uri = form.format(first, second)
    taken = values(template, uri)
    if taken is None:
        return
    assert match_uri_template(uri, template) == taken
    if "*" not in template and not re.search("[,&]", uri):  # these two the SDK keeps for itself
        assert SdkTemplate.parse(template).match(uri) == taken


@given(st.text(max_size=30))
def test_what_is_plain_has_no_second_reading(uri: str) -> None:
    if is_plain(uri):
        decoded = folded(uri)
        assert uri.isascii()
        assert ".." not in decoded.split("/")
        assert not set(decoded) & set("\\?#\x00\n\r%")


@pytest.mark.parametrize("uri", ["x://%E2%80%A4%E2%80%A4/a", "x://a/%E2%80%A5", "x://%E2%80%A4", "x://a/..", "x://./a"])
def test_dot_segments_are_not_plain_however_they_are_written(uri: str) -> None:
    assert not is_plain(uri)


@pytest.mark.parametrize("template", TEMPLATES)
def test_matching_a_template_by_itself_gives_what_the_policy_gives(template: str) -> None:
    uri: Any = re.sub(r"\{[^}]*\}", "v", template)
    assert UriTemplate.parse(template).match(uri) == values(template, uri)
