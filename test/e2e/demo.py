#!/usr/bin/env python3
"""The main job, shown with real software: two nodes, each with its agent and ztunnel, one controller, a directory of manifests.

  ./dev demo             run all checks, end everything; exit 0 only if each holds
  ./dev demo --keep      leave it running and say how to look around
  ./dev demo --in clerk psql -h db.shop -U postgres      a command as a pod (or on a node) of the demo that stays
  ./dev demo --stop      end it, running or kept; nothing stays behind
  -o json                the report as JSON
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time

import software
import world as worlds
from world import wait_until

KEPT = "demo"


class Report:
    """Checks with their outcome; prints as it goes."""

    def __init__(self, as_json):
        self.rows, self.as_json = [], as_json
        self.colour = sys.stdout.isatty() and not as_json
        self.started = time.monotonic()

    def paint(self, code, text):
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def title(self, text):
        if not self.as_json:
            print(f"\n{self.paint(1, text)}", flush=True)

    def step(self, text):
        if not self.as_json:
            print(f"  {self.paint(2, f'{time.monotonic() - self.started:5.1f} s')}  {text}", flush=True)

    def check(self, claim, problems, note=""):
        """`problems`: a list or text of what is wrong; empty when the claim holds."""
        problems = [problems] if isinstance(problems, str) and problems else list(problems)
        self.rows.append({"claim": claim, "holds": not problems, "note": note, "problems": problems[:20]})
        if self.as_json:
            return
        mark = self.paint(32, "holds") if not problems else self.paint(31, "FAILS")
        print(f"  {mark}  {claim}{'  (' + note + ')' if note else ''}", flush=True)
        for problem in problems[:6]:
            print(f"           {problem}")
        if len(problems) > 6:
            print(f"           ... and {len(problems) - 6} more")

    def finish(self):
        failed = [r for r in self.rows if not r["holds"]]
        seconds = time.monotonic() - self.started
        if self.as_json:
            print(json.dumps({"holds": not failed, "seconds": round(seconds, 1), "checks": self.rows}, indent=1))
        else:
            print(f"\n{len(self.rows) - len(failed)} of {len(self.rows)} claims hold, {seconds:.0f} s")
        return 1 if failed else 0


def build_world(w):
    w.namespace("shop")
    w.namespace("vault")
    w.namespace("outside", ambient=False)
    w.apply({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "default", "namespace": "vault"},
             "spec": {"mtls": {"mode": "STRICT"}}})
    pods = {}
    for node, space, name, ports in [
            (1, "shop", "db", [("postgres", 5432, True)]), (2, "shop", "cache", [("redis", 6379, True)]), (1, "shop", "web", [("http", 80, True)]),
            (2, "shop", "speed", [("iperf", 5201, False)]), (1, "shop", "till", []), (2, "shop", "clerk", []),
            (2, "vault", "safe", [("http", 80, True)]), (1, "outside", "stranger", []), (2, "outside", "kiosk", [("redis", 6379, False)])]:
        pods[name] = w.pod(node, space, name, ports=ports)
        w.apply(pods[name].manifest())
    for number, (space, name, port) in enumerate([("shop", "db", 5432), ("shop", "cache", 6379), ("shop", "web", 80), ("shop", "speed", 5201),
                                                  ("vault", "safe", 80)], 10):
        w.service(space, name, f"10.96.0.{number}", f"fd96::{number:x}", [("main", port, port)])
    software.postgres(pods["db"])
    software.redis(pods["cache"])
    software.redis(pods["kiosk"])
    software.nginx(pods["web"])
    software.nginx(pods["safe"])
    software.iperf(pods["speed"])
    return pods


def addresses(w, pod):
    """What a pod may be called by: its addresses, its service's VIPs, its service's name."""
    service = w.objects[("Service", pod.namespace, pod.name)]["spec"]["clusterIPs"]
    return [("pod IPv4", pod.v4), ("pod IPv6", pod.v6), ("VIP IPv4", service[0]), ("VIP IPv6", service[1]),
            ("name", f"{pod.name}.{pod.namespace}.svc.cluster.local")]


def check_reach(w, pods, report):
    ask = {"db": software.ask_postgres, "cache": software.ask_redis, "web": software.ask_nginx, "safe": software.ask_nginx}
    problems, asked = [], 0
    for client in [p for p in w.pods if w.should_enrol(p)]:
        for name, question in ask.items():
            if client is pods[name]:
                continue
            for how, address in addresses(w, pods[name]):
                asked += 1
                wrong = question(client, address)
                if wrong:
                    problems.append(f"{client.name} -> {name} by {how} {address}: {wrong}")
        for family in (4, 6):
            asked += 1
            wrong = "" if client is pods["web"] else software.ask_nginx(client, "web.shop.svc.cluster.local", family)
            if wrong:
                problems.append(f"{client.name} -> web by its name over IPv{family}: {wrong}")
    report.check("every enrolled pod reaches the others by pod IP, service VIP and DNS name, IPv4 and IPv6, on its node and across", problems,
                 f"{asked} connections: PostgreSQL, redis, nginx")
    seen = pods["clerk"].run("curl", "-sS", "-m", "5", f"http://{pods['web'].v4}/").stdout.strip()
    report.check("the application sees the real client's address", "" if seen == f"web sees {pods['clerk'].v4}" else f"it said {seen!r}")


def check_secrecy(w, pods, report):
    for label, client, server, expected in [("an unenrolled server", "till", "kiosk", True), ("an unenrolled client", "stranger", "cache", True),
                                            ("both enrolled", "till", "cache", False)]:
        problems = []
        for family, address in (("IPv4", pods[server].v4), ("IPv6", pods[server].v6)):
            marker = f"marker-{client}-{server}-{family}"
            with w.sniff() as saw:
                done = pods[client].run("redis-cli", "-h", address, "set", "key", marker, seconds=10)
            if done.stdout.strip() != "OK":
                problems.append(f"redis over {family}: {done.stdout.strip()} {done.stderr.strip()}")
            elif saw(marker.encode()) != expected:  # asked after the capture has ended, when every packet is read
                problems.append(f"{family}: the marker was {'not ' if expected else ''}seen")
        text = "the wire shows the payload with" if expected else "the wire never shows the payload with"
        report.check(f"{text} {label}", problems)


def check_identities(w, pods, report):
    identity = {p.name: f"spiffe://cluster.local/ns/{p.namespace}/sa/{p.service_account}" for p in w.pods}

    def logged(node, direction):
        return [l for l in node.access_log().splitlines() if f'direction="{direction}"' in l and f'src.identity="{identity["till"]}"' in l
                and f'dst.identity="{identity["cache"]}"' in l]
    problems = []
    for node, direction in ((pods["till"].node, "outbound"), (pods["cache"].node, "inbound")):
        try:
            wait_until("log line", lambda n=node, d=direction: logged(n, d), 5)
        except TimeoutError:
            problems.append(f"no {direction} line on {node.name} names both identities")
    report.check("both identities stand in the access logs of both nodes", problems)


def deny(client, server):
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "deny-clerk", "namespace": server.namespace},
            "spec": {"action": "DENY", "selector": {"matchLabels": {"app": server.name}},
                     "rules": [{"from": [{"source": {"principals": [f"cluster.local/ns/{client.namespace}/sa/{client.service_account}"]}}]}]}}


def check_policy(w, pods, report):
    """Two open sessions; a policy forbids one of them."""
    db = pods["db"]
    sessions = {}
    for name in ("clerk", "till"):
        sessions[name] = pods[name].start("session", "psql", "-h", db.v4, "-U", "postgres", "-tA", "-v", "ON_ERROR_STOP=1", stdin=subprocess.PIPE)
        sessions[name].child.stdin.write(b"select 'open ' || 1;\n")
        sessions[name].child.stdin.flush()
    for name, session in sessions.items():
        wait_until(f"session of {name}", lambda s=session: "open 1" in s.text(), 10)
    w.apply(deny(pods["clerk"], db))
    problems = []
    started = time.monotonic()

    def cut():
        if sessions["clerk"].alive():
            sessions["clerk"].child.stdin.write(b"select 1;\n")
            sessions["clerk"].child.stdin.flush()
        return not sessions["clerk"].alive()
    try:
        wait_until("cut", cut, 10, 0.1)
    except (TimeoutError, BrokenPipeError) as error:
        if sessions["clerk"].alive():
            problems.append(f"the forbidden client's open connection lives on: {error}")
    took = time.monotonic() - started
    report.check("an AuthorizationPolicy applied while it runs cuts the forbidden client's open connection", problems, f"{took:.1f} s")
    again = software.ask_postgres(pods["clerk"], db.v4)
    reason = re.findall(r'reason="?(policy_denied)', db.node.access_log())
    report.check("its next connection is refused, with a reason in the log",
                 [] if again and reason else [f"psql said {again or 'nothing: it passed'}; reasons logged: {len(reason)}"])
    sessions["till"].child.stdin.write(b"select 'still ' || 2;\n")
    sessions["till"].child.stdin.flush()
    problems = []
    try:
        wait_until("the other session", lambda: "still 2" in sessions["till"].text(), 5)
    except TimeoutError as error:
        problems.append(f"{error}: {sessions['till'].text()[-200:]}")
    report.check("the others are left alone", problems)
    sessions["till"].stop()
    w.delete("AuthorizationPolicy", "deny-clerk", "shop")
    try:
        wait_until("allowed again", lambda: not software.ask_postgres(pods["clerk"], db.v4), 10)
        report.check("taking the policy away lets the client in again", "")
    except TimeoutError as error:
        report.check("taking the policy away lets the client in again", str(error))


def check_strangers(pods, report):
    wrong = [f"{a}: {e}" for a in (pods["web"].v4, pods["web"].v6) if (e := software.ask_nginx(pods["stranger"], a))]
    report.check("a pod outside the mesh reaches a permissive pod", wrong)
    passed = [a for a in (pods["safe"].v4, pods["safe"].v6) if not software.ask_nginx(pods["stranger"], a)]
    report.check("a pod outside the mesh is refused by a STRICT pod", [f"{a} answered in the clear" for a in passed])


def check_probes(w, pods, report):
    wrong = []
    for name in ("web", "safe"):
        for address in (pods[name].v4, pods[name].v6):
            done = pods[name].node.run("curl", "-sS", "-m", "5", f"http://{software.bracket(address)}/")
            if " sees " not in done.stdout:
                wrong.append(f"{name} {address}: {done.stderr.strip()}")
    report.check("probes of the node reach the application, also under STRICT", wrong)


def check_load(pods, report):

    pods["clerk"].run("pgbench", "-h", "db.shop", "-U", "postgres", "-i", "-s", "1", "-q", "postgres", seconds=60)
    done = pods["clerk"].run("pgbench", "-h", "db.shop", "-U", "postgres", "-c", "8", "-j", "1", "-T", "3", "-S", "postgres", seconds=60)
    rate = re.search(r"tps = ([0-9.]+)", done.stdout)
    failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
    report.check("pgbench, 8 clients across nodes", "" if rate and failed and failed.group(1) == "0" else done.stderr.strip()[-300:] or "no result",
                 f"{float(rate.group(1)):,.0f} transactions a second" if rate else "")
    done = pods["till"].run("iperf3", "-c", "speed.shop", "-t", "2", "-J", seconds=30)
    try:
        gbits = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9
        report.check("iperf3, one stream across nodes", "" if gbits > 0.05 else f"{gbits} Gbit/s", f"{gbits:.1f} Gbit/s, encrypted")
    except (ValueError, KeyError):
        report.check("iperf3, one stream across nodes", done.stdout[-200:] or done.stderr[-200:])


LOOK_AROUND = """
The demo stays up. Look around:

  ./dev demo --in clerk psql -h db.shop -U postgres -c 'select 1'     a command as a pod: clerk, till, db, cache, web, stranger ...
  ./dev demo --in node1 culvert status                                 or on a node: node1, node2
  ./dev demo --in node2 curl -s localhost:15020/metrics
  ls {manifests}                        change, add or remove a manifest and see what happens
  ls {logs}                             logs of every program; ztunnel's are the access logs

