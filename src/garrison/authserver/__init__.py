"""The authorization server (OAuth 2.1), an ASGI application on SQLAlchemy."""
