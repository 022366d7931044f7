"""What a relying party of passkeys says and judges (WebAuthn Level 3 §7), by the library `webauthn`.

Its RP ID and origin come from the issuer, never from a request. The library is imported when it is first needed: it
brings a tenth of a second of parsers along, and most processes never meet a passkey.
"""

import ipaddress
import json
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from urllib.parse import urlsplit

from garrison.authserver import seal
from garrison.authserver.settings import AuthServerSettings
from garrison.authserver.stores.passkeys import Passkey

_DEFAULT_PORTS = {"https": 443, "http": 80}
_TIMEOUT = 300
"""Seconds that the browser may ask the user for."""


class RefusedError(Exception):
    """The authenticator's answer is not what it must be; the text is for the event, not for the wire."""


def is_possible(settings: AuthServerSettings) -> bool:
    """Where users sign in here at all; and WebAuthn knows names, not addresses (§5.1.3)."""
    if not settings.local_users:
        return False
    try:
        ipaddress.ip_address(name(settings))
    except ValueError:
        return True
    return False


def name(settings: AuthServerSettings) -> str:
    """The RP ID, which is what people are told the server is called too."""
    return urlsplit(settings.issuer).hostname or ""


def user_handle(settings: AuthServerSettings, username: str) -> str:
    """The user as authenticators know them (§14.6.1): a name that tells nothing."""
    return seal.mac(settings.secret, "user handle", username)


def creation_options(settings: AuthServerSettings, username: str, challenge: str, existing: Sequence[Passkey]) -> str:
    """What navigator.credentials.create() is asked for, in JSON: a passkey that finds its user, and verifies them."""
    from webauthn import generate_registration_options  # noqa: PLC0415
    from webauthn.helpers import options_to_json, structs  # noqa: PLC0415

    options = generate_registration_options(
        rp_id=name(settings),
        rp_name=name(settings),
        user_name=username,
        user_display_name=username,
        user_id=_bytes(user_handle(settings, username)),
        challenge=_bytes(challenge),
        timeout=_TIMEOUT * 1000,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[structs.PublicKeyCredentialDescriptor(_bytes(each.credential_id)) for each in existing],
    )
    return options_to_json(options)


def request_options(settings: AuthServerSettings, challenge: str) -> str:
    """What navigator.credentials.get() is asked for, in JSON: any passkey of ours. No list tells who has one."""
    from webauthn import generate_authentication_options  # noqa: PLC0415
    from webauthn.helpers import options_to_json, structs  # noqa: PLC0415

    options = generate_authentication_options(
        rp_id=name(settings),
        challenge=_bytes(challenge),
        timeout=_TIMEOUT * 1000,
        user_verification=structs.UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(options)


def registered(
    settings: AuthServerSettings, credential: str, challenge: str, *, username: str, called: str, now: float
) -> Passkey:
    """The passkey that create() answered with (§7.1). Raises `RefusedError`."""
    from webauthn import verify_registration_response  # noqa: PLC0415
    from webauthn.helpers import bytes_to_base64url  # noqa: PLC0415

    try:
        made = verify_registration_response(
            credential=credential,
            expected_challenge=_bytes(challenge),
            expected_rp_id=name(settings),
            expected_origin=_origin(settings),
            require_user_verification=True,
        )
    except Exception as error:
        raise _refused(error) from error
    return Passkey(
        credential_id=bytes_to_base64url(made.credential_id),
        username=username,
        name=called,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        created_at=now,
    )


def credential_id(credential: str) -> str:
    """Which passkey get() answered with, as it says itself. Raises `RefusedError`."""
    try:
        named = json.loads(credential)["id"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusedError("not a credential") from error
    if not isinstance(named, str):
        raise RefusedError("not a credential")
    return named


def new_sign_count(settings: AuthServerSettings, credential: str, challenge: str, passkey: Passkey) -> int:
    """The counter of get()'s answer by `passkey` (§7.2): beyond the last one, unless the authenticator counts nothing.

    Raises:
        RefusedError: the answer is wrong in any way.
    """
    from webauthn import verify_authentication_response  # noqa: PLC0415

    try:
        handle = json.loads(credential)["response"]["userHandle"]
        verified = verify_authentication_response(
            credential=credential,
            expected_challenge=_bytes(challenge),
            expected_rp_id=name(settings),
            expected_origin=_origin(settings),
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=True,
        )
    except Exception as error:
        raise _refused(error) from error
    if not isinstance(handle, str) or not seal.same_mac(handle, user_handle(settings, passkey.username)):
        raise RefusedError("the passkey names another user")
    return verified.new_sign_count


def _refused(error: Exception) -> RefusedError:
    """Whatever a parser stumbled over. The library's own texts tell what was expected, which is no secret."""
    from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415

    return RefusedError(str(error) if isinstance(error, WebAuthnException) else type(error).__name__)


def _origin(settings: AuthServerSettings) -> str:
    """As a browser serializes it (RFC 6454 §6.2): without the scheme's own port."""
    parts = urlsplit(settings.issuer)
    port = "" if parts.port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}"


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
