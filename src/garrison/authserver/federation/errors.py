"""How a sign-in at the identity provider fails, as its user is told; `detail` is for the events.

SignInFailed
├── BadAnswer               what came back is not the provider's, or not an answer to us
└── NotAllowed              the provider's user may not sign in here
ProviderUnavailable         503 with Retry-After
"""

from garrison.oauth.errors import AccessDenied, TemporarilyUnavailable

RETRY_AFTER = 10
"""Seconds after which the provider is asked again, at the earliest."""


class SignInFailed(AccessDenied):
    pass


class BadAnswer(SignInFailed):
    status = 502

    def __init__(self, detail: str) -> None:
        super().__init__(
            "What the identity provider answered can not be believed, so nobody was signed in.", detail=detail
        )


class NotAllowed(SignInFailed):
    def __init__(self, detail: str) -> None:
        super().__init__(
            "Your account there may not be used here. If it should, ask whoever runs this server.", detail=detail
        )


class ProviderUnavailable(TemporarilyUnavailable):
    def __init__(self, detail: str) -> None:
        super().__init__("The identity provider can not be reached now. Try again in a moment.", detail=detail)
        self.headers = {"Retry-After": str(RETRY_AFTER)}
