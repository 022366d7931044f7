"""The customer-service MCP server of the demonstration, and the walk that `garrison demo` takes."""

import os

# FastMCP reads these when it is imported: no banner, no log of its own, no look for updates, nothing sent home.
os.environ.setdefault("FASTMCP_SHOW_SERVER_BANNER", "false")
os.environ.setdefault("FASTMCP_CHECK_FOR_UPDATES", "off")
os.environ.setdefault("FASTMCP_TELEMETRY_MODE", "off")
os.environ.setdefault("FASTMCP_LOG_ENABLED", "false")
