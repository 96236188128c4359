#!/bin/sh
# Import a Debian with Python as python:3.11-slim-bookworm, where that cannot be pulled: base.sh FOLDER [ENGINE].
set -eu
folder=$1 tools=${2:-}
if [ -n "$tools" ]; then
  export DEBOOTSTRAP_DIR="$tools/root/usr/share/debootstrap" PATH="$PATH:$tools/root/usr/sbin"
fi
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$folder" \
  http://deb.debian.org/debian > "$folder.log"
rm -f "$folder"/var/cache/apt/archives/*.deb
ln -sf /usr/bin/python3 "$folder/usr/local/bin/python3"
ln -sf /usr/bin/python3 "$folder/usr/local/bin/python"
tar --create --directory="$folder" . |
  docker import --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' - \
    python:3.11-slim-bookworm
rm -rf "$folder"