A connection that stays open, and how its node's ztunnel shows it:

  ./dev demo --in clerk psql -h db.shop -U postgres -c 'select pg_sleep(600)' &
  ./dev demo --in node2 culvert ztunnel-config connections

Forbid it. The open connection is cut, the next one is refused; db's node says why. Removing the file lets it in again:

cat > {manifests}/deny.yaml <<'END'
{policy}END
  ./dev demo --in node1 culvert status
  rm {manifests}/deny.yaml

End it:  ./dev demo --stop
"""


def fail(text):
    print(f"./dev demo: {text}", file=sys.stderr)
    return 2


def run_in(name, words):
    """A command as a pod or on a node of a demo that stays: its cgroup first, then its namespace."""
    try:
        places = json.loads((worlds.RUN / name / "places.json").read_text())
    except OSError:
        return fail("no demo is kept: ./dev demo --keep")
    where = f"one of {', '.join(sorted(places))}"
    if not words or words[0].startswith("-"):
        return fail(f"usage: ./dev demo --in POD [COMMAND...], POD {where}; without COMMAND a shell")
    if words[0] not in places:
        return fail(f"no pod or node '{words[0]}': {where}")
    netns, cgroup, path = places[words[0]]
    (worlds.pathlib.Path(cgroup) / "cgroup.procs").write_text(str(os.getpid()))
    os.environ.update(PATH=f"{path}:{os.environ['PATH']}", CULVERT_CONTROLLER=f"10.88.0.{worlds.RESERVED}:15014")
    os.execvp("ip", ["ip", "netns", "exec", netns, *(words[1:] or ["bash"])])


def remember_places(w):
    path = str(w.bin("x").parent)
    places = {p.name: (p.netns, str(p.cgroup), path) for p in w.pods}
    places |= {n.name: (n.netns, str(n.cgroup / "system"), path) for n in w.nodes}
    (w.dir / "places.json").write_text(json.dumps(places))


def run(w, report):
    report.title("Building two nodes, nine pods, real servers")
    pods = build_world(w)
    report.step("PostgreSQL, redis, nginx and iperf3 run in their pods")
    report.title("Starting the mesh")
    w.start_mesh()
    report.step("controller, two agents and two ztunnels are ready; the pods were enrolled while running")
    report.title("Does it hold?")
    check_reach(w, pods, report)
    check_secrecy(w, pods, report)
    check_identities(w, pods, report)
    check_policy(w, pods, report)
    check_strangers(pods, report)
    check_probes(w, pods, report)
    check_load(pods, report)
    died = [p.name for p in w.processes if not p.alive() and re.search(r"agent|ztunnel|controller", p.name)]
    report.check("no program of the mesh died on the way", died)


class Ended(BaseException):
    """A signal asked us to end. No Exception: whoever retries until something works must not retry this."""


def on_ending_signals(action):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, action)


def end_by_signal(number, _):
    on_ending_signals(signal.SIG_IGN)  # a second Ctrl-C must not stop the taking down
    raise Ended(number)


def keep(w, report):
    (w.dir / "stay").touch()
    remember_places(w)
    policy = worlds.as_yaml(deny(next(p for p in w.pods if p.name == "clerk"), next(p for p in w.pods if p.name == "db")))
    print(LOOK_AROUND.format(manifests=w.manifests, logs=w.logs, policy=policy), file=sys.stderr if report.as_json else sys.stdout)


def show(options):
    """The demo from its first namespace to its report; whatever ends it, everything is taken down unless it is kept."""
    report = Report(options.output == "json")
    w = worlds.World(options.build, options.name)
    on_ending_signals(end_by_signal)
    kept = False
    w.__enter__()  # takes itself down when it cannot be made
    try:
        run(w, report)
        if options.keep:
            keep(w, report)
            kept = True
    except (TimeoutError, RuntimeError) as error:
        report.check("the demo got to its end", str(error))
        for process in w.processes:
            if re.search(r"agent|ztunnel$|controller", process.name):
                tail = "\n".join(f"      {line}" for line in process.text().splitlines()[-12:])
                print(f"\n  last lines of {process.name}:\n{tail}", file=sys.stderr)
    finally:
        on_ending_signals(signal.SIG_IGN)
        if not kept:
            w.close()
    return report.finish()


def main():
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave it running")
    parser.add_argument("--stop", action="store_true", help="end the demo, running or kept")
    parser.add_argument("--in", nargs=argparse.REMAINDER, dest="place", metavar="POD COMMAND", help="run a command as a pod of the demo, or on node1, node2")
    parser.add_argument("--build", default="release", help="which build's programs (release, asan)")
    parser.add_argument("--name", default=KEPT, help="of this demo's world, when several are to run at once")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text", help="the report's form")
    options = parser.parse_args()
    if os.geteuid() != 0:
        return fail("run as root: it makes network namespaces and loads BPF programs")
    if options.place is not None:
        return run_in(options.name, options.place)
    if options.stop:
        print("the demo is gone" if worlds.stop(options.name) else "no demo is running")
        return 0
    try:
        return show(options)
    except worlds.Busy as holder:
        return fail(f"a demo runs ({holder}): ./dev demo --stop")
    except Ended as ended:
        number = ended.args[0]
        print(f"./dev demo: ended by {signal.Signals(number).name}; nothing of it stays", file=sys.stderr)
        return 128 + number


if __name__ == "__main__":
    sys.exit(main())
