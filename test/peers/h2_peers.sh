#!/bin/sh
# HTTP/2 by python3-h2 in both roles, plain and over TLS: h2_peers.sh DRIVER. Exit 77: Debian's python3-h2 is missing.
set -eu
driver=$1
here=$(dirname "$0")
/usr/bin/python3 -c 'import h2, hpack, hyperframe' || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$driver" pki "$folder"
for judge in client server; do
    echo "== python3-h2 as $judge, plain"
    /usr/bin/python3 -B "$here/h2_${judge}_judges.py" "$driver"
    echo "== python3-h2 as $judge, TLS"
    /usr/bin/python3 -B "$here/h2_${judge}_judges.py" "$driver" --tls "$folder"
done
