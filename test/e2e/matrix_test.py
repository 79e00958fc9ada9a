#!/usr/bin/env python3
"""Client enrolled or not x server enrolled or not x same node or not x IPv4 or IPv6 x by pod IP, VIP, name: the expected result
of each cell is written down in `expected`. Run against the mesh, and once before it starts as the negative control."""
import json
import pathlib

from claims import claim, expect, main
from world import wait_until

APP = pathlib.Path(__file__).parent / "app.py"
PORT = 7000


def build(w):
    w.namespace("in")
    w.namespace("strict")
    w.namespace("out", ambient=False)
    w.apply({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "default", "namespace": "strict"},
             "spec": {"mtls": {"mode": "STRICT"}}})
    scene = {"world": w, "pods": {}}
    for number, (space, name, node) in enumerate([
            ("in", "client", 1), ("out", "stranger", 1), ("in", "near", 1), ("in", "far", 2), ("out", "plain-near", 1), ("out", "plain-far", 2),
            ("strict", "strict-near", 1), ("strict", "strict-far", 2)]):
        pod = scene["pods"][name] = w.pod(node, space, name, ports=[("app", PORT, True)])
        w.apply(pod.manifest())
        if "client" not in name and name != "stranger":
            w.service(space, name, f"10.96.1.{number}", f"fd96::1:{number}", [("app", PORT, PORT)])
            pod.start("app", "/usr/bin/python3", APP, "serve", PORT)
            wait_until(name, lambda p=pod: p.run("/usr/bin/python3", APP, "echo", "127.0.0.1", PORT).returncode == 0)
    # The negative control: what the mesh claims must not hold without it.
    with w.sniff() as saw:
        ask(scene, "client", scene["pods"]["far"].v4, "who")
    scene["control_plaintext"] = saw(b"who 0\n")
    scene["control_strict"] = ask(scene, "stranger", scene["pods"]["strict-far"].v4, "who")[0]
    scene["control_vip"] = ask(scene, "client", "10.96.1.3", "who")[0]
    w.start_mesh()
    return scene


def ask(scene, client, host, scenario, n=0):
    done = scene["pods"][client].run("/usr/bin/python3", APP, scenario, host, PORT, n, seconds=30)
    return done.returncode == 0, done.stdout.strip()


def expected(client, server, how):
    """What each cell must show: `who` = the real client's address, `refused`, `none` = no such name or address (nothing like
    kube-proxy runs, so outside the mesh there are neither VIPs nor mesh DNS: decision 16)."""
    enrolled = client == "client"
    if how in ("vip", "name") and not enrolled:
        return "refused"
    if server.startswith("strict") and not enrolled:
        return "refused"
    return "who"


@claim("without the mesh the payload is seen, STRICT does not hold and there are no VIPs (negative control)")
def control(scene):
    expect(scene["control_plaintext"], "the wire did not show the payload although no mesh ran")
    expect(scene["control_strict"], "STRICT held although no mesh ran")
    expect(not scene["control_vip"], "a VIP answered although no mesh ran")


@claim("every cell of the matrix shows what is written down for it [C-12, O-10, I-12, I-16, R-8]")
def matrix(scene):
    wrong = []
    w = scene["world"]
    for client in ("client", "stranger"):
        for server in ("near", "far", "plain-near", "plain-far", "strict-near", "strict-far"):
            pod = scene["pods"][server]
            vips = w.objects[("Service", pod.namespace, pod.name)]["spec"]["clusterIPs"]
            for family, how, address in ((4, "ip", pod.v4), (6, "ip", pod.v6), (4, "vip", vips[0]), (6, "vip", vips[1]),
                                         (0, "name", f"{pod.name}.{pod.namespace}.svc.cluster.local")):
                ok, said = ask(scene, client, address, "who")
                source = scene["pods"][client]
                result = "who" if ok and said in (source.v4, source.v6) else "refused" if not ok else f"seen as {said}"
                if result != expected(client, server, how):
                    wrong.append(f"{client} -> {server} by {how}{family or ''}: {result}, expected {expected(client, server, how)} ({said})")
    expect(not wrong, "\n      ".join(wrong))


