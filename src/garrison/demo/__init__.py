"""The customer-service MCP server of the demonstration, and the walk that `garrison demo` takes."""
