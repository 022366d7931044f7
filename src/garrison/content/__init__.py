"""Pillar 3, input: typed fields and closed schemas."""
