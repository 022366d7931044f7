"""A person with a browser, who says yes to everything."""

import httpx2

from garrison.clients.login import Login


class Browser:
    """Follows the authorization URL to wherever it is redirected to."""

    def __init__(self) -> None:
        self.pages: list[httpx2.Response] = []
        self.urls: list[str] = []

    async def open(self, url: str) -> None:
        self.urls.append(url)
        async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as http:
            self.pages.append(await http.get(url))

    def login(self, timeout: float = 5.0) -> Login:
        return Login(self.open, timeout=timeout)
