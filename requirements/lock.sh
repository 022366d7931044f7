#!/bin/sh
# Resolve the dependencies anew. The files hold versions and hashes, and no address of an index.
set -eu
cd "$(dirname "$0")/.."
UV="$(command -v uv || echo .venv/bin/uv)"
compile() {
  out="$1"; shift
  "$UV" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --output-file "requirements/$out" "$@"
}
compile all.txt pyproject.toml --all-extras --group dev
compile server.txt pyproject.toml --extra server --extra postgres --extra redis --extra fastmcp --group build
# LiteLLM, and so DSPy, holds OpenAI's library below 3: the adapters that don't need them are tested with the newer one.
echo "openai>=3" | compile openai3.txt pyproject.toml - --extra openai --extra anthropic --extra langchain \
  --group build --group adapters
echo "uv" | compile uv.txt -
