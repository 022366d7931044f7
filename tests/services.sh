#!/bin/sh
# Install the real services and programs that the tests run, when this is root on Debian; else the tests that need them say what is missing.
set -eu
missing=""
command -v nginx >/dev/null || missing="$missing nginx"
command -v redis-server >/dev/null || missing="$missing redis-server"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$missing postgresql"
command -v gnome-keyring-daemon >/dev/null || missing="$missing gnome-keyring"
command -v dbus-run-session >/dev/null || missing="$missing dbus-daemon"
command -v chromium >/dev/null || missing="$missing chromium"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed:$missing (as root on Debian: apt-get install$missing)"
  exit 0
fi
echo "installing$missing"
# What is installed for a test must not start a service on this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq > /dev/null
# shellcheck disable=SC2086 # a list of packages
apt-get install -y -qq --no-install-recommends $missing > /dev/null
