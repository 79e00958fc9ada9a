"""A small world of network namespaces in which the real programs run: nodes on a bridge, pods behind their nodes, dual-stack.

    net namespace      bridge br0, the wire between nodes (sniffed); the controller hangs on it too
    node namespaces    10.88.0.N / fd88::N on the wire; one veth with a host route to each pod; unbound; agent; ztunnel
    pod namespaces     10.88.N.M/32, fd88:N::M/128; default route to the node; their own cgroup below the node's

Everything that a world makes carries its id (the creator's process id unless named), so that a later run can remove what a crash
left. Whoever makes a world claims its id first: a second one with that id is refused while the first lives or was asked to stay.
BPF is attached to the node's cgroup of this world, never to the machine's root.
"""
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PREFIX = "cv"
RUN = pathlib.Path("/run/culvert-world")
RESERVED = 100  # 10.88.0.100: the controller


def cgroup2_mount():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return pathlib.Path(where)
    raise RuntimeError("no cgroup2 mount: Culvert needs one (mount -t cgroup2 none /sys/fs/cgroup/unified)")


def sh(*command, check=True, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def wait_until(what, condition, seconds=20.0, every=0.05):
    """Polls `condition` until it is true; the deadline is a failure that names what was awaited and what was last seen."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except Exception as error:  # pylint: disable=broad-except  (a server that is not up yet)
            last = error
        if last and not isinstance(last, Exception):
            return last
        time.sleep(every)
    raise TimeoutError(f"{what}: not within {seconds:g} s (last: {last!r})")


class Process:
    """A process in a namespace and cgroup of the world, with its output in a file."""

    def __init__(self, world, name, command, namespace=None, cgroup=None, remount=True, env=None, user=None, stdin=None):
        self.name = name
        self.log = world.logs / f"{name}.log"
        command = [str(c) for c in command]
        if user:
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command]
        if namespace:
            # `ip netns exec` brings the pod's resolv.conf but hides /sys/fs/cgroup; nsenter leaves mounts alone.
            inner = ["ip", "netns", "exec", namespace] if remount else ["nsenter", f"--net=/run/netns/{namespace}"]
            command = inner + command

        def enter():
            os.setsid()
            if cgroup:
                (cgroup / "cgroup.procs").write_text(str(os.getpid()))

        # ztunnel's limit of descriptors and the like are inherited; LeakSanitizer cannot run without ptrace rights.
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0:abort_on_error=1", **(env or {}))
        self.file = open(self.log, "ab")
        self.child = subprocess.Popen(command, stdin=stdin or subprocess.DEVNULL, stdout=self.file, stderr=subprocess.STDOUT,
                                      preexec_fn=enter, env=environment, cwd=world.dir)
        world.remember_pid(self.child.pid)

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def text(self):
        return self.log.read_text(errors="replace")

    def kill(self, how=signal.SIGKILL):
        if self.alive():
            self.child.send_signal(how)

    def stop(self, seconds=10):
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGTERM)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()
        self.file.close()
        return self.child.returncode


class Pod:
    def __init__(self, world, node, namespace, name, labels=None, service_account=None, annotations=None, ports=()):
        self.world, self.node, self.namespace, self.name = world, node, namespace, name
        self.labels = labels or {"app": name}
        self.service_account = service_account or name
        self.annotations = annotations or {}
        self.ports = ports  # [(name, number, probe?)]
        self.number = node.next_pod()
        self.v4 = f"10.88.{node.number}.{self.number}"
        self.v6 = f"fd88:{node.number}::{self.number:x}"
        self.netns = world.name(f"{namespace[:6]}-{name}"[:20])
        self.cgroup = node.cgroup / "pods" / f"{namespace}.{name}"
        self._build()

    def _build(self):
        w = self.world
        self.cgroup.mkdir(parents=True)
        w.netns(self.netns, resolver=self.node.v4, search=[f"{self.namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"])
        inside, host = "eth0", f"v{self.number}"
        sh("ip", "link", "add", host, "netns", self.node.netns, "type", "veth", "peer", "name", inside, "netns", self.netns)
        w.ip(self.node.netns, f"""
            addr add 169.254.1.1/32 dev {host}
            link set {host} up
            addr add fe80::1/64 dev {host} nodad
            route add {self.v4}/32 dev {host} src {self.node.v4}
            -6 route add {self.v6}/128 dev {host} src {self.node.v6}""")
        w.ip(self.netns, f"""
            link set lo up
            addr add {self.v4}/32 dev {inside}
            addr add {self.v6}/128 dev {inside} nodad
            link set {inside} up
            route add 169.254.1.1 dev {inside} scope link
            route add default via 169.254.1.1 dev {inside}
            -6 route add default via fe80::1 dev {inside}""")

    def manifest(self):
        ports = [{"name": n, "containerPort": p} for n, p, _ in self.ports]
        container = {"name": "main", "image": "local", "ports": ports}
        probes = [p for _, p, probe in self.ports if probe]
        if probes:
            container["readinessProbe"] = {"tcpSocket": {"port": probes[0]}}
        return {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": self.labels,
                         "uid": f"{self.world.id}-{self.namespace}-{self.name}",
                         "annotations": {"culvert.io/network-namespace": f"/run/netns/{self.netns}", **self.annotations}},
            "spec": {"nodeName": self.node.name, "serviceAccountName": self.service_account, "containers": [container]},
            "status": {"phase": "Running", "podIP": self.v4, "podIPs": [{"ip": self.v4}, {"ip": self.v6}],
                       "conditions": [{"type": "Ready", "status": "True"}]},
        }

    def start(self, name, *command, **options):
        return self.world.process(f"{self.namespace}.{self.name}.{name}", command, namespace=self.netns, cgroup=self.cgroup, **options)

    def run(self, *command, seconds=20, check=False, data=None):
        """Runs a command inside the pod (its cgroup, namespace, resolver) to its end."""
        def enter():
            (self.cgroup / "cgroup.procs").write_text(str(os.getpid()))
        try:
            done = subprocess.run(["ip", "netns", "exec", self.netns, *map(str, command)], capture_output=True, text=True,
                                  check=False, timeout=seconds, preexec_fn=enter, input=data)
        except subprocess.TimeoutExpired as late:
            done = subprocess.CompletedProcess(command, 124, (late.stdout or b"").decode(errors="replace"), f"timed out after {seconds} s")
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(map(str, command))}: {done.returncode} {done.stderr.strip()} {done.stdout.strip()}")
        return done

    def delete(self):
        self.world.pods.remove(self)
        sh("ip", "netns", "del", self.netns)
        shutil.rmtree(f"/etc/netns/{self.netns}", ignore_errors=True)


class Node:
    def __init__(self, world, number):
        self.world, self.number = world, number
        self.name = f"node{number}"
        self.v4, self.v6 = f"10.88.0.{number}", f"fd88::{number}"
        self.netns = world.name(self.name)
        self.cgroup = world.cgroup / self.name
        self.run_dir = world.dir / self.name
        self.pod_count = 1
        self.agent = self.ztunnel = self.resolver = None
        self._build()

    def next_pod(self):
        self.pod_count += 1
        return self.pod_count

    def _build(self):
        w = self.world
        (self.cgroup / "system").mkdir(parents=True)
        (self.cgroup / "pods").mkdir()
        self.run_dir.mkdir()
        w.netns(self.netns)
        w.wire(self.netns, self.v4, self.v6)
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            sh("ip", "netns", "exec", self.netns, "sysctl", "-qw", f"{key}=1")
        for other in w.nodes:
            self._route_to(other)
            other._route_to(self)

    def _route_to(self, other):
        self.world.ip(self.netns, f"""
            route add 10.88.{other.number}.0/24 via {other.v4}
            -6 route add fd88:{other.number}::/64 via {other.v6}""")

    def manifest(self):
        return {"apiVersion": "v1", "kind": "Node",
                "metadata": {"name": self.name, "labels": {"topology.kubernetes.io/region": "r1", "topology.kubernetes.io/zone": f"z{self.number}"}},
                "status": {"addresses": [{"type": "InternalIP", "address": self.v4}, {"type": "InternalIP", "address": self.v6}]}}

    def start_resolver(self):
        """unbound answers for what the mesh does not know: one name, `outside.example`, and NXDOMAIN else."""
        conf = self.run_dir / "unbound.conf"
        conf.write_text(f"""server:
  interface: {self.v4}
  interface: {self.v6}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  username: ""
  chroot: ""
  directory: "{self.run_dir}"
  pidfile: "{self.run_dir}/unbound.pid"
  use-syslog: no
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "." static
  local-data: "outside.example. 60 IN A 192.0.2.7"
  local-data: "outside.example. 60 IN TXT 'not of the mesh'"
remote-control:
  control-enable: no
""")
        self.resolver = self.world.process(f"{self.name}.unbound", ["unbound", "-d", "-c", conf], namespace=self.netns,
                                           cgroup=self.cgroup / "system", remount=False)

    def start_agent(self, *extra):
        w = self.world
        self.agent = w.process(f"{self.name}.agent", [
            w.bin("agent"), "--node-name", self.name, "--manifests", w.manifests,
            "--run-dir", self.run_dir, "--bpf-dir", self.run_dir / "bpf", "--zds-socket", self.run_dir / "zds.sock",
            "--cgroup", self.cgroup / "ztunnel", "--capture-cgroup", self.cgroup,
            "--controller", w.controller_address, "--token", w.state / "nodes" / self.name / "token",
            "--root-cert", w.state / "nodes" / self.name / "root-cert.pem", *extra,
        ], namespace=self.netns, cgroup=self.cgroup / "system", remount=False)
        return self.agent

    def start_ztunnel(self, name="ztunnel", **env):
        w = self.world
        secrets = w.state / "nodes" / self.name
        self.ztunnel = w.process(f"{self.name}.{name}", [w.bin("ztunnel"), "proxy"], namespace=self.netns,
                                 cgroup=self.cgroup / "system", remount=False, env={
            "NODE_NAME": self.name, "XDS_ADDRESS": f"https://{w.controller_address}", "CA_ADDRESS": f"https://{w.controller_address}",
            "XDS_ROOT_CA": str(secrets / "root-cert.pem"), "CA_ROOT_CA": str(secrets / "root-cert.pem"),
            "AUTH_TOKEN": str(secrets / "token"), "INPOD_UDS": str(self.run_dir / "zds.sock"), "ZTUNNEL_WORKER_THREADS": "1",
            "POD_NAME": f"ztunnel-{self.name}", "POD_NAMESPACE": "culvert-system", "INSTANCE_IP": self.v4,
            "CULVERT_RESOLVERS": f"{self.v4}:53", "RUST_LOG": "info", **env})
        return self.ztunnel

    def run(self, *command, seconds=20):
        """A process of the node itself, as the kubelet is: in the node's namespace, outside every pod's cgroup."""
        def enter():
            (self.cgroup / "system" / "cgroup.procs").write_text(str(os.getpid()))
        return subprocess.run(["nsenter", f"--net=/run/netns/{self.netns}", *map(str, command)], capture_output=True, text=True,
                              check=False, timeout=seconds, preexec_fn=enter)

    def get(self, port, path, method="GET", seconds=5):
        """HTTP to a control port in the node's namespace."""
        done = self.run("curl", "-sS", "-m", seconds, "-X", method, f"http://localhost:{port}{path}", seconds=seconds + 5)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}:{port}{path}: {done.stderr.strip()}")
        return done.stdout

    def ready(self):
        return self.get(15021, "/healthz/ready").strip() == "ready"

    def access_log(self):
        return "".join(p.read_text(errors="replace") for p in sorted(self.world.logs.glob(f"{self.name}.ztunnel*.log")))


