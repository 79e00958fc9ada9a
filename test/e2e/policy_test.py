#!/usr/bin/env python3
"""Policies on new and on live connections, applied and taken away while traffic runs."""
import pathlib

from claims import claim, expect, main
from world import wait_until

APP = pathlib.Path(__file__).parent / "app.py"
PORT = 7000
PYTHON = "/usr/bin/python3"


def build(w):
    w.namespace("in")
    w.namespace("out", ambient=False)
    scene = {"world": w}
    for space, name, node in (("in", "alice", 1), ("in", "bob", 1), ("in", "server", 2), ("in", "other", 2), ("out", "stranger", 1)):
        scene[name] = w.pod(node, space, name, ports=[("app", PORT, True)])
        w.apply(scene[name].manifest())
    for name in ("server", "other"):
        scene[name].start("app", PYTHON, APP, "serve", PORT)
    w.start_mesh()
    for name in ("server", "other"):
        wait_until(name, lambda n=name: asks(scene, "alice", n))
    return scene


def asks(scene, client, server="server", port=PORT):
    return scene[client].run(PYTHON, APP, "echo", scene[server].v4, port, 1, seconds=15).returncode == 0


def policy(name, action, rules, namespace="in", app="server"):
    selector = {"selector": {"matchLabels": {"app": app}}} if app else {}
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": name, "namespace": namespace},
            "spec": {"action": action, "rules": rules, **selector}}


def source(**fields):
    return {"from": [{"source": fields}]}


def strict(mode="STRICT", app="server"):
    return {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "mtls", "namespace": "in"},
            "spec": {"mtls": {"mode": mode}, "selector": {"matchLabels": {"app": app}}}}


def settle(scene, client, allowed, server="server"):
    wait_until(f"{client} {'reaches' if allowed else 'is refused by'} {server}", lambda: asks(scene, client, server) == allowed, 15)


def stream(scene, client, name, server="server"):
    stop = scene["world"].dir / f"stop.{name}"
    process = scene[client].start(f"stream.{name}", PYTHON, APP, "stream", scene[server].v4, PORT, 0, stop)
    wait_until("stream", lambda: "streaming" in process.text() or not process.alive())
    return process, stop


def ended(process, stop):
    stop.touch()
    wait_until("stream's end", lambda: not process.alive(), 15)
    return process.child.returncode


@claim("a DENY policy cuts the open connection it names, refuses the next with its name, and leaves others alone [R-2, R-11]")
def deny(scene):
    hers, her_stop = stream(scene, "alice", "alice1")
    his, his_stop = stream(scene, "bob", "bob1")
    elsewhere, elsewhere_stop = stream(scene, "alice", "other1", "other")
    scene["world"].apply(policy("no-alice", "DENY", [source(principals=["cluster.local/ns/in/sa/alice"])]))
    wait_until("alice is cut", lambda: not hers.alive(), 10)
    expect(hers.child.returncode == 2, f"not cut but ended: {hers.text()}")
    expect(not asks(scene, "alice"), "alice's next connection passed")
    expect(asks(scene, "bob"), "bob was refused as well")
    expect(ended(his, his_stop) == 0, f"bob's connection was disturbed: {his.text()}")
    expect(ended(elsewhere, elsewhere_stop) == 0, f"alice's connection to another pod was disturbed: {elsewhere.text()}")
    log = scene["world"].nodes[1].access_log()
    expect("policy_changed" in log, "no reason for the cut in the access log")
    expect("policy_denied" in log and "in/no-alice" in log, "no reason, or not the policy's name, for the refusal in the access log")
    her_stop.touch()
    scene["world"].delete("AuthorizationPolicy", "no-alice", "in")
    settle(scene, "alice", True)


@claim("ALLOW policies admit whom they name and nobody else [R-2, R-6]")
def allow(scene):
    scene["world"].apply(policy("only-bob", "ALLOW", [source(principals=["cluster.local/ns/in/sa/bob"])]))
    settle(scene, "alice", False)
    expect(asks(scene, "bob"), "bob is named and was refused")
    expect(not asks(scene, "stranger"), "a client without identity passed")
    scene["world"].delete("AuthorizationPolicy", "only-bob", "in")
    settle(scene, "alice", True)


@claim("ports, addresses and namespaces decide as well [R-6]")
def fields(scene):
    cases = [({"rules": [{"to": [{"operation": {"ports": [str(PORT)]}}]}]}, False),
             ({"rules": [{"to": [{"operation": {"ports": ["9999"]}}]}]}, True),
             ({"rules": [source(ipBlocks=[scene["alice"].v4])]}, False),
             ({"rules": [source(ipBlocks=["192.0.2.0/24"])]}, True),
             ({"rules": [source(namespaces=["in"])]}, False),
             ({"rules": [source(notNamespaces=["in"])]}, True)]
    for number, (spec, allowed) in enumerate(cases):
        # A second policy that always applies to bob shows when this version is in force.
        spec = {"rules": spec["rules"] + [source(principals=[f"cluster.local/ns/in/sa/bob"])]}
        scene["world"].apply(policy("case", "DENY", spec["rules"]))
        settle(scene, "bob", False)
        expect(asks(scene, "alice") == allowed, f"case {number}: {spec}")
        scene["world"].delete("AuthorizationPolicy", "case", "in")
        settle(scene, "bob", True)


@claim("STRICT attached while a plaintext connection is open cuts it, and mTLS ones live on [R-8, W-3]")
def strict_cuts(scene):
    plain, plain_stop = stream(scene, "stranger", "plain1")
    meshed, meshed_stop = stream(scene, "bob", "bob2")
    scene["world"].apply(strict())
    wait_until("the plaintext connection is cut", lambda: not plain.alive(), 10)
    expect(plain.child.returncode == 2, plain.text())
    expect(not asks(scene, "stranger"), "plaintext passed under STRICT")
    expect(ended(meshed, meshed_stop) == 0, f"an mTLS connection was disturbed: {meshed.text()}")
    plain_stop.touch()
    scene["world"].delete("PeerAuthentication", "mtls", "in")
    settle(scene, "stranger", True)


@claim("a broken policy file changes nothing, shows in the controller's status with file and field, and its repair takes effect")
def broken(scene):
    w = scene["world"]
    w.apply(policy("rule", "DENY", [source(principals=["cluster.local/ns/in/sa/alice"])]))
    settle(scene, "alice", False)
    path = w.manifests / "authorizationpolicy.in.rule.yaml"
    good = path.read_text()
    path.write_text(good.replace("principals:", "principalz:"))
    wait_until("the problem shows", lambda: "principalz" in w.controller_get("/status") and "authorizationpolicy.in.rule.yaml" in w.controller_get("/status"))
    expect(not asks(scene, "alice"), "the last good policy is not in force any more")
    path.write_text("{ not yaml")
    wait_until("the problem shows", lambda: "principalz" not in w.controller_get("/status"))
    expect(not asks(scene, "alice"), "the last good policy is not in force any more")
    path.write_text(good.replace("sa/alice", "sa/bob"))
    settle(scene, "alice", True)
    settle(scene, "bob", False)
    w.delete("AuthorizationPolicy", "rule", "in")
    settle(scene, "bob", True)


if __name__ == "__main__":
    main(build)
