#!/usr/bin/env python3
"""The demo as a command: what it refuses, and that whatever ends it leaves nothing behind."""
import os
import pathlib
import signal
import subprocess
import sys

import claims
import world as worlds
from world import wait_until

DEMO = pathlib.Path(__file__).parent / "demo.py"
NAME = f"demo-command-{os.getpid()}"


def demo(*words, name=NAME):
    return subprocess.run(["/usr/bin/python3", DEMO, "--name", name, *words], capture_output=True, text=True, check=False, timeout=60)


def remains():
    """What is left of the demo on this machine."""
    spaces = [line for line in worlds.sh("ip", "netns", "list").stdout.splitlines() if line.startswith(f"{worlds.PREFIX}{NAME}-")]
    places = [str(p) for p in (worlds.RUN / NAME, worlds.cgroup2_mount() / f"culvert-{NAME}") if p.exists()]
    processes = [line for line in worlds.sh("ps", "-eo", "pid,args").stdout.splitlines() if NAME in line and " ps " not in line]
    return spaces + places + processes


def claim(text, wrong):
    print(f"{'FAIL' if wrong else 'ok  '}  {text}{': ' + str(wrong) if wrong else ''}", flush=True)
    return 1 if wrong else 0


def ended_by(number):
    """Starts a demo, waits until it has programs running, and ends it by a signal; returns how a second one fared meanwhile."""
    first = subprocess.Popen(["/usr/bin/python3", DEMO, "--name", NAME], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until("a server in a pod", lambda: (worlds.RUN / NAME / "logs" / "shop.db.postgres.log").exists(), 60)
        second = demo()
        first.send_signal(number)
        _, said = first.communicate(timeout=30)
    finally:
        first.kill()
    return first, said, second


def main():
    if claims.skip_reason():
        print(f"SKIPPED: {claims.skip_reason()}")
        return claims.SKIPPED
    failed = 0
    done = demo("--in")
    failed += claim("--in without a demo says so and makes nothing", "" if done.returncode == 2 and "no demo is kept" in done.stderr else done)
    done = demo("--stop")
    failed += claim("--stop with nothing running says so", "" if done.returncode == 0 and "no demo is running" in done.stdout else done)
    first, said, second = ended_by(signal.SIGTERM)
    expected = f"a demo runs (pid {first.pid}, {worlds.ROOT}): ./dev demo --stop"
    failed += claim("a second demo is refused by name of the first", "" if second.returncode == 2 and expected in second.stderr else second)
    failed += claim("SIGTERM ends it in one line", "" if first.returncode == 143 and len(said.splitlines()) == 1 else (first.returncode, said))
    failed += claim("SIGTERM leaves nothing", remains())
    first, said, _ = ended_by(signal.SIGINT)
    failed += claim("Ctrl-C ends it in one line", "" if first.returncode == 130 and len(said.splitlines()) == 1 else (first.returncode, said))
    failed += claim("Ctrl-C leaves nothing", remains())
    first, said, _ = ended_by(signal.SIGKILL)
    done = demo("--stop")
    failed += claim("--stop takes away what a killed demo left", "" if done.stdout == "the demo is gone\n" else done)
    failed += claim("after that nothing is left", remains())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
