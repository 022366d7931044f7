"""Guarded fetching: RFC 9700 §4.11, the Client ID Metadata Document draft's rules, THREATS.md 13 and 21."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.base.connect import RESOLVERS
from garrison.base.errors import FetchError, UsageError
from garrison.base.fetch import Fetched, Fetcher, check_url

Resolver = Callable[..., list[str]]
SECRET = "s3cr3t"

REFUSED = [
    "",
    "issuer.example/jwks",
    "//issuer.example/jwks",
    "https:issuer.example",
    "https:///jwks",
    "https://:443/jwks",
    "https://user@issuer.example/",
    "https://evil.example[2606:4700::1111]/",
    "http://evil.example[::1]:80/",
    "https://[::1]evil.example/",
    f"https://user:{SECRET}@issuer.example/",
    f"https://{SECRET}@127.0.0.1/",
    "https://issuer.example\\@evil.example/\\",
    "https://issuer.example:99999/",
    "https://issuer.example:x/",
    "https://[::1/",
    "https://issuer.exämple/",
    "https://issuer.example/a b",
    " https://issuer.example/",
    "https://issuer.example/\r\nHost: evil.example",
    "https://issuer.example/\x00",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "javascript:alert(1)",
    "data:application/json,{}",
    "ftp://issuer.example/jwks",
    "ws://127.0.0.1/",
    "unix:/run/docker.sock",
    "gopher://127.0.0.1:6379/_",
    "http://issuer.example/jwks",
    "http://10.0.0.1/",
    "http://0.0.0.0/",
    "http://[::]/",
    "http://localhost.example/",
    "http://localhost./",
    "http://127.0.0.1.example/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
]


@pytest.mark.parametrize("url", REFUSED, ids=ascii)
def test_only_https_or_http_on_loopback_without_user_name_may_be_fetched(url: str) -> None:
    with pytest.raises(FetchError):
        check_url(url)


@pytest.mark.parametrize("url", REFUSED, ids=ascii)
async def test_a_url_that_may_not_be_fetched_is_not_even_looked_up(
    url: str, trust: ssl.SSLContext, resolver: Resolver
) -> None:
    asked = resolver(["127.0.0.1"])
    async with Fetcher(trust, private_addresses=True, timeout=1) as fetcher:
        with pytest.raises(FetchError) as caught:
            await fetcher.get(f"{url}?code={SECRET}")
    assert not asked
    assert SECRET not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example",
        "HTTPS://issuer.example:8443/jwks?x=1#y",
        "https://2130706433/",  # judged by its address, once that is known
        "http://localhost:8080/",
        "http://LOCALHOST/",
        "http://127.0.0.1:8080/",
        "http://127.0.0.2/",
        "http://[::1]:8080/",
    ],
)
def test_https_and_http_on_loopback_may_be_fetched(url: str) -> None:
    assert check_url(url).geturl().lower() == url.lower()


@given(st.text() | st.text(max_size=20).map("https://".__add__) | st.text(max_size=20).map("http://localhost".__add__))
def test_any_text_is_a_url_that_may_be_fetched_or_a_fetch_error(text: str) -> None:
    try:
        parts = check_url(text)
    except FetchError:
        return
    assert parts.scheme in {"https", "http"}
    assert parts.hostname
    assert text.isascii()


async def test_an_answer_has_status_headers_and_body(http_port: int) -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        answer = await fetcher.get(f"http://127.0.0.1:{http_port}/x?code={SECRET}#part")
    assert (answer.status, answer.json()["method"]) == (200, "GET")
    assert answer.json()["headers"] == {"host": f"127.0.0.1:{http_port}", "accept": "application/json"}
    assert answer.headers["content-length"] == str(len(answer.body))


async def test_localhost_is_reached_at_whichever_of_its_addresses_answers(http_port: int, resolver: Resolver) -> None:
    resolver(["::1", "127.0.0.1"])
    async with Fetcher(private_addresses=True) as fetcher:
        assert (await fetcher.get(f"http://localhost:{http_port}/")).status == 200


async def test_a_form_is_posted_as_a_form(http_port: int) -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        url = f"http://127.0.0.1:{http_port}/token"
        echo = (await fetcher.post_form(url, {"a": "b&c", "d": "é"}, headers={"authorization": "Basic x"})).json()
    assert (echo["method"], echo["body"]) == ("POST", "a=b%26c&d=%C3%A9")
    assert echo["headers"]["content-type"] == "application/x-www-form-urlencoded"
    assert echo["headers"]["authorization"] == "Basic x"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int, http_port: int, seen: list[str]) -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        url = f"http://127.0.0.1:{http_port}/redirect/{status}"
        assert (await fetcher.get(url)).status == status
        with pytest.raises(FetchError, match=f"answered {status}"):
            await fetcher.get_json(url)
    assert seen == [f"/redirect/{status}"] * 2


@pytest.mark.parametrize("path", ["text", "deep", "redirect/204"])
async def test_what_is_no_json_is_a_fetch_error(path: str, http_port: int) -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        with pytest.raises(FetchError, match=r"not JSON|answered 204"):
            await fetcher.get_json(f"http://127.0.0.1:{http_port}/{path}")


async def test_json_is_read(http_port: int) -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        assert (await fetcher.get_json(f"http://127.0.0.1:{http_port}/"))["method"] == "GET"
    assert Fetched(200, {}, b"[1]").json() == [1]


async def test_a_body_is_read_up_to_its_cap_and_not_beyond(http_port: int) -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        url = f"http://127.0.0.1:{http_port}/big"
        assert len((await fetcher.get(f"{url}?65536")).body) == 65_536
        assert len((await fetcher.get(f"{url}?100", max_bytes=100)).body) == 100
        for size, cap in ((65_537, 65_536), (101, 100), (20_000_000, 100)):
            with pytest.raises(FetchError, match=f"more than {cap} bytes"):
                await fetcher.get(f"{url}?{size}", max_bytes=cap)


@pytest.mark.parametrize("path", ["silent", "drip"])
async def test_the_time_of_a_whole_request_is_bounded(path: str, http_port: int) -> None:
    """A drip of one byte at a time keeps every single read short, and is cut off all the same."""
    began = time.monotonic()
    async with Fetcher(private_addresses=True, timeout=0.2) as fetcher:
        with anyio.fail_after(60), pytest.raises(FetchError, match="did not answer: TimeoutError"):
            await fetcher.get(f"http://127.0.0.1:{http_port}/{path}")
    assert time.monotonic() - began < 20


async def test_a_server_that_never_shakes_hands_is_left_in_time_and_its_connection_closed(
    trust: ssl.SSLContext,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with Fetcher(trust, private_addresses=True, timeout=0.2) as fetcher:
            with anyio.fail_after(60), pytest.raises(FetchError, match="did not answer"):
                await fetcher.get(f"https://127.0.0.1:{mute.getsockname()[1]}/")
        accepted, _ = mute.accept()
        with accepted:
            accepted.settimeout(5)  # a connection that was left open would say nothing more
            while accepted.recv(65_536):
                pass


async def test_what_does_not_speak_http_is_a_fetch_error(https_port: int) -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        with pytest.raises(FetchError, match="did not answer"):
            await fetcher.get(f"http://127.0.0.1:{https_port}/")


async def test_a_repeated_header_is_one_list(http_port: int) -> None:
    """RFC 9110 §5.3."""
    async with Fetcher(private_addresses=True) as fetcher:
        answer = await fetcher.get(f"http://127.0.0.1:{http_port}/repeated")
    assert answer.headers["www-authenticate"] == 'Basic realm="a", Bearer scope="b"'


@pytest.mark.parametrize("value", [f"Bearer {SECRET}\n", f"Bearer {SECRET}\r\nX: y", f"Bearer {SECRET}é", f" {SECRET}"])
async def test_a_header_that_cannot_be_sent_is_not_quoted(value: str, http_port: int, seen: list[str]) -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        with pytest.raises(FetchError) as caught:
            await fetcher.request("GET", f"http://127.0.0.1:{http_port}/", headers={"authorization": value})
    assert not seen
    error: BaseException | None = caught.value
    while error:
        assert SECRET not in repr(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("path", ["/silent", "/big?70000", "/text", "/redirect/302", "/deep"])
async def test_no_error_names_the_query(path: str, http_port: int) -> None:
    async with Fetcher(private_addresses=True, timeout=0.2) as fetcher:
        url = f"http://127.0.0.1:{http_port}{path}{'&' if '?' in path else '?'}code={SECRET}"
        with pytest.raises(FetchError) as caught:
            await fetcher.get_json(url)
    assert SECRET not in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.message


# where it connects to


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:{}/",
        "http://127.0.0.1:{}/",
        "https://localhost:{}/",
        "https://127.0.0.1:{}/",
        "https://2130706433:{}/",  # 127.0.0.1 to the resolver
        "https://0x7f000001:{}/",
        "https://0177.0.0.1:{}/",
        "https://127.1:{}/",
        "https://[::ffff:127.0.0.1]:{}/",
        "https://0:{}/",
    ],
)
async def test_this_machine_is_refused_under_all_of_its_names(url: str, http_port: int, seen: list[str]) -> None:
    async with Fetcher() as fetcher:
        with pytest.raises(FetchError, match="special-use address") as caught:
            await fetcher.get(url.format(http_port) + f"?code={SECRET}")
    assert not seen
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["64:ff9b::7f00:1"],
        ["fe80::1%eth0"],
        ["127.0.0.1", "93.184.215.14"],
        ["93.184.215.14", "127.0.0.1"],
    ],
    ids=str,
)
async def test_a_name_with_any_special_use_address_is_refused(addresses: list[str], resolver: Resolver) -> None:
    asked = resolver(addresses)
    async with Fetcher(timeout=1) as fetcher:
        with pytest.raises(FetchError, match="special-use address"):
            await fetcher.get("https://issuer.example:1/")
    assert asked == ["issuer.example"]


async def test_a_name_without_an_address_is_a_fetch_error(resolver: Resolver) -> None:
    resolver([])
    async with Fetcher() as fetcher:
        with pytest.raises(FetchError, match="did not answer"):
            await fetcher.get(f"https://issuer.example/?code={SECRET}")


async def test_a_second_answer_of_the_name_service_changes_nothing(
    https_port: int, trust: ssl.SSLContext, resolver: Resolver
) -> None:
    """DNS rebinding: the address that was checked is the address that is connected to."""
    asked = resolver(["127.0.0.1"], ["127.0.0.2"])
    async with Fetcher(trust, private_addresses=True) as fetcher:
        assert (await fetcher.get(f"https://issuer.example:{https_port}/")).status == 200
    assert asked == ["issuer.example"]


async def test_a_rebound_name_is_refused_when_it_is_looked_up_again(
    https_port: int, trust: ssl.SSLContext, resolver: Resolver
) -> None:
    asked = resolver(["127.0.0.1"])
    async with Fetcher(trust) as fetcher:
        for _ in range(2):
            with pytest.raises(FetchError, match="special-use address"):
                await fetcher.get(f"https://issuer.example:{https_port}/")
    assert asked == ["issuer.example"] * 2


async def test_a_proxy_of_the_environment_is_not_used(http_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with Fetcher(private_addresses=True) as fetcher:
        assert (await fetcher.get(f"http://127.0.0.1:{http_port}/")).status == 200


# TLS


async def test_a_certificate_of_an_unknown_authority_is_refused_with_a_hint(https_port: int, seen: list[str]) -> None:
    async with Fetcher(private_addresses=True) as fetcher:
        with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await fetcher.get(f"https://127.0.0.1:{https_port}/?code={SECRET}")
    assert "name the authority" in caught.value.hint
    assert SECRET not in caught.value.message
    assert not seen


async def test_a_certificate_for_another_host_is_refused(
    https_port: int, trust: ssl.SSLContext, resolver: Resolver, seen: list[str]
) -> None:
    resolver(["127.0.0.1"])
    async with Fetcher(trust, private_addresses=True) as fetcher:
        with pytest.raises(FetchError, match="Hostname mismatch"):
            await fetcher.get(f"https://other.example:{https_port}/")
    assert not seen


async def test_connect_to_leads_elsewhere_under_the_same_name(https_port: int, trust: ssl.SSLContext) -> None:
    table = {"issuer.example:443": f"127.0.0.1:{https_port}"}
    async with Fetcher(trust, private_addresses=True, connect_to=table) as fetcher:
        echo = await fetcher.get_json("https://ISSUER.example/")
    assert echo["headers"]["host"] == "ISSUER.example"


async def test_connect_to_does_not_change_whose_certificate_is_asked_for(
    https_port: int, trust: ssl.SSLContext, seen: list[str]
) -> None:
    """The certificate is good for 127.0.0.1, where the connection goes, and not for the URL's host."""
    table = {"other.example:443": f"127.0.0.1:{https_port}"}
    async with Fetcher(trust, private_addresses=True, connect_to=table) as fetcher:
        with pytest.raises(FetchError, match="Hostname mismatch"):
            await fetcher.get("https://other.example/")
    assert not seen


