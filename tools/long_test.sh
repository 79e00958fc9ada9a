#!/usr/bin/env bash
# ./dev test --long: what takes too long for every change. Ends in CTest's summary of the last part; any failure fails all.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=()
part() { # NAME COMMAND...
  echo "== $1"; shift
  "$@" || failed+=("$*")
}

part "all tests, fresh seeds, long forms" env CULVERT_LONG=1 CULVERT_SEED_BASE="$(date +%s)" ctest --preset asan -j2 --no-tests=error
for target in test/fuzz/corpus/*/; do
  part "fuzz $(basename "$target")" ./dev fuzz "$(basename "$target")" 60
done
part "build with ThreadSanitizer" ./dev build tsan
part "ThreadSanitizer: two loops" ctest --preset tsan -L tsan --no-tests=error
part "release build" ./dev build release
part "all tests, release" env CULVERT_LONG=1 ctest --preset release -j2 --no-tests=error

if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
