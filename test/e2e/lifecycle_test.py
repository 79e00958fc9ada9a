#!/usr/bin/env python3
"""Rotation, restart and kill -9 of each part under load: recovery, and never a byte of plaintext between enrolled pods."""
import json
import os
import pathlib
import signal
import time

from claims import claim, defect, expect, main
from world import wait_until

APP = pathlib.Path(__file__).parent / "app.py"
PORT = 7000
PYTHON = "/usr/bin/python3"
SECRET_TTL = "20s"  # half-life refresh every 10 s: several rotations within a claim


def build(w):
    w.namespace("in")
    scene = {"world": w}
    for name, node in (("client", 1), ("near", 1), ("far", 2)):
        scene[name] = w.pod(node, "in", name, ports=[("app", PORT, True)])
        w.apply(scene[name].manifest())
    for name in ("near", "far"):
        scene[name].start("app", PYTHON, APP, "serve", PORT)
    w.start_mesh(SECRET_TTL=SECRET_TTL)
    for name in ("near", "far"):
        wait_until(name, lambda n=name: works(scene, n))
    scene["descriptors"] = {name: descriptors(process) for name, process in programs(w).items()}
    return scene


def programs(w):
    """Those that run now, whoever runs in their place."""
    running = {f"{node.name} {part}": getattr(node, part) for node in w.nodes for part in ("agent", "ztunnel")}
    return {"controller": w.controller, **running}


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def works(scene, server="far"):
    return scene["client"].run(PYTHON, APP, "echo", scene[server].v4, PORT, 1, seconds=15).returncode == 0


class Load:
    """Short connections from one pod to another while something happens; the wire is watched for their payload."""

    def __init__(self, scene, name):
        self.scene, self.stop = scene, scene["world"].dir / f"stop.{name}"
        self.sniffer = scene["world"].sniff()
        self.name = name

    def __enter__(self):
        self.saw = self.sniffer.__enter__()
        self.process = self.scene["client"].start(f"hammer.{self.name}", PYTHON, APP, "hammer", self.scene["far"].v4, PORT, 0, self.stop)
        wait_until("load", lambda: "hammering" in self.process.text())
        return self

    def __exit__(self, *error):
        self.stop.touch()
        wait_until("the load's end", lambda: not self.process.alive(), 40)
        self.sniffer.__exit__(*error)
        self.outcome = json.loads(self.process.text().splitlines()[-1])
        self.plaintext = self.saw(b"who 0\n")


@claim("certificates rotate under load without a failed connection [CA-9, CA-12]")
def rotation(scene):
    node = scene["world"].nodes[0]

    def serial():
        dump = json.loads(node.get(15000, "/config_dump"))
        return next(c["certChain"][0]["serialNumber"] for c in dump["certificates"] if c["identity"].endswith("/sa/client"))
    first = serial()
    with Load(scene, "rotation") as load:
        wait_until("two rotations", lambda: serial() != first, 30, 0.5)
        second = serial()
        wait_until("two rotations", lambda: serial() != second, 30, 0.5)
    expect(set(load.outcome) == {"ok"}, f"outcome {load.outcome}")
    expect(not load.plaintext, "plaintext on the wire")


@claim("kill -9 of the controller disturbs nothing; it comes back and changes reach the data path [X-13]")
def controller(scene):
    w = scene["world"]
    with Load(scene, "controller") as load:
        w.controller.kill()
        wait_until("gone", lambda: not w.controller.alive())
        time.sleep(1.0)  # traffic without a controller
    expect(set(load.outcome) == {"ok"}, f"outcome {load.outcome}")
    w.start_controller()
    w.apply({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "none", "namespace": "in"},
             "spec": {"action": "ALLOW", "selector": {"matchLabels": {"app": "far"}}}})
    wait_until("a policy written after the restart holds", lambda: not works(scene), 40)
    w.delete("AuthorizationPolicy", "none", "in")
    wait_until("and goes again", lambda: works(scene), 40)


@claim("kill -9 of the agent leaves capture in place; a new one adopts it and enrols what is new")
def agent(scene):
    w, node = scene["world"], scene["world"].nodes[0]
    with Load(scene, "agent") as load:
        node.agent.kill()
        wait_until("gone", lambda: not node.agent.alive())
        time.sleep(0.5)
        node.start_agent()
        wait_until("ready again", node.ready, 30)
    expect(set(load.outcome) == {"ok"}, f"outcome {load.outcome}")
    expect(not load.plaintext, "plaintext on the wire")
    late = w.pod(1, "in", "late")
    w.apply(late.manifest())
    w.wait_enrolled()
    expect(late.run(PYTHON, APP, "echo", scene["far"].v4, PORT, 1).returncode == 0, "the new pod does not reach far")
    w.delete("Pod", "late", "in")
    late.delete()


@claim("kill -9 of a ztunnel refuses meanwhile, never in the clear, lets the node's probes pass, and recovers [S7, Z-9]")
def ztunnel(scene):
    w = scene["world"]
    for which in (0, 1):
        node = w.nodes[which]
        with Load(scene, f"ztunnel{which}") as load:
            node.ztunnel.kill()
            wait_until("gone", lambda n=node: not n.ztunnel.alive())
            expect(not works(scene), "a connection passed without a ztunnel")
            server = scene["near"] if which == 0 else scene["far"]
            probe = node.run("bash", "-c", f"exec 3<>/dev/tcp/{server.v4}/{PORT}; echo 'who' >&3; read -t 5 line <&3; echo $line")
            expect(node.v4 in probe.stdout, f"the node's probe did not reach the app: {probe.stdout} {probe.stderr}")
            node.start_ztunnel(f"ztunnel.again{which}", SECRET_TTL=SECRET_TTL)
            wait_until("recovered", lambda: works(scene), 40)
        expect(load.outcome.get("ok"), f"outcome {load.outcome}")
        expect(not load.plaintext, "plaintext on the wire")


