#!/usr/bin/env bash
# clang-format 19 over all sources: rewrites them; with --check fails where it would.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  '') how=(-i) ;;
  --check) how=(--dry-run -Werror) ;;
  *) sed -n 2p "$0"; exit 2 ;;
esac
git ls-files -z -- '*.cpp' '*.h' '*.c' ':!bpf/vmlinux.h' | xargs -0 clang-format-19 "${how[@]}"
