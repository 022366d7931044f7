"""The guard: one ASGI object that authenticates, authorizes, limits, validates, audits and only then forwards."""
