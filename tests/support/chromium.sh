#!/bin/sh
# A Chromium for the tests of pages: Debian's package where none is installed, which takes root or sudo.
set -eu
command -v chromium > /dev/null || command -v google-chrome > /dev/null && exit 0
as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
{ $as_root apt-get -qq update && $as_root apt-get -qq install -y --no-install-recommends chromium; } > /dev/null 2>&1 || {
  echo "There is no Chromium to open pages with, and no right to install it." \
    "Install it: sudo apt-get install chromium" >&2
  exit 1
}
