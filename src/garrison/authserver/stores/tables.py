"""The tables. Secrets are never columns: what is random is kept as its SHA-256, what a person chose as Argon2id."""

import sqlalchemy as sa

METADATA = sa.MetaData()

_HASH = sa.String(64)
_TIME = sa.Double
_URL = sa.String(2048)
_CLIENT_ID = sa.String(512)  # some are URLs (Client ID Metadata Documents)

clients = sa.Table(
    "clients",
    METADATA,
    sa.Column("client_id", _CLIENT_ID, primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("method", sa.String(32), nullable=False),
    sa.Column("secret_hash", _HASH),
    sa.Column("grants", sa.JSON, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("redirect_uris", sa.JSON, nullable=False),
    sa.Column("resources", sa.JSON, nullable=False),
    sa.Column("introspects", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("jwks", sa.JSON(none_as_null=True)),
    sa.Column("jwks_uri", _URL, nullable=False, server_default=""),
    sa.Column("source", sa.String(16), nullable=False, server_default="operator", index=True),
    sa.Column("fresh_until", _TIME, nullable=False, server_default="0"),
    sa.Column("disabled", sa.Boolean, nullable=False, default=False),
    sa.Column("created_at", _TIME, nullable=False),
)

users = sa.Table(
    "users",
    METADATA,
    sa.Column("username", sa.String(64), primary_key=True),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False, default=False),
    sa.Column("created_at", _TIME, nullable=False),
)

# Who a user is at the identity provider; such a user has an empty password_hash, which no password has.
identities = sa.Table(
    "identities",
    METADATA,
    sa.Column("key", _HASH, primary_key=True),
    sa.Column("issuer", _URL, nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("username", sa.ForeignKey("users.username", ondelete="CASCADE"), nullable=False, unique=True),
)

# Browsers that were sent to the identity provider and may come back once.
departures = sa.Table(
    "departures",
    METADATA,
    sa.Column("key", _HASH, primary_key=True),
    sa.Column("browser", _HASH, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("agreed", sa.Text, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False, index=True),
)

sessions = sa.Table(
    "sessions",
    METADATA,
    sa.Column("key", _HASH, primary_key=True),
    sa.Column("username", sa.ForeignKey("users.username", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False, index=True),
)

consents = sa.Table(
    "consents",
    METADATA,
    sa.Column("username", sa.ForeignKey("users.username", ondelete="CASCADE"), primary_key=True),
    sa.Column("client_id", sa.ForeignKey("clients.client_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("resource", _URL, primary_key=True),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
)

families = sa.Table(
    "families",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("client_id", sa.ForeignKey("clients.client_id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("username", sa.ForeignKey("users.username", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("session", _HASH, nullable=False, index=True),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("resource", _URL, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False, index=True),
    sa.Column("revoked_at", _TIME),
)

codes = sa.Table(
    "codes",
    METADATA,
    sa.Column("key", _HASH, primary_key=True),
    sa.Column("family_id", sa.ForeignKey("families.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("redirect_uri", _URL, nullable=False),
    sa.Column("redirect_uri_given", sa.Boolean, nullable=False),
    sa.Column("code_challenge", sa.String(43), nullable=False),
    sa.Column("expires_at", _TIME, nullable=False, index=True),
    sa.Column("used_at", _TIME),
)

refresh_tokens = sa.Table(
    "refresh_tokens",
    METADATA,
    sa.Column("key", _HASH, primary_key=True),
    sa.Column("family_id", sa.ForeignKey("families.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("expires_at", _TIME, nullable=False, index=True),
    sa.Column("used_at", _TIME),
    # With these and the server's secret the successor can be made again, by whoever still holds this token.
    sa.Column("successor_salt", sa.String(64)),
    sa.Column("successor_key", _HASH),
)

# A user's codes by an app (RFC 6238), of which one step is good once.
totp = sa.Table(
    "totp",
    METADATA,
    sa.Column("username", sa.ForeignKey("users.username", ondelete="CASCADE"), primary_key=True),
    # Encrypted with a key that is made of the server's secret: a copy of the database makes no codes.
    sa.Column("sealed", sa.Text, nullable=False),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
)

# Those that are not used yet, as HMACs with the server's secret.
recovery_codes = sa.Table(
    "recovery_codes",
    METADATA,
    sa.Column("key", _HASH, primary_key=True),
    sa.Column("username", sa.ForeignKey("users.username", ondelete="CASCADE"), nullable=False, index=True),
)

passkeys = sa.Table(
    "passkeys",
    METADATA,
    sa.Column("credential_id", sa.String(1364), primary_key=True),  # 1,023 bytes in base64url (WebAuthn §4)
    sa.Column("username", sa.ForeignKey("users.username", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("public_key", sa.LargeBinary, nullable=False),
    sa.Column("sign_count", sa.BigInteger, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("last_used_at", _TIME),
)

attempts = sa.Table(
    "attempts",
    METADATA,
    sa.Column("key", _HASH, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("blocked_until", _TIME, nullable=False),
    sa.Column("forgotten_at", _TIME, nullable=False, index=True),
)

# What may happen once, until it can't happen any more anyway: access tokens revoked by jti, client assertions used, and
# answered challenges of passkeys.
revoked_tokens = sa.Table(
    "revoked_tokens",
    METADATA,
    sa.Column("jti", sa.String(64), primary_key=True),
    sa.Column("expires_at", _TIME, nullable=False, index=True),
)

used_assertions = sa.Table(
    "used_assertions",
    METADATA,
    sa.Column("key", _HASH, primary_key=True),
    sa.Column("expires_at", _TIME, nullable=False, index=True),
)

signing_keys = sa.Table(
    "signing_keys",
    METADATA,
    sa.Column("kid", sa.String(64), primary_key=True),
    # The private JWK, encrypted with a key that is made of the server's secret: a copy of the database signs nothing.
    sa.Column("sealed", sa.Text, nullable=False),
    sa.Column("signs_from", _TIME, nullable=False),
)
