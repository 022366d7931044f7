"""Secure clients: discovery, tokens, one session, and an adapter per model library."""
