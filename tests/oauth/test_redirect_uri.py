"""RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1."""

import re
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from garrison.oauth import redirect_uri
from garrison.oauth.errors import InvalidRequest

LOOPBACK = "http://127.0.0.1/cb?a=1"


@pytest.mark.parametrize(
    "uri",
    [
        "https://client.example.com/cb",
        "https://client.example.com:8443/cb?tenant=1",
        "http://localhost:3000/cb",
        "http://127.0.0.1/cb",  # RFC 8252 §7.3
        "http://127.0.0.1:51004/oauth2redirect/example-provider",
        "http://[::1]:61023/oauth2redirect/example-provider",
        "com.example.app:/oauth2redirect/example-provider",  # RFC 8252 §7.1
        "com.example.app:///oauth2redirect",
    ],
)
def test_https_loopback_and_reversed_domain_schemes_can_be_registered(uri: str) -> None:
    redirect_uri.check_registrable(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/cb",
        "//client.example.com/cb",
        "client.example.com/cb",
        "https:///cb",
        "https://:443/cb",
        "http://client.example.com/cb",
        "http://localhost.evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://evil.example/127.0.0.1",
        "http://0.0.0.0/cb",
        "http://2130706433/cb",
        "http://127.1/cb",
        "http://192.168.1.2/cb",
        "http://[::ffff:10.0.0.1]/cb",
        "https://client.example.com/cb#fragment",
        "https://client.example.com/cb#",
        "https://user@client.example.com/cb",
        "https://client.example.com@evil.example/cb",
        "http://localhost:3000@evil.example/cb",
        "https://*.example.com/cb",
        "https://client.example.com/*",
        "https://client.example.com\\@evil.example/cb",
        "https:\\\\evil.example/cb",
        "https://client.example.com/c b",
        "https://client.example.com/cb\r\nSet-Cookie: a=b",
        "\thttps://client.example.com/cb",
        "https://client.exämple.com/cb",
        'https://client.example.com/"><script>',
        "https://client.example.com:99999/cb",
        "https://client.example.com:port/cb",
        "https://[::1/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://client.example.com/cb",
        "myapp:/cb",  # RFC 8252 §7.1: not a domain anybody owns
        "com.example.app:cb",
        "com.example.app://evil.example/cb",
        "urn:ietf:wg:oauth:2.0:oob",
    ],
)
def test_anything_else_cannot_be_registered(uri: str) -> None:
    with pytest.raises(InvalidRequest):
        redirect_uri.check_registrable(uri)


@given(st.text())
def test_any_text_can_be_registered_or_is_an_invalid_request(text: str) -> None:
    try:
        redirect_uri.check_registrable(text)
    except InvalidRequest:
        return
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize(
    "requested",
    [
        "https://client.example.com/cb",
        "https://client.example.com/cb?a=1&b=2",
        "https://client.example.com/cb?a=1#",
        "https://client.example.com/cb/?a=1",
        "https://client.example.com/CB?a=1",
        "https://CLIENT.example.com/cb?a=1",
        "HTTPS://client.example.com/cb?a=1",
        "https://client.example.com:443/cb?a=1",
        "https://client.example.com/x/../cb?a=1",
        "https://client.example.com/%63b?a=1",
        "https://client.example.com.evil.example/cb?a=1",
        "https://evil.example/cb?a=1",
        "http://client.example.com/cb?a=1",
        "https://client.example.com/cb?a=1\n",
        " https://client.example.com/cb?a=1",
        "https://client.example.com/cb?a=1&",
    ],
)
def test_a_redirect_uri_is_compared_byte_for_byte(requested: str) -> None:
    registered = ["https://client.example.com/cb?a=1"]
    assert redirect_uri.matches(registered, registered[0])
    assert not redirect_uri.matches(registered, requested)


@pytest.mark.parametrize("port", ["", ":1", ":80", ":51004", ":65535"])
def test_a_loopback_ip_may_have_any_port(port: str) -> None:
    assert redirect_uri.matches(["http://127.0.0.1/cb"], f"http://127.0.0.1{port}/cb")
    assert redirect_uri.matches(["http://127.0.0.1:4711/cb"], f"http://127.0.0.1{port}/cb")
    assert redirect_uri.matches(["https://a.example/", "http://[::1]/cb"], f"http://[::1]{port}/cb")


@pytest.mark.parametrize(
    ("registered", "requested"),
    [
        ("http://localhost/cb", "http://localhost:51004/cb"),  # RFC 8252 §8.3: a name may lead elsewhere
        ("http://localhost:3000/cb", "http://localhost:3001/cb"),
        ("https://127.0.0.1/cb", "https://127.0.0.1:51004/cb"),
        ("https://client.example.com/cb", "https://client.example.com:8443/cb"),
        ("http://10.0.0.1/cb", "http://10.0.0.1:80/cb"),
        ("com.example.app:/cb", "com.example.app:1/cb"),
    ],
)
def test_nothing_but_a_loopback_ip_may_have_another_port(registered: str, requested: str) -> None:
    assert not redirect_uri.matches([registered], requested)


