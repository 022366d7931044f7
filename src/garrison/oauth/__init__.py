"""Pillar 1, the protocol: OAuth 2.1 without I/O, one RFC a module."""