@claim("SIGTERM of a ztunnel lets an open connection finish within its deadline while new ones are refused [H-36]")
def drain(scene):
    node = scene["world"].nodes[0]
    stop = scene["world"].dir / "stop.drain"
    process = scene["client"].start("stream.drain", PYTHON, APP, "stream", scene["far"].v4, PORT, 0, stop)
    wait_until("stream", lambda: "streaming" in process.text())
    node.ztunnel.kill(signal.SIGTERM)
    time.sleep(0.5)
    expect(process.alive(), f"the drain cut an open connection at once: {process.text()}")
    stop.touch()
    wait_until("finished", lambda: not process.alive())
    expect(process.child.returncode == 0, process.text())
    wait_until("ztunnel ended", lambda: not node.ztunnel.alive(), 15)
    expect(node.ztunnel.child.returncode == 0, f"exit code {node.ztunnel.child.returncode}")
    node.start_ztunnel("ztunnel.drained", SECRET_TTL=SECRET_TTL)
    wait_until("recovered", lambda: works(scene), 40)


@claim("a new ztunnel beside the old one takes over new connections; the old one drains [C-3, Z-10]")
def overlap(scene):
    node = scene["world"].nodes[0]
    old = node.ztunnel
    with Load(scene, "overlap") as load:
        # The second process cannot share the control ports of the first.
        node.start_ztunnel("ztunnel.second", SECRET_TTL=SECRET_TTL, ADMIN_ADDR="localhost:15100", STATS_ADDR="[::]:15120",
                           READINESS_ADDR="[::]:15121")
        wait_until("the second is ready", lambda: node.get(15121, "/healthz/ready").strip() == "ready", 40)
        old.kill(signal.SIGTERM)
        wait_until("the old one ended", lambda: not old.alive(), 20)
    expect(load.outcome.get("ok", 0) > 0 and sum(v for k, v in load.outcome.items() if k != "ok") == 0, f"outcome {load.outcome}")
    expect(not load.plaintext, "plaintext on the wire")
    second = node.ztunnel
    node.start_ztunnel("ztunnel.third", SECRET_TTL=SECRET_TTL)
    wait_until("the third is ready", node.ready, 40)
    second.kill(signal.SIGTERM)
    wait_until("the second ended", lambda: not second.alive(), 20)


@claim("an app that holds ztunnel's ports before its pod is enrolled changes nothing and hears nothing [S8]")
def squatting(scene):
    w = scene["world"]
    pod = scene["squatter"] = w.pod(2, "in", "squatter", ports=[("app", PORT, True)])
    squatter = pod.start("squatter", PYTHON, APP, "squat", 15001, 15006, 15008)
    wait_until("it holds the ports", lambda: "listening" in squatter.text())
    pod.start("app", PYTHON, APP, "serve", PORT)
    w.apply(pod.manifest())
    w.wait_enrolled()
    with w.sniff() as saw:
        wait_until("reachable", lambda: works(scene, "squatter"))
    expect(not saw(b"echo 0\n"), "the payload was on the wire")
    expect(pod.run(PYTHON, APP, "echo", scene["far"].v4, PORT, 1).returncode == 0, "its own calls fail")
    expect("taken" not in squatter.text(), f"an app was given what is ztunnel's: {squatter.text()}")
    w.delete("Pod", "squatter", "in")
    pod.delete()


@claim("a pod that is deleted takes its connections with it; its label gone, a pod leaves the mesh and still works [R-15]")
def leaving(scene):
    w = scene["world"]
    gone = w.pod(2, "in", "gone", ports=[("app", PORT, True)])
    w.apply(gone.manifest())
    gone.start("app", PYTHON, APP, "serve", PORT)
    w.wait_enrolled()
    scene["gone"] = gone
    wait_until("reachable", lambda: works(scene, "gone"))
    manifest = gone.manifest()
    manifest["metadata"]["labels"]["istio.io/dataplane-mode"] = "none"
    gone.labels["istio.io/dataplane-mode"] = "none"
    w.apply(manifest)
    wait_until("agent took it out", lambda: not next(p for p in w.agent_status(gone.node)["pods"] if p["name"] == "gone")["enrolled"])

    def plain():
        with w.sniff() as saw:
            expect(works(scene, "gone"), "an unenrolled pod is not reachable")
        return saw(b"echo 0\n")
    wait_until("traffic to it is plain TCP again", plain, 20)
    w.delete("Pod", "gone", "in")


@claim("after all this no program has failed an assertion, and each that runs has the descriptors it began with")
def clean(scene):
    w = scene["world"]
    for process in w.processes:
        expect(not defect(process), f"{process.name}: {defect(process)}")
    few = 8  # links and requests that come and go

    def as_at_first():
        counts = {name: (scene["descriptors"][name], descriptors(process)) for name, process in programs(w).items()}
        grown = {name: count for name, count in counts.items() if count[1] > count[0] + few}
        if grown:
            raise RuntimeError(f"descriptors then and now: {grown}")
        print("      descriptors then and now:", counts)
        return True
    wait_until("descriptors are given back", as_at_first, 30, 0.5)


if __name__ == "__main__":
    main(build)
