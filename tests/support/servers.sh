#!/bin/sh
# Real Prometheus, Alertmanager and Pushgateway for the tests: unpacks Debian's packages into .servers/. No root,
# no service. Idempotent: .servers/.ready is written last.
set -eu
cd "$(dirname "$0")/../.."
target=$PWD/.servers
[ "$target/.ready" -nt tests/support/servers.sh ] && exit 0
rm -rf "$target"
command -v apt-get > /dev/null && command -v dpkg > /dev/null || {
  echo "There is neither apt-get nor dpkg here. Put prometheus, promtool, prometheus-alertmanager," \
    "amtool and prometheus-pushgateway into .servers/usr/bin and touch .servers/.ready." >&2
  exit 1
}
mkdir -p "$target/debs" "$target/lists/partial" "$target/cache/archives/partial"
cd "$target/debs"
packages="prometheus prometheus-alertmanager prometheus-pushgateway"
# Lists of our own, which need no root, where the machine has none or old ones.
own="-o Dir::State::lists=$target/lists -o Dir::Cache=$target/cache"
apt-get -qq download $packages 2> first.log ||
  { apt-get -qq $own update && apt-get -qq $own download $packages; } 2> second.log || {
  echo "Debian's packages $packages cannot be downloaded: $(tail -n 1 second.log)" \
    "Check the network and the apt sources, then run make again." >&2
  exit 1
}
for deb in ./*.deb; do dpkg -x "$deb" "$target"; done
# Debian's Alertmanager reads its templates from /usr/share: an equally long name for its
# working directory lets it run unpacked.
sed -i 's#/usr/share/prometheus/alertmanager#/proc/self/cwd/./././././././././.#g' "$target/usr/bin/prometheus-alertmanager"
rm -rf "$target/debs" "$target/lists" "$target/cache" "$target/etc" "$target/var" "$target/lib"
touch "$target/.ready"
