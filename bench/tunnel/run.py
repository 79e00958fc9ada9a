#!/usr/bin/env python3
"""Ours against direct TCP, a bare relay and an HAProxy mTLS pair, interleaved in one run over two nodes in namespaces.

  ./dev bench tunnel [--rounds 3] [--seconds 3] [--idle 9000] [-o json]

CPU is that of the two proxies together (user and system, from the scheduler's own clock). A ratio is computed within a round, what is
printed is the median of the rounds' ratios with the lowest and highest. All sides: TLS_AES_128_GCM_SHA256, X25519, P-256, cubic,
one worker a side. bench/README.md explains every number.
"""
import argparse
import datetime
import json
import pathlib
import random
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "test/e2e"))
import world as worlds  # noqa: E402
from world import wait_until  # noqa: E402

PORT = 8000
SUITE = "TLS_AES_128_GCM_SHA256"
LOADS = [("bulk1", ["bulk", 1]), ("bulk4", ["bulk", 4]), ("requests", ["requests", 64]), ("connects", ["connects", 16])]


def cpu_seconds(pid):
    """On-CPU nanoseconds of all threads of a process."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    return total / 1e9


def private_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def certificates(folder):
    """A root and two P-256 leafs for the HAProxy pair."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID
    start = datetime.datetime.utcnow() - datetime.timedelta(hours=1)

    def make(name, issuer, issuer_key, authority):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(start + datetime.timedelta(days=2))
                .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
                .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
                .sign(issuer_key or key, hashes.SHA256()))
        return key, cert
    pem = serialization.Encoding.PEM
    root_key, root = make("root", None, None, True)
    (folder / "ca.pem").write_bytes(root.public_bytes(pem))
    for name in ("near", "far"):
        key, cert = make(name, root.subject, root_key, False)
        (folder / f"{name}.pem").write_bytes(cert.public_bytes(pem) + key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def haproxy_config(folder, role, listen, target):
    tls = f"ssl crt {folder}/{role}.pem ca-file {folder}/ca.pem verify required"
    if role == "near":
        bind, server = f"bind {listen}", f"server far {target} {tls} force-tlsv13 ciphersuites {SUITE}"
    else:
        bind, server = f"bind {listen} {tls} ssl-min-ver TLSv1.3 ciphersuites {SUITE} curves X25519", f"server app {target}"
    path = folder / f"haproxy.{role}.cfg"
    path.write_text(f"""global
    nbthread 1
    maxconn 9800
defaults
    mode tcp
    maxconn 9800
    timeout connect 10s
    timeout client 1h
    timeout server 1h
frontend f
    {bind}
    default_backend b
backend b
    {server}
""")
    return path


class System:
    """One way from a client to a server: which pods, which address, which two processes carry it."""

    def __init__(self, name, client, host, port, proxies):
        self.name, self.client, self.host, self.port, self.proxies = name, client, host, port, proxies

    def cpu(self):
        return sum(cpu_seconds(p.pid) for p in self.proxies)


def build(w):
    w.namespace("bench")
    w.namespace("raw", ambient=False)
    client, server = w.pod(1, "bench", "client"), w.pod(2, "bench", "server")
    raw_client, raw_server = w.pod(1, "raw", "client"), w.pod(2, "raw", "server")
    for pod in (client, server, raw_client, raw_server):
        w.apply(pod.manifest())
    load, relay = ROOT / "build/release/bench/bench_load", ROOT / "build/release/bench/bench_relay"
    for pod in (server, raw_server):
        pod.start("serve", load, "serve", PORT)
    w.start_mesh(CULVERT_TLS_SUITES=SUITE, CULVERT_TLS_GROUPS="X25519", RUST_LOG="error")
    certificates(w.dir)
    relays, proxies = [], []
    for i in range(3):  # the three ports of the server
        relays.append((raw_server.start(f"relay{i}", relay, f"{raw_server.v4}:{9000 + i}", f"127.0.0.1:{PORT + i}"),
                       raw_client.start(f"relay{i}", relay, f"127.0.0.1:{9000 + i}", f"{raw_server.v4}:{9000 + i}")))
    for i in range(3):
        folder = w.dir / f"haproxy{i}"
        folder.mkdir()
        for name in ("ca", "near", "far"):
            (folder / f"{name}.pem").write_bytes((w.dir / f"{name}.pem").read_bytes())
        far = haproxy_config(folder, "far", f"{raw_server.v4}:{9100 + i}", f"127.0.0.1:{PORT + i}")
        near = haproxy_config(folder, "near", f"127.0.0.1:{9100 + i}", f"{raw_server.v4}:{9100 + i}")
        proxies.append((raw_server.start(f"haproxy{i}", "haproxy", "-db", "-f", far), raw_client.start(f"haproxy{i}", "haproxy", "-db", "-f", near)))
    systems = [System("direct", raw_client, raw_server.v4, PORT, []),
               System("relay", raw_client, "127.0.0.1", 9000, [p for pair in relays for p in pair]),
               System("ours", client, server.v4, PORT, [n.ztunnel for n in w.nodes]),
               System("haproxy", raw_client, "127.0.0.1", 9100, [p for pair in proxies for p in pair])]
    for s in systems:
        wait_until(s.name, lambda s=s: run(s, ["requests", 1], 0.2), 20)
    return systems


def run(system, load, seconds, *more):
    done = system.client.run(ROOT / "build/release/bench/bench_load", load[0], system.host, system.port, load[1], seconds, *more,
                             seconds=seconds + 30)
    if done.returncode != 0:
        raise RuntimeError(f"{system.name} {load}: {done.stderr.strip()} {done.stdout.strip()}")
    return json.loads(done.stdout)


def measure(system, name, load, seconds):
    before = system.cpu()
    result = run(system, load, seconds)
    cpu = system.cpu() - before
    if result.get("failed"):
        raise RuntimeError(f"{system.name} {name}: {result['failed']} requests failed; the run is void")
    if name.startswith("bulk"):
        gigabytes = result["bytes"] / 1e9
        return {"rate": gigabytes * 8 / result["seconds"], "cpu": cpu / gigabytes}
    return {"rate": result["count"] / result["seconds"], "cpu": 1e6 * cpu / result["count"], **{k: v for k, v in result.items() if k.endswith("_us")}}


def measure_beside_bulk(system, seconds):
    """500 small requests a second beside one bulk stream: what sharing costs."""
    bulk = system.client.start(f"beside.{system.name}.{random.random()}", ROOT / "build/release/bench/bench_load", "bulk", system.host, system.port,
                               1, seconds + 1)
    result = run(system, ["paced", 500], seconds)
    wait_until("bulk", lambda: not bulk.alive(), seconds + 10)
    return {k: v for k, v in result.items() if k.endswith("_us")}


def measure_idle(system, count):
    before = [private_bytes(p.pid) for p in system.proxies]
    holder = system.client.start(f"idle.{system.name}", ROOT / "build/release/bench/bench_load", "idle", system.host, system.port, count,
                                 stdin=subprocess.PIPE)
    wait_until(f"{count} connections held", lambda: "held" in holder.text() or not holder.alive(), 120)
    if not holder.alive():
        raise RuntimeError(f"{system.name}: idle connections: {holder.text()[-300:]}")
    time.sleep(1)  # the last frames settle
    sides = [(private_bytes(p.pid) - b) / count for p, b in zip(system.proxies, before)]
    holder.child.stdin.close()
    wait_until("released", lambda: not holder.alive(), 60)
    return max(sides)


def ratio(rounds, load, what, ours, peer):
    values = [r[ours][load][what] / r[peer][load][what] for r in rounds if r[peer][load].get(what)]
    return statistics.median(values), min(values), max(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of each load")
    parser.add_argument("--idle", type=int, default=9000, help="idle connections for the memory figure; 0 leaves it out")
    parser.add_argument("-o", choices=["text", "json"], default="text")
    options = parser.parse_args()
    rounds, idle = [], None
    with worlds.World("release") as w:
        systems = build(w)
        for number in range(options.rounds):
            row = {s.name: {} for s in systems}
            for name, load in LOADS:
                for system in random.sample(systems, len(systems)):
                    row[system.name][name] = measure(system, name, load, options.seconds)
                    print(f"round {number + 1}/{options.rounds}  {name:9} {system.name:8} {row[system.name][name]}", file=sys.stderr, flush=True)
            for system in random.sample(systems, len(systems)):
                row[system.name]["beside"] = measure_beside_bulk(system, options.seconds)
            rounds.append(row)
        if options.idle:
            idle = {s.name: measure_idle(s, options.idle) for s in systems if s.name == "ours"}
    report(rounds, idle, options.o == "json")


def report(rounds, idle, as_json):
    bars = [("CPU per GB, 1 stream, ours : HAProxy pair", ratio(rounds, "bulk1", "cpu", "ours", "haproxy"), "<=", 0.70),
            ("CPU per GB, 4 streams, ours : HAProxy pair", ratio(rounds, "bulk4", "cpu", "ours", "haproxy"), "<=", 0.70),
            ("rate of one stream, ours : HAProxy pair", ratio(rounds, "bulk1", "rate", "ours", "haproxy"), ">=", 1.3),
            ("CPU per 1000 requests of 1 KB, 64 in flight, ours : HAProxy pair", ratio(rounds, "requests", "cpu", "ours", "haproxy"), "<=", 0.8),
            ("CPU per new connection, ours : HAProxy pair", ratio(rounds, "connects", "cpu", "ours", "haproxy"), "<=", 0.3)]
    if idle:
        bars.append(("private bytes per idle connection, the larger side", (idle["ours"],) * 3, "<=", 1024))
    met = [(low <= bar if sign == "<=" else low >= bar) for _, (low, _, _), sign, bar in bars]
    if as_json:
        print(json.dumps({"rounds": rounds, "idle_bytes": idle, "bars": [
            {"what": t, "median": v[0], "min": v[1], "max": v[2], "bar": f"{s} {b}", "met": m} for (t, v, s, b), m in zip(bars, met)]}, indent=1))
    else:
        cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo", encoding="ascii") if l.startswith("model name")), "unknown")
        print(f"\n{cpu}; {SUITE}, X25519, P-256 on both sides; {len(rounds)} rounds; medians")
        print(f"{'':10}{'1 stream':>22}{'4 streams':>22}{'1 KB x 64':>30}{'connect x 16':>22}{'500/s beside bulk':>24}")
        print(f"{'':10}{'Gbit/s  CPU-s/GB':>22}{'Gbit/s  CPU-s/GB':>22}{'1/s  p50 us  CPU us':>30}{'1/s  CPU us':>22}{'p50  p99 us':>24}")
        for name in rounds[0]:
            m = lambda load, what: statistics.median(r[name][load].get(what, 0) for r in rounds)  # noqa: E731
            print(f"{name:10}{m('bulk1', 'rate'):14.2f}{m('bulk1', 'cpu'):8.2f}{m('bulk4', 'rate'):14.2f}{m('bulk4', 'cpu'):8.2f}"
                  f"{m('requests', 'rate'):14,.0f}{m('requests', 'p50_us'):8,.0f}{m('requests', 'cpu'):8.1f}"
                  f"{m('connects', 'rate'):14,.0f}{m('connects', 'cpu'):8.0f}{m('beside', 'p50_us'):16,.0f}{m('beside', 'p99_us'):8,.0f}")
        print()
        for (text, (median, low, high), sign, bar), ok in zip(bars, met):
            print(f"{'met ' if ok else 'MISSED'}  {text}: {median:.2f} ({low:.2f} .. {high:.2f}), bar {sign} {bar}")
    print(f"bars met: {sum(met)} of {len(met)}")


if __name__ == "__main__":
    main()