@pytest.mark.parametrize(
    "requested",
    [
        "http://127.0.0.1:5/cb?a=1&b=2",
        "http://127.0.0.1:5/cb",
        "http://127.0.0.1:5/CB?a=1",
        "http://127.0.0.1:5/cb?a=1#",
        "http://127.0.0.1:5/cb?a=1#x",
        "http://127.0.0.1:5/cb?a=1\r\n",
        "http://127.0.0.1:5/c\tb?a=1",
        "\nhttp://127.0.0.1:5/cb?a=1",
        " http://127.0.0.1:5/cb?a=1",
        "HTTP://127.0.0.1:5/cb?a=1",
        "https://127.0.0.1:5/cb?a=1",
        "http://127.0.0.2:5/cb?a=1",
        "http://[::1]:5/cb?a=1",
        "http://localhost:5/cb?a=1",
        "http://user@127.0.0.1:5/cb?a=1",
        "http://evil.example:5/cb?a=1",
        "http://127.0.0.1:5@evil.example/cb?a=1",
        "http://127.0.0.1.evil.example:5/cb?a=1",
        "http://127.0.0.1:5\\@evil.example/cb?a=1",
        "http://evil.example/cb?a=1#http://127.0.0.1/cb?a=1",
        "//127.0.0.1:5/cb?a=1",
        "",
    ],
)
def test_only_the_port_of_a_loopback_ip_may_vary(requested: str) -> None:
    assert not redirect_uri.matches([LOOPBACK], requested)


@pytest.mark.parametrize("requested", ["http://127.0.0.1:99999/cb", "http://127.0.0.1:x/cb", "http://[::1/cb"])
def test_what_is_no_uri_matches_nothing(requested: str) -> None:
    with pytest.raises(InvalidRequest):
        redirect_uri.matches([LOOPBACK], requested)


def test_nothing_registered_matches_nothing() -> None:
    assert not redirect_uri.matches([], "https://client.example.com/cb")


WORDS = [
    "http://",
    "https://",
    "HTTP://",
    "127.0.0.1",
    "127.0.0.2",
    "[::1]",
    "localhost",
    "evil.example",
    "user",
    "/cb",
]
PIECES = st.sampled_from([*WORDS, "?a=1", ":80", ":99999", "%00", "//"]) | st.sampled_from("@:#?&.\\/*\t\r\n\x00é;[ ")


@given(st.text() | st.lists(PIECES, max_size=8).map("".join))
@example("http://127.0.0.1:5/cb?a=1")
@example("http://127.0.0.1:/cb?a=1")
def test_no_text_at_all_matches_a_loopback_uri_but_itself_with_a_port(requested: str) -> None:
    try:
        matched = redirect_uri.matches([LOOPBACK], requested)
    except InvalidRequest:
        return
    assert matched == bool(re.fullmatch(r"http://127\.0\.0\.1(:[0-9]+)?/cb\?a=1", requested))


@given(st.text() | st.lists(PIECES, max_size=8).map("".join))
def test_no_text_at_all_matches_an_https_uri_but_itself(requested: str) -> None:
    with suppress(InvalidRequest):
        assert redirect_uri.matches(["https://evil.example/cb"], requested) == (requested == "https://evil.example/cb")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://c.example/cb", "https://c.example/cb?code=a%26b&state=%C3%A9"),
        ("https://c.example", "https://c.example?code=a%26b&state=%C3%A9"),
        ("https://c.example/cb?x=1&y=%20", "https://c.example/cb?x=1&y=%20&code=a%26b&state=%C3%A9"),
        ("https://c.example/cb?", "https://c.example/cb?code=a%26b&state=%C3%A9"),
        ("https://c.example/a&", "https://c.example/a&?code=a%26b&state=%C3%A9"),
        ("https://c.example/cb?x=1&", "https://c.example/cb?x=1&code=a%26b&state=%C3%A9"),
        ("com.example.app:/cb", "com.example.app:/cb?code=a%26b&state=%C3%A9"),
        ("com.example.app:///cb", "com.example.app:///cb?code=a%26b&state=%C3%A9"),
        ("HTTP://127.0.0.1:5/cb", "HTTP://127.0.0.1:5/cb?code=a%26b&state=%C3%A9"),
        ("/login", "/login?code=a%26b&state=%C3%A9"),
        ("https://c.example/cb#part", "https://c.example/cb?code=a%26b&state=%C3%A9#part"),
    ],
)
def test_parameters_are_added_behind_the_uris_own_query_and_the_rest_is_kept_byte_for_byte(
    uri: str, expected: str
) -> None:
    assert redirect_uri.with_params(uri, {"code": "a&b", "state": "é"}) == expected


def test_no_parameters_change_nothing() -> None:
    assert redirect_uri.with_params("https://c.example/cb?", {}) == "https://c.example/cb?"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_parameter_value_can_add_another_or_break_the_line(state: str) -> None:
    answer = redirect_uri.with_params("https://c.example/cb", {"state": state, "iss": "https://as.example"})
    assert answer.isascii()
    assert answer.isprintable()
    assert (answer.count("&"), answer.count("="), answer.count("#")) == (1, 2, 0)


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("http://localhost/cb", True),
        ("http://127.0.0.1:5/cb", True),
        ("http://[::1]/cb", True),
        ("https://client.example.com/cb", False),
        ("http://localhost.example.com/cb", False),
        ("com.example.app:/cb", False),
    ],
)
def test_a_redirect_to_the_users_own_machine_is_known_as_one(uri: str, *, local: bool) -> None:
    assert redirect_uri.is_loopback(uri) is local


@pytest.mark.parametrize("host", ["h;x", "h%00", "h,x", "h'x", "a$b", "h%2f", "[v1.x]", "h:", "*.h"])
def test_a_host_must_be_one_that_a_content_security_policy_can_name(host: str) -> None:
    with pytest.raises(InvalidRequest):
        redirect_uri.check_registrable(f"https://{host}/cb")


@pytest.mark.parametrize(
    "requested",
    [
        "http://evil.example[::1]:80/cb",
        "http://evil.example[::1]/cb",
        "http://evil.example:443[::1]:80/cb",
        "http://[::1]:/cb",
    ],
)
def test_07_an_address_behind_something_else_is_not_the_loopback_address(requested: str) -> None:
    assert not redirect_uri.matches(["http://[::1]/cb"], requested)
