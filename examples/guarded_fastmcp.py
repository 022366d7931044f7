"""A FastMCP server, bare and guarded.

    uvicorn examples.guarded_fastmcp:app --port 8000

`bare` is the server as FastMCP serves it; `app` is the same server behind the guard. Tokens come from the authorization
server that GARRISON_ISSUER names. These make one of your own, and a client whose tokens open `add`:

    garrison init
    garrison auth client add adder --scope math:use
    garrison auth serve --http --issuer http://localhost:8080 --resource http://localhost:8000/mcp --scope math:use
"""

import os

from fastmcp import FastMCP

from garrison import Policy, needs, protect

mcp = FastMCP("adder")


@mcp.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


bare = mcp.http_app(path="/mcp")

policy = Policy(tools={"add": needs("math:use")})
app = protect(
    mcp,
    policy,
    resource=os.environ.get("GARRISON_RESOURCE", "http://localhost:8000/mcp"),
    issuer=os.environ.get("GARRISON_ISSUER", "http://localhost:8080"),
    home=os.environ.get("GARRISON_HOME", ".garrison"),
)
