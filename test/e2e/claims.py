"""Runs claims one after the other: `@claim("...")` functions of one file, in order, against one world. CTest's skip code is 77."""
import os
import pathlib
import re
import sys
import time
import traceback

import world as worlds

CLAIMS = []
SKIPPED = 77


def claim(text):
    def keep(function):
        CLAIMS.append((text, function))
        return function
    return keep


class Failure(AssertionError):
    pass


def expect(holds, text):
    """The message carries what was seen."""
    if not holds:
        raise Failure(text)


# Last words of a program that found a defect in itself: a sanitizer's or check()'s.
DEFECTS = re.compile(r"ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|^bug: ", re.M)


def defect(process):
    """What a process's log says of a defect, from shortly before it; None: nothing."""
    log = process.text()
    found = DEFECTS.search(log)
    return log[max(0, found.start() - 200):found.start() + 3000] if found else None


def skip_reason():
    if os.geteuid() != 0:
        return "needs root: network namespaces and BPF"
    if not pathlib.Path("/sys/kernel/btf/vmlinux").exists():
        return "needs a kernel with BTF"
    try:
        worlds.cgroup2_mount()
    except RuntimeError as error:
        return str(error)
    return None


def show_logs(world, lines=15):
    for path in sorted(world.logs.glob("*.log")):
        if any(part in path.name for part in ("agent", "ztunnel", "controller")):
            print(f"--- {path.name}")
            print("\n".join(line[:300] for line in path.read_text(errors="replace").splitlines()[-lines:]))


def main(build_world, **options):
    """`build_world(world)` makes pods and starts the mesh; every claim gets what it returns. Arguments: words of claims to run."""
    reason = skip_reason()
    if reason:
        print(f"SKIPPED: {reason}")
        sys.exit(SKIPPED)
    chosen = [(t, f) for t, f in CLAIMS if not sys.argv[1:] or any(word in t for word in sys.argv[1:])]
    failed = 0
    with worlds.World(os.environ.get("CULVERT_BUILD", "asan"), **options) as world:
        try:
            scene = build_world(world)
        except Exception:
            traceback.print_exc()
            show_logs(world)
            sys.exit(1)
        for text, function in chosen:
            started = time.monotonic()
            try:
                function(scene)
                print(f"ok    {time.monotonic() - started:6.1f} s  {text}", flush=True)
            except Exception as error:  # pylint: disable=broad-except
                failed += 1
                print(f"FAIL  {time.monotonic() - started:6.1f} s  {text}\n      {error}", flush=True)
                if not isinstance(error, (Failure, TimeoutError, RuntimeError)):
                    traceback.print_exc()
        # A sanitizer's report or a bug's last words are a failure even where traffic went on.
        for process in world.processes:
            if found := defect(process):
                failed += 1
                print(f"FAIL  {process.name} reported a defect:\n{found}")
        if failed:
            show_logs(world)
    print(f"{len(chosen) - failed} claims hold, {failed} fail")
    sys.exit(1 if failed else 0)