async def test_connect_to_is_checked_like_any_address(https_port: int, trust: ssl.SSLContext) -> None:
    async with Fetcher(trust, connect_to={"issuer.example:443": f"127.0.0.1:{https_port}"}) as fetcher:
        with pytest.raises(FetchError, match="special-use address"):
            await fetcher.get("https://issuer.example/")


async def test_connect_to_takes_ipv6_addresses_as_urls_write_them(http_port: int, resolver: Resolver) -> None:
    asked = resolver(["127.0.0.1"])
    async with Fetcher(private_addresses=True, connect_to={"[::1]:8080": f"[::ffff:127.0.0.1]:{http_port}"}) as fetcher:
        assert (await fetcher.get("http://[::1]:8080/")).status == 200
    assert asked == ["::ffff:127.0.0.1"]


@pytest.mark.parametrize(
    "entry", [("issuer.example", "127.0.0.1:1"), ("issuer.example:443", "127.0.0.1:x"), (":1", ":2")]
)
def test_connect_to_takes_host_and_port_alone(entry: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="not host:port"):
        Fetcher(connect_to=dict([entry]))


async def test_more_requests_than_there_is_room_for_are_refused_at_once_and_room_comes_back(http_port: int) -> None:
    async with Fetcher(private_addresses=True, timeout=60, at_once=2) as fetcher:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(fetcher.get, f"http://127.0.0.1:{http_port}/silent")
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(FetchError, match="too many others"):
                    await fetcher.get(f"http://127.0.0.1:{http_port}/big?10")
                tasks.cancel_scope.cancel()
            assert len((await fetcher.get(f"http://127.0.0.1:{http_port}/big?10")).body) == 10


