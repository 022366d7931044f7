"""Whose address is believed: the peer's, and a configured proxy's word about its own peer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.base.errors import UsageError
from garrison.base.peers import Peers, neighbourhood, stranger_unit

PROXIES = Peers(["10.0.0.0/8", "2001:db8::1"])


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded"])
def test_without_a_configured_proxy_no_header_is_believed(header: str) -> None:
    said = "198.51.100.1" if header == "x_forwarded_for" else "for=198.51.100.1"
    assert Peers().address("10.0.0.1", **{header: [said]}) == "10.0.0.1"
    assert PROXIES.address("203.0.113.7", **{header: [said]}) == "203.0.113.7"


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        (["198.51.100.1"], "198.51.100.1"),
        (["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        (["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
        (["198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        (["198.51.100.1:4711"], "198.51.100.1"),
        (["[2001:db8::2]:4711"], "2001:db8::2"),
        (["::ffff:198.51.100.1"], "198.51.100.1"),
        (["<script>"], "10.0.0.1"),
        (["198.51.100.1, unknown"], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_x_forwarded_for_is_read_from_its_end_to_the_first_that_is_no_proxy_of_ours(
    said: list[str], believed: str
) -> None:
    assert PROXIES.address("10.0.0.1", said) == believed


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ("For=1.2.3.4, for=198.51.100.1;proto=https;by=10.0.0.1", "198.51.100.1"),
        ('for="[2001:db8::2]:4711"', "2001:db8::2"),
        ('proto=https;for="198.51.100.1:4711"', "198.51.100.1"),
        ("for=198.51.100.1, for=10.9.9.9", "198.51.100.1"),
        ('for="1.2.3.4, for=198.51.100.1', "198.51.100.1"),
        ('by = x; FOR = " 198.51.100.1" ;for=1.2.3.4', "198.51.100.1"),
        ("for=1.2.3.4, for=_hidden", "10.0.0.1"),
        ("host=1.2.3.4", "10.0.0.1"),
    ],
)
def test_forwarded_is_read_alike(said: str, believed: str) -> None:
    assert PROXIES.address("10.0.0.1", forwarded=[said]) == believed


@pytest.mark.parametrize("peer", ["10.0.0.1", "203.0.113.7"])
def test_no_header_takes_longer_than_its_length(peer: str) -> None:
    """An expression that tried every way to share the blanks took hours for this."""
    assert PROXIES.address(peer, forwarded=[f'for={" " * 30_000}"x"y']) == peer


def test_of_two_headers_a_client_may_have_written_the_other_so_neither_is_believed() -> None:
    assert PROXIES.address("10.0.0.1", ["198.51.100.1"], ["for=203.0.113.7"]) == "10.0.0.1"


@given(said=st.lists(st.text(max_size=40), max_size=3), own=st.ip_addresses(v=4))
def test_whatever_a_client_writes_its_address_is_what_the_proxy_adds(said: list[str], own: object) -> None:
    peers = Peers(["127.0.0.1"])
    if str(own) != "127.0.0.1":
        assert peers.address("127.0.0.1", [*said, str(own)]) == str(own)
        assert peers.address("127.0.0.1", forwarded=[*said, f"for={own}"]) == str(own)


def test_a_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(UsageError, match="trusted_proxies"):
        Peers(["not an address"])


def test_a_peer_without_an_address_has_none() -> None:
    assert Peers().address("") == Peers().address("a socket") == PROXIES.address("") == ""


def test_an_ipv6_site_is_one_stranger_and_an_ipv4_address_is_one() -> None:
    assert stranger_unit("2001:db8::1") == stranger_unit("2001:db8::2:3") == "2001:db8::/64"
    assert stranger_unit("2001:db8:0:1::1") == "2001:db8:0:1::/64"
    assert stranger_unit("fe80::1%eth0") == "fe80::/64"
    assert stranger_unit("198.51.100.1") == "198.51.100.1"
    assert stranger_unit("") == ""


def test_neighbours_are_who_may_well_be_one_owner() -> None:
    assert neighbourhood("198.51.100.1") == neighbourhood("::ffff:198.51.100.255") == "198.51.100.0/24"
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8:0:ffff::1%eth0") == "2001:db8::/48"
    assert neighbourhood("2001:db8:1::1") != neighbourhood("2001:db8::1")
    assert neighbourhood("") == ""
