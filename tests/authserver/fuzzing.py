"""Requests that no honest client sends; judging.py says what every answer to them must be like.

All of it follows from a seed. Most begin as a good request and are bent: whole flows at every step, forms, headers,
cookies, key sets, assertions, metadata documents. They go straight to the ASGI application, past any HTTP library's
ideas of what may be sent.
"""

import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from garrison.oauth import client_assertion, jwks
from tests.authserver.fuzz_bending import PATHS
from tests.authserver.fuzz_people import People
from tests.authserver.fuzz_words import JUNK, METHODS, RAW, VALUES
from tests.authserver.judging import Request
from tests.authserver.world import ISSUER, RESOURCE
from tests.signing import foreign_jwt


class Fuzzer(People):
    """The first wrong answer raises `AssertionError`."""

    keys = tuple(jwks.new_signing_key(alg) for alg in ("ES256", "EdDSA"))

    async def run(self, requests: int, attacks: "Sequence[Attack]") -> None:
        await self.world.user()
        self.clients = [
            await self.world.client(),
            await self.world.client(method="client_secret_post", introspects=[RESOURCE]),
            await self.world.client(public=True),
            await self.world.client(method="private_key_jwt", jwks=jwks.public_set(self.keys)),
        ]
        self.secrets.extend(client.client_secret for client in self.clients if client.client_secret)
        while self.sent < requests:
            attack = self.random.choice(attacks)
            for _ in range(1 if attack in WALKS else 4):
                await attack(self)
            self.world.time += self.random.choice((0, 0, 0, 1, 30, 4000))

    async def stray(self) -> None:
        """Any method, anywhere, with anything."""
        path = self.random.choice(PATHS) + self.random.choice(("", "", "", "/", "//", "/x", "%2e", "\0", ";a=b", "é"))
        await self.send(self.spoilt(Request(self.random.choice(METHODS), path, self.random.choice(RAW)), always=True))

    async def form(self) -> None:
        """A form for some endpoint, of parameters that it knows."""
        client = self.random.choice(self.clients)
        names: tuple[str, ...] = (
            "grant_type",
            "code",
            "redirect_uri",
            "code_verifier",
            "refresh_token",
            "scope",
            "resource",
            "token",
        )
        names += ("client_id", "client_secret", "client_assertion", "client_assertion_type", "request", "csrf", "state")
        names += (
            "username",
            "password",
            "proof",
            "permit",
            "challenge",
            "credential",
            "do",
            "target",
            "secret",
            "decision",
        )
        chosen = self.random.sample(names, self.random.randint(0, 8))
        grant = self.random.choice(("authorization_code", "refresh_token", "client_credentials", "password"))
        pairs = [
            ("grant_type", grant),
            *self.credentials(client),
            *((name, self.random.choice(JUNK)) for name in chosen),
        ]
        await self.post(self.random.choice(PATHS), self.bent(pairs), self.basic(client))

    async def assertion(self) -> None:
        """A JWT in which something is as it must not be; now and then nothing is."""
        client, key = self.clients[3], self.random.choice(self.keys)
        now = self.world.time
        claims = {"iss": client.client_id, "sub": client.client_id, "aud": ISSUER, "iat": now, "exp": now + 60}
        signed = self.broken_jwt(key, {**claims, "jti": self.random.randbytes(9).hex()})
        form = [("grant_type", "client_credentials"), ("client_assertion", signed)]
        form.append(("client_assertion_type", client_assertion.TYPE))
        await self.post(self.random.choice(("/token", "/revoke", "/introspect")), self.bent(form), [])

    def broken_jwt(self, key: jwks.SigningKey, claims: dict[str, Any]) -> str:
        if self.random.random() < 0.5:
            claims[self.random.choice([*claims, "nbf", "x"])] = self.random.choice(VALUES)
        signed = foreign_jwt(key, claims, typ="JWT")
        header, payload, signature = signed.split(".")
        match self.random.randrange(6):
            case 0:
                name = self.random.choice(("alg", "kid", "typ", "crit"))
                bent = {"alg": key.alg, "kid": key.kid, name: self.random.choice(VALUES)}
                header = _base64url(json.dumps(bent).encode())
            case 1:
                payload = _base64url(
                    self.random.choice((b"", b"[" * 3000, b"\xff", b"null", b'"x"', b"{}", b'{"sub": 1}'))
                )
            case 2:
                signature = self.random.choice(("", "x", "é", "=" * 9, signature[:-4]))
        return self.random.choice(
            (f"{header}.{payload}.{signature}",) * 8 + (header, "..", f"{signed}.x", "x" * 15_000)
        )

    async def register(self) -> None:
        """Metadata with odd members; and if it is registered nevertheless, a request of the client that it made."""
        body = json.dumps(self.metadata()).encode()
        if self.random.random() < 0.1:
            body = self.random.choice((b"[" * 9000, b"", b"\xff", b"NaN", b"1" * 9000, body[:-9]))
        request = Request("POST", "/register", b"", [(b"content-type", b"application/json")], [body])
        answer = await self.send(self.spoilt(request))
        if answer.status == 201:
            await self.as_client(json.loads(answer.body)["client_id"])

    async def document(self) -> None:
        """A client_id that is an address, with a document there, or something else."""
        urls = (
            "https://app.example/c.json",
            f"https://{self.sent}.example/c",
            "https://app.example/é",
            "https://[::1/",
        )
        url = self.random.choice(urls)
        self.world.web.publish(url, {**self.metadata(), "client_id": url}, status=self.random.choice((200, 200, 404)))
        asked = {
            **self.world.authorization(self.clients[0]),
            "client_id": url,
            "redirect_uri": "https://app.example/cb",
        }
        await self.send(Request("GET", "/authorize", self.encoded(list(asked.items())), address=self.address()))
        await self.as_client(url)

    def metadata(self) -> dict[str, Any]:
        key = {**self.random.choice(self.keys).public(), "kid": self.random.choice(("k", "é", ""))}
        if self.random.random() < 0.4:
            key[self.random.choice([*key, "use", "n", "e"])] = self.random.choice(VALUES)
        uri = self.random.choice(("https://app.example/keys", "https://nowhere.example/", "https://[::1"))
        self.world.web.publish("https://app.example/keys", self.random.choice((*VALUES, {"keys": [key, *VALUES]})))
        metadata: dict[str, Any] = {"redirect_uris": ["https://app.example/cb"]}
        metadata |= {"token_endpoint_auth_method": "private_key_jwt"}
        metadata |= {"jwks_uri": uri} if self.random.random() < 0.3 else {"jwks": {"keys": [key]}}
        if self.random.random() < 0.5:
            names = (*metadata, "client_name", "scope", "grant_types", "response_types", "software_statement")
            junk = self.random.choice(JUNK)
            metadata[self.random.choice(names)] = self.random.choice((*VALUES, junk, [junk]))
        return metadata

    async def as_client(self, client_id: str) -> None:
        """An assertion of this client, which its registered key might even verify."""
        now = self.world.time
        claims = {"iss": client_id, "sub": client_id, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": "j"}
        key = self.random.choice(self.keys)
        signed = foreign_jwt(jwks.SigningKey("k", key.private, key.alg), claims, typ="JWT")
        form = [("grant_type", "authorization_code"), ("code", "x"), ("client_assertion", signed)]
        await self.post("/token", [*form, ("client_assertion_type", client_assertion.TYPE)], [])


Attack = Callable[[Fuzzer], Awaitable[None]]
WALKS: tuple[Attack, ...] = (Fuzzer.flow, Fuzzer.there, Fuzzer.factors)
TEXTS: tuple[Attack, ...] = (Fuzzer.form, Fuzzer.assertion, Fuzzer.register, Fuzzer.document)
ALL = (*WALKS, Fuzzer.stray, *TEXTS)


def _base64url(data: bytes) -> str:
    return b64encode(data, altchars=b"-_").rstrip(b"=").decode()
