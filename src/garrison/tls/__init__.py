"""Pillar 2, transport: a local CA, trust bundles, TLS contexts and the nginx configuration."""
