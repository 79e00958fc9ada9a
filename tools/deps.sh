#!/usr/bin/env bash
# Installs what Culvert needs on a fresh Debian 12, once, and checks the versions that matter. Root.
# Services that come with the packages (PostgreSQL, redis, nginx, haproxy, unbound) are not started: tests and the demo start their
# own copies in their own namespaces.
set -euo pipefail

build=(clang-19 clang-format-19 clang-tidy-19 lld-19 llvm-19 libclang-rt-19-dev cmake ninja-build ccache pkg-config bpftool git
  libbpf-dev liburing-dev libssl-dev libnghttp2-dev libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
  libfmt-dev libspdlog-dev libcli11-dev libyaml-cpp-dev nlohmann-json3-dev libxxhash-dev libcap-dev catch2 libbenchmark-dev)
world=(iproute2 postgresql postgresql-contrib redis-server redis-tools nginx-light curl iperf3 unbound bind9-dnsutils tcpdump haproxy
  openssl procps util-linux python3 python3-h2 python3-grpcio python3-grpc-tools python3-cryptography python3-yaml)

[ "$(id -u)" = 0 ] || { echo "tools/deps.sh: run as root (it installs packages)" >&2; exit 1; }
[ -r /etc/debian_version ] || { echo "tools/deps.sh: this is not Debian; install by hand: ${build[*]} ${world[*]}" >&2; exit 1; }

missing=()
for package in "${build[@]}" "${world[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${#missing[@]} packages: ${missing[*]}"
  # The packages' services must not start: policy-rc.d says so for the time of the installation only.
  policy=/usr/sbin/policy-rc.d made=
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; made=1
  fi
  trap '[ -z "$made" ] || rm -f $policy' EXIT
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

clang-19 --version | head -1 | grep -q 'version 19\.' || { echo "tools/deps.sh: clang 19 is needed, see docs/decisions/0003-clang-only.md" >&2; exit 1; }
