"""Pillar 4, budgets: requests a minute and AI tokens an hour, in memory or in Redis."""
