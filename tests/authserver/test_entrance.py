"""Every path and method has one answer, and every answer its headers."""

import subprocess
import sys
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garrison.authserver import forms
from garrison.oauth.errors import InvalidRequest
from tests.authserver.world import World

SPA = {"Origin": "https://spa.example", "Access-Control-Request-Method": "POST"}


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/token", 405, "POST"),
        ("HEAD", "/token", 405, "POST"),
        ("OPTIONS", "/token", 405, "POST"),
        ("OPTIONS", "/authorize", 405, "GET, POST"),
        ("DELETE", "/consent", 405, "GET, POST"),
        ("HEAD", "/jwks", 200, None),
        ("PUT", "/nowhere", 404, None),
        ("GET", "/token/", 404, None),
        ("GET", "//token", 404, None),
    ],
)
async def test_a_method_or_path_that_is_not_there_is_refused_with_the_headers_of_every_response(
    world: World, method: str, path: str, status: int, allow: str | None
) -> None:
    async with world.browser() as http:
        response = await http.request(method, "https://auth.example" + path)
    assert response.status_code == status
    assert response.headers.get("allow") == allow
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert response.headers["cache-control"] == ("no-store" if path != "/jwks" else "public, max-age=300")


async def test_48_a_script_is_told_what_it_may_send_to_the_token_endpoint_and_to_no_page(world: World) -> None:
    async with world.browser() as http:
        allowed = await http.options("/token", headers=SPA)
        refused = await http.options("/authorize", headers=SPA)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "*")
    assert allowed.headers["x-frame-options"] == "DENY"
    assert "access-control-allow-credentials" not in allowed.headers
    assert refused.status_code == 405
    assert "access-control-allow-origin" not in refused.headers


@given(st.text(alphabet="ab=&+%2fF0.é", max_size=40))
def test_a_form_is_read_as_the_standard_library_reads_it(text: str) -> None:
    encoded = text.encode()
    try:
        pairs = parse_qsl(encoded.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        with pytest.raises(InvalidRequest):
            forms.parse(encoded)
        return
    found = forms.parse(encoded)
    names = [name for name, _ in pairs]
    assert found == {name: value for name, value in pairs if value}
    assert found.repeated == {name for name in names if names.count(name) > 1}


def test_the_authorization_server_starts_without_what_mcp_servers_are_made_of() -> None:
    program = "import sys, garrison.demo.authorization; print({'mcp', 'fastmcp', 'limits'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
