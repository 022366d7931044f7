#!/bin/sh
# Install npm's programs that the tests run, at the versions of tests/foreign/package-lock.json, by the npm of the
# environment whose bin folder is given: sh tests/npm.sh .venv/bin
set -eu
BIN="$(cd "${1:-.venv/bin}" && pwd)"
cd "$(dirname "$0")/foreign"
stamp=node_modules/.installed
if [ -e "$stamp" ] && [ ! package-lock.json -nt "$stamp" ]; then
  exit 0
fi
echo "installing npm's programs"
# No package's own script runs here; the environment comes first, so that npm and what it starts are the same Node.
if PATH="$BIN:$PATH" "$BIN/npm" ci --ignore-scripts --no-progress --loglevel=error > /dev/null; then
  touch "$stamp"
else
  echo "not installed: npm's programs (is npm's registry out of reach?); the tests that need them say so"
fi