async def test_one_asker_leaves_room_for_the_others(http_port: int) -> None:
    async with Fetcher(private_addresses=True, timeout=60, at_once=3, at_once_each=2) as fetcher:
        address = f"http://127.0.0.1:{http_port}"
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(partial(fetcher.get, f"{address}/silent", asker="one"))
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(FetchError, match="too many others"):
                    await fetcher.get(f"{address}/big?10", asker="one")
                assert len((await fetcher.get(f"{address}/big?10", asker="two")).body) == 10
                tasks.cancel_scope.cancel()
            assert len((await fetcher.get(f"{address}/big?10", asker="one")).body) == 10


async def test_name_servers_that_are_silent_hold_up_no_other_fetchers_look_ups(
    http_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, real = threading.Event(), socket.getaddrinfo

    def slow(host: str, *rest: int, **named: int) -> object:
        if host == "silent.example":
            answered.wait()
        return real(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    async with Fetcher(timeout=60) as strangers, Fetcher(private_addresses=True, timeout=60) as ours:
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(RESOLVERS * 4):
                    tasks.start_soon(strangers.get, "https://silent.example/")
                await anyio.lowlevel.checkpoint()
                assert (await ours.get(f"http://127.0.0.1:{http_port}/big?10")).status == 200
                tasks.cancel_scope.cancel()
        finally:
            answered.set()
