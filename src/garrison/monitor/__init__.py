"""The monitor: durable security events."""