@claim("between enrolled pods the wire never shows the payload, by IPv4 and IPv6 [H-1, S2]")
def secrecy(scene):
    for server, shown in (("far", False), ("strict-far", False), ("plain-far", True)):
        for address in (scene["pods"][server].v4, scene["pods"][server].v6):
            with scene["world"].sniff() as saw:
                ok, said = ask(scene, "client", address, "echo", 3)
            expect(ok, said)
            expect(saw(b"echo 0\n") == shown, f"{server} {address}: payload {'not ' if shown else ''}seen")


@claim("an own connection of a pod to itself, by its address and by loopback, is left alone [C-9]")
def self_call(scene):
    for address in (scene["pods"]["near"].v4, scene["pods"]["near"].v6, "127.0.0.1", "::1"):
        ok, said = ask(scene, "near", address, "echo", 1)
        expect(ok, f"{address}: {said}")


@claim("ztunnel's internal ports are no targets, from an enrolled pod and from outside [O-1, I-10, S8]")
def internal_ports(scene):
    for client in ("client", "stranger"):
        for host in (scene["pods"]["near"].v4, scene["pods"]["far"].v6, scene["pods"]["client"].v4, "127.0.0.1"):
            for port in (15001, 15006, 15008, 15053):
                done = scene["pods"][client].run("/usr/bin/python3", APP, "echo", host, port, seconds=15)
                expect(done.returncode != 0, f"{client}: {host}:{port} answered")


@claim("both ztunnels log the connection with both identities, byte counts and the pods' names [L-1, L-2]")
def logged(scene):
    done = scene["pods"]["client"].run("/usr/bin/python3", APP, "echo", "far.in.svc.cluster.local", PORT, 2)
    expect(done.returncode == 0, done.stdout)

    def line(node, direction):
        return [l for l in node.access_log().splitlines() if f'direction="{direction}"' in l and 'src.identity="spiffe://cluster.local/ns/in/sa/client"' in l
                and 'dst.identity="spiffe://cluster.local/ns/in/sa/far"' in l and 'src.workload="client"' in l and "bytes_sent=" in l]
    for node, direction in ((scene["world"].nodes[0], "outbound"), (scene["world"].nodes[1], "inbound")):
        wait_until(f"{direction} line on {node.name}", lambda n=node, d=direction: line(n, d), 5)


@claim("metrics count the connection on both sides with mutual_tls [M-1, M-2]")
def metrics(scene):
    for node, reporter in ((scene["world"].nodes[0], "source"), (scene["world"].nodes[1], "destination")):
        text = node.get(15020, "/metrics")
        rows = [l for l in text.splitlines() if l.startswith("istio_tcp_connections_opened_total") and f'reporter="{reporter}"' in l
                and 'connection_security_policy="mutual_tls"' in l and 'destination_workload="far"' in l]
        expect(rows, f"{node.name}: no row for reporter={reporter}")
        expect(text.rstrip().endswith("# EOF"), "not OpenMetrics")


@claim("a name outside the mesh is answered by the node's resolver, other types byte for byte; unknown names stay unknown [D-4, D-13]")
def dns(scene):
    pod = scene["pods"]["client"]
    expect(pod.run("dig", "+short", "outside.example", "A").stdout.strip() == "192.0.2.7", "no A of outside.example")
    expect("not of the mesh" in pod.run("dig", "+short", "outside.example", "TXT").stdout, "no TXT of outside.example")
    expect("NXDOMAIN" in pod.run("dig", "nobody.example", "A").stdout, "an unknown name has an answer")
    expect(pod.run("dig", "+short", "far.in.svc.cluster.local", "A").stdout.strip() == "10.96.1.3", "no VIP for a service's name")
    expect(pod.run("dig", "+tcp", "+short", "far.in.svc.cluster.local", "AAAA").stdout.strip() == "fd96::1:3", "no AAAA over TCP")


@claim("config_dump shows the workloads, services and certificates that istioctl reads [A-5]")
def dump(scene):
    dump_ = json.loads(scene["world"].nodes[0].get(15000, "/config_dump"))
    far = [x for x in dump_["workloads"] if x["name"] == "far"]
    expect(far and far[0]["protocol"] == "HBONE" and far[0]["workloadIps"], f"workload: {far}")
    expect(any(c["identity"] == "spiffe://cluster.local/ns/in/sa/client" and c["state"] == "Available" for c in dump_["certificates"]), "certificate")
    expect(any(x["hostname"] == "far.in.svc.cluster.local" for x in dump_["services"]), "service")


if __name__ == "__main__":
    main(build)
