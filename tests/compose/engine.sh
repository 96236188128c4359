#!/bin/sh
# A Docker engine of our own from Debian's packages, where none runs: engine.sh start|stop FOLDER. Needs root.
# It keeps everything in FOLDER, and listens on FOLDER/docker.sock only.
set -eu
folder=$2
case $1 in
  start)
    mkdir -p "$folder/debs" "$folder/root"
    cd "$folder/debs"
    apt-get -qq download docker.io containerd runc debootstrap tini iptables libdevmapper1.02.1 libip4tc2 libip6tc2 \
      libxtables12 libnfnetlink0 libnetfilter-conntrack3 libmnl0 libnftnl11 libnftables1 libjansson4
    for deb in ./*.deb; do dpkg -x "$deb" "$folder/root"; done
    for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
      ln -sf xtables-legacy-multi "$folder/root/usr/sbin/$name"
    done
    libraries=$folder/root/usr/lib/x86_64-linux-gnu
    PATH=$folder/root/usr/sbin:$folder/root/usr/bin:$PATH \
      LD_LIBRARY_PATH=$libraries:$folder/root/lib/x86_64-linux-gnu XTABLES_LIBDIR=$libraries/xtables \
      nohup dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/docker.pid" \
      --host "unix://$folder/docker.sock" > "$folder/dockerd.log" 2>&1 &
    for _ in $(seq 60); do
      [ -S "$folder/docker.sock" ] && exit 0
      sleep 1
    done
    echo "The Docker engine did not start: read $folder/dockerd.log" >&2
    exit 1
    ;;
  stop)
    [ -e "$folder/docker.pid" ] || exit 0
    pid=$(cat "$folder/docker.pid")
    kill "$pid"
    while kill -0 "$pid" 2> /dev/null; do sleep 1; done
    ;;
esac
