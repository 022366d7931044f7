"""The path to a token: 401, protected-resource metadata, authorization-server metadata, two grants."""

import secrets
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from garrison.demo.browser import sign_in_and_consent
from garrison.demo.installation import REDIRECT_URI
from garrison.demo.policy import SCOPES
from garrison.demo.scene import Scene, Step, expect, expect_status
from garrison.demo.wire import call_tool
from garrison.oauth import challenge, pkce, resource_metadata, server_metadata
from garrison.oauth import scope as scope_rfc6749
from garrison.oauth.basic import render_basic


async def stranger_is_refused(scene: Scene) -> str:
    response = await call_tool(scene.http, scene.at.resource, None, "get_customer_info", {"customer_id": "ABC123"})
    expect_status(response, 401)
    found = challenge.bearer([response.headers["www-authenticate"]])
    metadata_url = found.params.get("resource_metadata") if found else None
    expect(metadata_url, "the challenge names no resource_metadata")
    scene.learnt["metadata_url"] = metadata_url
    return f"401, resource_metadata={metadata_url}"


async def metadata_leads_on(scene: Scene) -> str:
    response = await scene.http.get(scene.known("metadata_url"))
    expect_status(response, 200)
    resource = resource_metadata.check(response.json(), scene.at.resource)
    issuer = resource.authorization_servers[0]
    response = await scene.http.get(server_metadata.well_known_urls(issuer)[0])
    expect_status(response, 200)
    server = server_metadata.check(response.json(), issuer)
    expect(server.code_challenge_methods == ("S256",), "PKCE by S256 alone is not what the server advertises")
    scene.learnt.update(resource=resource.resource, server=server)
    return f"{resource.resource} -> {issuer} -> {server.token_endpoint}"


async def client_credentials(scene: Scene) -> str:
    form = {
        "grant_type": "client_credentials",
        "scope": scope_rfc6749.render(SCOPES),
        "resource": scene.known("resource"),
    }
    answer = await _token(scene, form)
    scene.learnt["token"] = answer["access_token"]
    return f"a token for {answer['scope']!r}, {answer['expires_in']} s"


async def authorization_code(scene: Scene) -> str:
    server, verifier, state = scene.known("server"), pkce.new_verifier(), secrets.token_urlsafe(16)
    query = {
        "response_type": "code",
        "client_id": scene.client["client_id"],
        "redirect_uri": REDIRECT_URI,
        "scope": scope_rfc6749.render(SCOPES),
        "resource": scene.known("resource"),
        "state": state,
        "code_challenge": pkce.challenge_s256(verifier),
        "code_challenge_method": pkce.METHOD,
    }
    async with httpx2.AsyncClient(verify=scene.trust, trust_env=False) as browser:
        url = f"{server.authorization_endpoint}?{urlencode(query)}"
        landed = await sign_in_and_consent(browser, url, REDIRECT_URI, scene.user)
    returned = parse_qs(urlsplit(landed).query)
    expect(returned.get("state") == [state], "state did not come back unchanged")
    expect(returned.get("iss") == [server.issuer], "iss does not name the issuer (RFC 9207)")
    form = {
        "grant_type": "authorization_code",
        "code": returned["code"][0],
        "redirect_uri": REDIRECT_URI,
        "code_verifier": verifier,
        "resource": scene.known("resource"),
    }
    answer = await _token(scene, form)
    scene.learnt["user_token"] = answer["access_token"]
    return f"{scene.user['username']} signed in and consented; state and iss checked; a token for {answer['scope']!r}"


async def user_token_works(scene: Scene) -> str:
    token, arguments = scene.known("user_token"), {"customer_id": "ABC123"}
    response = await call_tool(scene.http, scene.at.resource, token, "get_customer_info", arguments)
    expect_status(response, 200)
    return "get_customer_info answered the user's token"


async def _token(scene: Scene, form: dict[str, str]) -> dict[str, str]:
    credentials = render_basic(scene.client["client_id"], scene.client["client_secret"])
    response = await scene.http.post(
        scene.known("server").token_endpoint, data=form, headers={"authorization": credentials}
    )
    expect_status(response, 200)
    answer: dict[str, str] = response.json()
    return answer


STEPS: tuple[tuple[str, Step], ...] = (
    ("a stranger gets 401 and is told where to ask", stranger_is_refused),
    ("metadata leads from the server to its authorization server", metadata_leads_on),
    ("a token by client_credentials", client_credentials),
    ("a token by authorization code, PKCE, login and consent", authorization_code),
    ("the user's token opens the door", user_token_works),
)
