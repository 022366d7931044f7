"""What the fuzzer does as people do it: whole flows, each step as it should be, and before that a bent one."""

import json
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2

from garrison.authserver import admin
from garrison.authserver.factors.confirm import CHANGES
from garrison.authserver.federation import departure
from garrison.oauth import totp
from tests.authserver.authenticator import Authenticator
from tests.authserver.factor_world import code as app_code
from tests.authserver.factor_world import options, shown_recovery_codes, shown_secret
from tests.authserver.federation.provider import KEY, Links, Provider
from tests.authserver.fuzz_bending import Bending, Pairs
from tests.authserver.fuzz_words import CREDENTIALS, JUNK, VALUES
from tests.authserver.judging import PAGES, Answer
from tests.authserver.world import PASSWORD, Forms
from tests.signing import foreign_jwt

OWN_PAGES = [path for path in PAGES if path.startswith(("/account", "/passkey", "/factor", "/login", "/logout"))]
Cookies = dict[str, str]


class People(Bending):
    """`provider` is where users can sign in too."""

    clients: list[admin.NewClient]
    provider: Provider | None = None
    app_secret = b""
    recovery_codes: tuple[str, ...] = ()
    device = Authenticator()
    newcomers = 0

    async def flow(self) -> None:
        """Sign-in, consent, redemption, refresh and the rest."""
        client, cookies = self.random.choice(self.clients[:3]), Cookies()
        answer = await self.followed(await self.authorization(client, cookies), cookies, 3)
        if answer.status != 200:
            return
        await self.consent(client, await self.sign_in("alice", answer, cookies), cookies)
        await self.account(cookies)

    async def factors(self) -> None:
        """A new user sets up an app and a passkey, and signs in by each."""
        self.newcomers += 1
        self.app_secret, self.recovery_codes, self.device, cookies = b"", (), Authenticator(), Cookies()
        username = await self.world.user(f"user{self.newcomers}")
        await self.sign_in(username, await self.step("GET", "/login", [], cookies), cookies)
        for change, path in (("add-passkey", "/account/passkey"), ("add-app", "/account/app")):
            page = await self.step("GET", "/account/confirm", [("do", change)], cookies)
            page = await self.followed(await self.filled(page, "/account/confirm", cookies), cookies, 1)
            await self.filled(page, path, cookies)
        await self.account(cookies)
        self.world.time += totp.STEP
        await self.sign_in(username, await self.step("GET", "/login", [], cookies := Cookies()), cookies)
        await self.filled(await self.step("GET", "/passkey", [], cookies := Cookies()), "/passkey", cookies)

    async def sign_in(self, username: str, page: Answer, cookies: Cookies) -> Answer:
        """By the password, and a code if one is asked for: what it leads to."""
        typed = [*self.fields(page, "/login").items(), ("username", username), ("password", PASSWORD)]
        answer = await self.followed(await self.step("POST", "/login", list(dict(typed).items()), cookies), cookies, 1)
        if not self.fields(answer, "/factor"):
            return answer
        return await self.followed(await self.filled(answer, "/factor", cookies), cookies, 1)

    def fields(self, page: Answer, action: str) -> dict[str, str]:
        """Of the page's form, if it has it."""
        return dict(Forms(page.text).forms).get(action, {}) if page.status in (200, 403) else {}

    async def there(self) -> None:
        """Sign-in at the identity provider, which now and then says odd things itself."""
        if self.provider is None:
            return
        client, cookies = self.random.choice(self.clients[:3]), Cookies()
        answer = await self.followed(await self.authorization(client, cookies), cookies, 3)
        links = Links(answer.text).links if answer.status == 200 else []
        if not links:
            return
        target = urlsplit(links[-1])
        answer = await self.step("GET", target.path, parse_qsl(target.query), cookies)
        form = {**Forms(answer.text).fields(departure.PATH), "decision": "approve"}
        answer = await self.step("POST", departure.PATH, list(form.items()), cookies)
        if not (leaving := Links(answer.text).refresh):
            return
        self.set_up(self.provider)
        subject = self.random.choice(list(self.provider.claims))
        back = self.provider.authorize(dict(parse_qsl(urlsplit(leaving).query)), subject)
        if self.random.random() < 0.2:
            back["error"] = self.random.choice(("access_denied", "server_error", *JUNK))
        answer = await self.step("GET", departure.RETURN_PATH, list(back.items()), cookies)
        await self.consent(client, answer, cookies)
        await self.account(cookies)

    def set_up(self, provider: Provider) -> None:
        """Honest half of the time; else one claim of the ID token, or of userinfo alone, is something else."""
        odd = {
            self.random.choice(("sub", "aud", "iss", "exp", "iat", "nonce", "azp", "groups")): self.random.choice(
                VALUES
            )
        }
        provider.sign = partial(foreign_jwt, KEY, typ="JWT")
        provider.id_claims = odd if self.random.random() < 0.3 else {}
        provider.userinfo = {"sub": self.random.choice(("x", "", 1, None, ["x"]))} if self.random.random() < 0.1 else {}
        provider.in_userinfo = frozenset({"groups"} if self.random.random() < 0.5 else ())

    async def authorization(self, client: admin.NewClient, cookies: Cookies) -> Answer:
        asked = self.world.authorization(client, prompt=self.random.choice((None, "consent", "x")))
        return await self.step("GET", "/authorize", list(asked.items()), cookies)

    async def consent(self, client: admin.NewClient, answer: Answer, cookies: Cookies) -> None:
        """From the page that asks, or from the answer of whoever has agreed already."""
        if fields := self.fields(answer, "/consent"):
            decided = {**fields, "decision": "approve", "remember": "yes"}
            answer = await self.step("POST", "/consent", list(decided.items()), cookies)
        code = answer.header("location").partition("code=")[2].partition("&")[0]
        if not code:
            return
        self.secrets.append(code)
        proof = self.basic(client)
        form = [*self.world.redemption(client, code).items(), *self.credentials(client)]
        answer = await self.step("POST", "/token", form, {}, proof)
        if answer.status == 200:
            await self.use(client, json.loads(answer.body), proof)

    async def use(self, client: admin.NewClient, tokens: dict[str, Any], proof: list[tuple[bytes, bytes]]) -> None:
        self.secrets.extend((tokens["access_token"], tokens["refresh_token"]))
        named = self.credentials(client)
        form = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"]), *named]
        await self.step("POST", "/token", form, {}, proof)
        for path in ("/introspect", "/revoke"):
            token = self.random.choice((tokens["access_token"], tokens["refresh_token"]))
            await self.step("POST", path, [("token", token), *named], {}, proof)

    async def account(self, cookies: Cookies) -> None:
        """Wherever the forms of a signed-in user's pages lead, filled in more or less well."""
        path, pairs = self.random.choice(OWN_PAGES), Pairs()
        if self.random.random() < 0.5:
            path, pairs = "/account/confirm", [("do", self.random.choice(list(CHANGES)))]
        answer = await self.step("GET", path, pairs, cookies)
        for _ in range(6):
            answer = await self.followed(answer, cookies, 1)
            forms = [action for action, _ in Forms(answer.text).forms] if answer.status == 200 else []
            if not forms:
                return
            others = [action for action in forms if action != "/logout"]
            answer = await self.filled(answer, self.random.choice(others * 4 + forms), cookies)

    async def filled(self, page: Answer, action: str, cookies: Cookies) -> Answer:
        """What the form answers, with what a person would type and a device say, or something like it."""
        fields = self.fields(page, action)
        if "secret" in fields:
            self.app_secret = shown_secret(self.seen(page))
        typed = {"proof": PASSWORD, "code": self.code(), "credential": self.credential(page), "name": "My phone"}
        filled = {**fields, **{name: text for name, text in typed.items() if name in fields}}
        answer = await self.step("POST", action, list(filled.items()), cookies)
        self.recovery_codes = tuple(shown_recovery_codes(self.seen(answer))) or self.recovery_codes
        return answer

    def code(self) -> str:
        right = [app_code(self.world, self.app_secret)] * 8 if self.app_secret else []
        return self.random.choice((*right, *self.recovery_codes[:2], "123456"))

    def credential(self, page: Answer) -> str:
        if "data-options" not in page.text or self.random.random() < 0.1:
            return self.random.choice(CREDENTIALS)
        asked = options(self.seen(page))
        return self.device.create(asked) if "user" in asked else self.device.get(asked)

    def seen(self, page: Answer) -> httpx2.Response:
        """As the tests of factors read it."""
        return httpx2.Response(page.status, content=page.body)

    async def followed(self, answer: Answer, cookies: Cookies, most: int) -> Answer:
        """Behind at most so many redirects to pages of ours."""
        for _ in range(most):
            if answer.status == 303 and answer.header("location").startswith("/"):
                target = urlsplit(answer.header("location"))
                answer = await self.step("GET", target.path, parse_qsl(target.query), cookies)
        return answer