class World:
    def __init__(self, build="release", world_id=None, nodes=2):
        self.id = world_id or f"{os.getpid()}"
        self.build = build
        self.dir = RUN / self.id
        self.logs, self.manifests, self.state = self.dir / "logs", self.dir / "manifests", self.dir / "state"
        self.cgroup = cgroup2_mount() / f"culvert-{self.id}"
        self.processes, self.nodes, self.pods, self.objects = [], [], [], {}
        self.controller = None
        self.controller_address = f"10.88.0.{RESERVED}:15012"
        self.node_count = nodes

    # -- building and tearing down ------------------------------------------------------------------------------------
    def __enter__(self):
        with claiming():
            sweep()
            holder = holder_of(self.id)
            if holder:
                raise Busy(holder)
            remove(self.id)
            self.dir.mkdir()
            (self.dir / "creator").write_text(f"{os.getpid()} {start_time(os.getpid())} {ROOT}")
        try:
            for folder in (self.logs, self.manifests):
                folder.mkdir()
            self.cgroup.mkdir()
            self.wire_netns = self.name("net")
            self.netns(self.wire_netns)
            self.ip(self.wire_netns, "link add br0 type bridge\nlink set br0 up")
            self.controller_netns = self.name("ctl")
            self.netns(self.controller_netns)
            self.wire(self.controller_netns, f"10.88.0.{RESERVED}", f"fd88::{RESERVED:x}")
            for number in range(1, self.node_count + 1):
                self.nodes.append(Node(self, number))
            for node in self.nodes:
                self.apply(node.manifest())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, error, trace):
        if error is not None and os.environ.get("CULVERT_KEEP_LOGS"):
            shutil.copytree(self.logs, os.environ["CULVERT_KEEP_LOGS"], dirs_exist_ok=True)
        self.close()

    def close(self):
        for process in reversed(self.processes):
            with contextlib.suppress(Exception):
                process.stop(5)
        with claiming():
            remove(self.id)

    def name(self, what):
        return f"{PREFIX}{self.id}-{what}"

    def netns(self, name, resolver=None, search=()):
        if resolver:
            etc = pathlib.Path("/etc/netns") / name
            etc.mkdir(parents=True, exist_ok=True)
            (etc / "resolv.conf").write_text(f"nameserver {resolver}\nsearch {' '.join(search)}\noptions ndots:5 timeout:2 attempts:2\n")
        sh("ip", "netns", "add", name)
        self.ip(name, "link set lo up")
        # What must be equal for every run: a new namespace takes the machine's, which may be bbr (docs/kernel.md fact 7).
        sh("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_congestion_control=cubic", check=False)

    def ip(self, netns, batch):
        lines = "\n".join(line.strip() for line in batch.strip().splitlines())
        plain = "\n".join(l for l in lines.splitlines() if not l.startswith("-6 "))
        six = "\n".join(l[3:] for l in lines.splitlines() if l.startswith("-6 "))
        sh("ip", "-n", netns, "-b", "-", input=plain)
        if six:
            sh("ip", "-6", "-n", netns, "-b", "-", input=six)

    def wire(self, netns, v4, v6):
        host = f"w{v4.split('.')[-1]}"
        sh("ip", "link", "add", host, "netns", self.wire_netns, "type", "veth", "peer", "name", "wire0", "netns", netns)
        self.ip(self.wire_netns, f"link set {host} master br0\nlink set {host} up")
        self.ip(netns, f"addr add {v4}/24 dev wire0\naddr add {v6}/64 dev wire0 nodad\nlink set wire0 up")
        # The controller and whoever stands on the wire reach pods through their node.
        if v4 == f"10.88.0.{RESERVED}":
            for number in range(1, self.node_count + 1):
                self.ip(netns, f"route add 10.88.{number}.0/24 via 10.88.0.{number}\n-6 route add fd88:{number}::/64 via fd88::{number}")

    def pod(self, node, namespace, name, **options):
        pod = Pod(self, self.nodes[node - 1], namespace, name, **options)
        self.pods.append(pod)
        return pod

    # -- programs -------------------------------------------------------------------------------------------------------
    def bin(self, name):
        build = os.environ.get("CULVERT_BUILD_DIR") or ROOT / "build" / self.build
        return pathlib.Path(build).resolve() / "bin" / name

    def process(self, name, command, **options):
        process = Process(self, name, command, **options)
        self.processes.append(process)
        return process

    def remember_pid(self, pid):
        with open(self.dir / "pids", "a", encoding="ascii") as pids:
            pids.write(f"{pid} {start_time(pid)}\n")

    def start_controller(self, *extra):
        self.controller = self.process("controller", [
            self.bin("controller"), "--manifests", self.manifests, "--state-dir", self.state,
            "--serving-name", self.controller_address.split(":", maxsplit=1)[0], "--status", "[::]:15014", *extra,
        ], namespace=self.controller_netns, remount=False)
        wait_until("node tokens", lambda: all((self.state / "nodes" / n.name / "token").exists() for n in self.nodes))
        wait_until("controller ready", lambda: self.controller_get("/healthz/ready").strip().startswith("ready"))
        return self.controller

    def controller_get(self, path):
        done = sh("nsenter", f"--net=/run/netns/{self.controller_netns}", "curl", "-sS", "-f", "-m", "5", f"http://localhost:15014{path}")
        return done.stdout

    def start_mesh(self, **env):
        """Controller, then on each node resolver, agent and ztunnel; returns when every node is ready."""
        self.start_controller()
        for node in self.nodes:
            node.start_resolver()
            node.start_agent()
            wait_until(f"ZDS socket of {node.name}", (node.run_dir / "zds.sock").exists)
            node.start_ztunnel(**env)
        for node in self.nodes:
            wait_until(f"ztunnel of {node.name} ready", node.ready, 40)
        self.wait_enrolled()

    def agent_status(self, node):
        return json.loads(node.get(15019, "/status"))

    def wait_enrolled(self, seconds=40):
        """Every pod that should be in the mesh is, says its agent, and both ztunnels have heard of it as HBONE."""
        wanted = [p for p in self.pods if self.should_enrol(p)]

        def known():
            for node in self.nodes:
                dump = json.loads(node.get(15000, "/config_dump"))
                hbone = {(w["namespace"], w["name"]) for w in dump["workloads"] if w.get("protocol") == "HBONE"}
                missing = [p.name for p in wanted if (p.namespace, p.name) not in hbone]
                if missing:
                    raise RuntimeError(f"{node.name} does not know as HBONE: {missing}")
            return True
        wait_until("every enrolled pod is HBONE everywhere", known, seconds)

    def should_enrol(self, pod):
        own = pod.labels.get("istio.io/dataplane-mode")
        space = self.objects.get(("Namespace", "", pod.namespace), {}).get("metadata", {}).get("labels", {})
        return own == "ambient" or (own is None and space.get("istio.io/dataplane-mode") == "ambient")

    # -- manifests --------------------------------------------------------------------------------------------------------
    def apply(self, *objects):
        """Writes each object as a file of its own, atomically."""
        for o in objects:
            meta = o["metadata"]
            self.objects[(o["kind"], meta.get("namespace", ""), meta["name"])] = o
            path = self.manifests / f"{o['kind'].lower()}.{meta.get('namespace', '')}.{meta['name']}.yaml"
            draft = path.with_suffix(".tmp")
            draft.write_text(as_yaml(o))
            draft.rename(path)

    def delete(self, kind, name, namespace=""):
        del self.objects[(kind, namespace, name)]
        (self.manifests / f"{kind.lower()}.{namespace}.{name}.yaml").unlink()

    def namespace(self, name, ambient=True):
        labels = {"istio.io/dataplane-mode": "ambient"} if ambient else {}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})

    def service(self, namespace, name, v4, v6, ports, selector=None):
        self.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                    "spec": {"clusterIP": v4, "clusterIPs": [v4, v6], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack",
                             "selector": selector or {"app": name},
                             "ports": [{"name": n, "port": p, "targetPort": t} for n, p, t in ports]}})

    # -- looking on -------------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def sniff(self, netns=None, interface="br0"):
        """Captures whole packets while the body runs; yields a function that says whether bytes were seen in the clear."""
        path = self.dir / f"sniff.{time.monotonic_ns()}.pcap"
        command = ["nsenter", f"--net=/run/netns/{netns or self.wire_netns}", "tcpdump", "-U", "--immediate-mode", "-n", "-s", "0",
                   "-i", interface, "-w", str(path)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as dump:
            for line in dump.stderr:
                if "listening on" in line:
                    break
            seen = {"bytes": b""}

            def saw(marker):
                return marker in seen["bytes"]
            try:
                yield saw
            finally:
                time.sleep(0.3)  # each packet is delivered at once and written at once; this is slack
                dump.send_signal(signal.SIGINT)
                dump.wait(10)
                seen["bytes"] = path.read_bytes()
                path.unlink()


def start_time(pid):
    """Ticks since boot at which a process started: with the pid, a name that is never used twice."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return "0"


def remove(world_id):
    """Takes away all that a world made; processes by their recorded id and start time, and whoever is in its cgroups."""
    directory = RUN / world_id
    cgroup = cgroup2_mount() / f"culvert-{world_id}"
    with contextlib.suppress(OSError):
        for line in (directory / "pids").read_text().splitlines():
            pid, started = line.split()
            if started != "0" and start_time(pid) == started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
    if cgroup.exists():
        for _ in range(50):
            members = [int(p) for f in cgroup.rglob("cgroup.procs") for p in f.read_text().split()]
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not members:
                break
            time.sleep(0.05)
    for mount in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        where = mount.split()[1]
        if where.startswith(f"{directory}/"):
            sh("umount", "-l", where, check=False)
    for line in sh("ip", "netns", "list").stdout.splitlines():
        name = line.split()[0]
        if name.startswith(f"{PREFIX}{world_id}-"):
            sh("ip", "netns", "del", name, check=False)
    for folder in pathlib.Path("/etc/netns").glob(f"{PREFIX}{world_id}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    if cgroup.exists():
        for folder in sorted(cgroup.rglob("*"), key=lambda p: -len(p.parts)):
            if folder.is_dir():
                with contextlib.suppress(OSError):
                    folder.rmdir()
        with contextlib.suppress(OSError):
            cgroup.rmdir()
    shutil.rmtree(directory, ignore_errors=True)


class Busy(RuntimeError):
    """The id of this world is taken; the text says by whom."""


@contextlib.contextmanager
def claiming():
    """One process at a time looks at who holds which world, and changes it. The directory of worlds goes with the last world."""
    while True:
        RUN.mkdir(exist_ok=True)
        lock = os.open(RUN, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(RUN).st_ino == os.fstat(lock).st_ino:
                break
        os.close(lock)  # somebody removed it while we waited
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            RUN.rmdir()
        os.close(lock)


def creator_of(world_id):
    """(process id, checkout) of whoever made the world and lives; None when nobody does."""
    with contextlib.suppress(OSError, ValueError):
        pid, *more = (RUN / world_id / "creator").read_text().split(maxsplit=2)
        started, checkout = more or (start_time(pid), "an older checkout")
        if started == start_time(pid) != "0":
            return int(pid), checkout
    return None


def holder_of(world_id):
    """Who has this world, in words; empty when nobody has."""
    creator = creator_of(world_id)
    if creator:
        return f"pid {creator[0]}, {creator[1]}"
    if (RUN / world_id / "stay").exists():
        return f"kept, {' '.join((RUN / world_id / 'creator').read_text().split()[2:])}"
    return ""


def sweep():
    """Removes the worlds whose creator is gone (a crash, a kill -9), except those that were asked to stay. With claiming() held."""
    for folder in RUN.iterdir():
        if (folder / "creator").exists() and not holder_of(folder.name):
            remove(folder.name)


def stop(world_id, seconds=30):
    """Ends a world from outside: its creator is asked to first. False when there is none."""
    creator = creator_of(world_id)
    if creator:
        with contextlib.suppress(ProcessLookupError):
            os.kill(creator[0], signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            wait_until("the creator's end", lambda: not creator_of(world_id), seconds)
    with claiming():
        found = bool(creator) or (RUN / world_id).exists() or (cgroup2_mount() / f"culvert-{world_id}").exists()
        remove(world_id)
    return found


class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    def ignore_aliases(self, data):
        return True


def as_yaml(document):
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, default_flow_style=False, width=120)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
