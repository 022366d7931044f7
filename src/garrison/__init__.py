"""Garrison puts an MCP server on the network safely, and connects any LLM to it safely."""
