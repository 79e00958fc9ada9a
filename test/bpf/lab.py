"""A laboratory for the kernel programs: one node, pods and a host beyond it as network namespaces, in a private cgroup.

    n       the node: 10.99.0.1 / fd99::1, a route to every pod; the agent lives here
    r       a host beyond the node: 10.99.2.1 / fd99:2::1
    p1..    pods: 10.99.1.N / fd99:1::N; which of them are enrolled is their manifests' business

Everything carries the process id, so that what a crash left can be removed by the next run. Nothing is
attached to the machine's root cgroup. Who acts inside is an Actor: a child process in one namespace and one
cgroup that does what it is told.
"""
import ctypes
import errno
import json
import os
import pathlib
import pickle
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PREFIX = "cvlab"
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000

SOL_MESH, OPT_REAL_CLIENT, OPT_ROLE, OPT_CLIENT_BOUND = 0x4D53, 1, 2, 3
OUTBOUND, INBOUND, HBONE, DNS = 1, 2, 3, 4
USUAL_PORTS = {OUTBOUND: 15001, INBOUND: 15006, HBONE: 15008}
SO_ORIGINAL_DST = 80
RESERVED = range(15104, 15168)


def skip(reason):
    print(f"SKIPPED: {reason}", flush=True)
    sys.exit(77)


def cgroup2_mount():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return pathlib.Path(where)
    return None


def require_machine():
    if os.geteuid() != 0:
        skip("needs root")
    if not cgroup2_mount():
        skip("needs a cgroup2 mount: mount -t cgroup2 none /sys/fs/cgroup/unified")


def agent_binary():
    return pathlib.Path(os.environ.get("CULVERT_BIN", ROOT / "build/asan/bin")) / "agent"


def sh(*command, check=True):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def wait_until(what, condition, seconds=20.0):
    """Polls; the deadline is a failure that names what was awaited and what was seen last."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except (OSError, KeyError, ValueError) as error:
            last = error
        if last and not isinstance(last, Exception):
            return last
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds:g} s (last: {last!r})")


def enter(namespace):
    with open(f"/run/netns/{namespace}", "rb") as where:
        enter_fd(where.fileno())


def enter_fd(fd):
    if LIBC.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def cv_address(ip, port):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    raw = socket.inet_pton(family, ip)
    return (raw if len(raw) == 16 else b"\0" * 10 + b"\xff\xff" + raw) + struct.pack("=HH", port, 0)


def original_destination(sock):
    """As ztunnel asks: IPv4 first, then IPv6."""
    try:
        raw = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        return socket.inet_ntop(socket.AF_INET, raw[4:8]), struct.unpack(">H", raw[2:4])[0]
    except OSError:
        raw = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack(">H", raw[2:4])[0]


def plain(address):
    """(ip, port) with v4-mapped addresses as IPv4."""
    ip = address[0]
    return (ip[7:] if ip.startswith("::ffff:") and "." in ip else ip), address[1]


class Hands:
    """What an actor can do. Sockets are known by number; what it returns travels by pickle."""

    def __init__(self):
        self.sockets, self.last = {}, 0

    def keep(self, sock):
        self.last += 1
        self.sockets[self.last] = sock
        return self.last

    def socket(self, family="4", kind=socket.SOCK_STREAM, proto=0):
        return self.keep(socket.socket(socket.AF_INET6 if family == "6" else socket.AF_INET, kind, proto))

    def listen(self, ip, port=0, backlog=64, role=None, defer=0):
        sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if role:
            sock.setsockopt(SOL_MESH, OPT_ROLE, struct.pack("=I", role))
        if defer:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, defer)
        sock.bind((ip, port))
        sock.listen(backlog)
        return self.keep(sock), sock.getsockname()[1]

    def accept(self, listener, seconds=5.0):
        self.sockets[listener].settimeout(seconds)
        sock, peer = self.sockets[listener].accept()
        sock.settimeout(10)
        return self.keep(sock), plain(peer)

    def accept_by(self, call, listener):
        """accept or accept4 of the C library, with the address that the call itself wrote."""
        room, size = ctypes.create_string_buffer(28), ctypes.c_int(28)
        more = (0o2000000,) if call == "accept4" else ()  # SOCK_CLOEXEC
        self.sockets[listener].setblocking(True)
        fd = getattr(LIBC, call)(self.sockets[listener].fileno(), room, ctypes.byref(size), *more)
        if fd < 0:
            raise OSError(ctypes.get_errno(), call)
        family, port = struct.unpack("=H", room.raw[:2])[0], struct.unpack(">H", room.raw[2:4])[0]
        raw = room.raw[4:8] if family == socket.AF_INET else room.raw[8:24]
        return self.keep(socket.socket(fileno=fd)), plain((socket.inet_ntop(family, raw), port))

    def open_box(self, path):
        box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        box.bind(path)
        return self.keep(box)

    def give(self, sock, path):
        """Passes a socket to whoever opened that box, and lets go of it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as post:
            post.connect(path)
            socket.send_fds(post, [b"."], [self.sockets[sock].fileno()])
        self.close(sock)

    def receive(self, box):
        return self.keep(socket.socket(fileno=socket.recv_fds(self.sockets[box], 1, 1)[1][0]))

    def accepts_nothing(self, listener, seconds=0.3):
        self.sockets[listener].settimeout(seconds)
        try:
            self.sockets[listener].accept()
            return False
        except TimeoutError:
            return True

    def connect(self, ip, port, family=None, bind=None, seconds=5.0, proto=0, sock=None, client=None,
                reuse=False):
        """family "m": an IPv6 socket to a v4-mapped address."""
        family = family or ("6" if ":" in ip else "4")
        target = f"::ffff:{ip}" if family == "m" else ip
        if sock is None:
            sock = self.socket("4" if family == "4" else "6", proto=proto)
        made = self.sockets[sock]
        made.settimeout(seconds)
        if reuse:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if client is not None:
            made.setsockopt(SOL_MESH, OPT_REAL_CLIENT, cv_address(*client))
        if bind:
            made.bind(bind)
        made.connect((target, port))
        return sock

    def connect_ex(self, *args, **kwargs):
        try:
            return 0, self.connect(*args, **kwargs)
        except TimeoutError:
            return errno.ETIMEDOUT, None
        except OSError as error:
            return error.errno, None

    def connect_many(self, ip, port, count):
        """Non-blocking: how many are under way; all stay open."""
        under_way = 0
        for _ in range(count):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            if sock.connect_ex((ip, port)) == errno.EINPROGRESS:
                under_way += 1
            self.keep(sock)
        return under_way

    def still_connecting(self):
        """Of all sockets: those whose connect has neither succeeded nor failed."""
        states = [s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] for s in self.sockets.values()]
        return sum(1 for state in states if state == 2)  # SYN_SENT

    def close_all(self):
        for sock in self.sockets.values():
            sock.close()
        self.sockets.clear()

    def peer(self, sock):
        return plain(self.sockets[sock].getpeername())

    def name(self, sock):
        return plain(self.sockets[sock].getsockname())

    def original(self, sock):
        return original_destination(self.sockets[sock])

    def client_bound(self, sock):
        return struct.unpack("=I", self.sockets[sock].getsockopt(SOL_MESH, OPT_CLIENT_BOUND, 4))[0]

    def set_option(self, sock, level, name, value):
        self.sockets[sock].setsockopt(level, name, value)

    def get_option(self, sock, level, name, size):
        return self.sockets[sock].getsockopt(level, name, size)

    def bind(self, sock, ip, port):
        self.sockets[sock].bind((ip, port))
        return self.sockets[sock].getsockname()[1]

    def send(self, sock, data):
        self.sockets[sock].sendall(data)

    def recv(self, sock, size=65536, seconds=5.0):
        self.sockets[sock].settimeout(seconds)
        return self.sockets[sock].recv(size)

    def sendto(self, sock, data, ip, port):
        self.sockets[sock].sendto(data, (ip, port))

    def recvfrom(self, sock, seconds=5.0):
        self.sockets[sock].settimeout(seconds)
        data, peer = self.sockets[sock].recvfrom(4096)
        return data, plain(peer)

    def close(self, sock):
        self.sockets.pop(sock).close()

    def reset(self, sock):
        self.sockets[sock].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close(sock)

    def raw_frame(self, interface, frame):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind((interface, 0))
            wire.send(frame)

    def file_limit(self, count):
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    def pid(self):
        return os.getpid()


class Actor:
    """A child process in a namespace and a cgroup. Attributes are the methods of its Hands, run over there."""

    def __init__(self, lab, namespace, group, hands=Hands, program=None):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lab.actors.append(self)
        self.child = None
        if program:  # another executable, which imports this module and does the same
            code = (f"import sys; sys.path[:0] = {[str(pathlib.Path(__file__).parent)]!r}; import lab, standin; "
                    f"lab.serve({theirs.fileno()}, lab.{hands.__name__} if hasattr(lab, {hands.__name__!r}) else standin.{hands.__name__})")
            self.child = subprocess.Popen([str(program), "-c", code], pass_fds=[theirs.fileno()],
                                     preexec_fn=lambda: self.settle(lab, namespace, group))
            self.child_pid = self.child.pid
        else:
            self.child_pid = os.fork()
            if self.child_pid == 0:
                ours.close()
                try:
                    self.settle(lab, namespace, group)
                    serve(theirs.fileno(), hands)
                except BaseException:  # pylint: disable=broad-except
                    traceback.print_exc()
                    sys.stderr.flush()
                    os._exit(1)
                os._exit(0)
        theirs.close()
        self.wire = ours
        self.alive = True
        self.pid()  # it is where it should be, before anybody pulls the place away

    @staticmethod
    def settle(lab, namespace, group):
        (lab.cgroup / group / "cgroup.procs").write_text(str(os.getpid()))
        enter(lab.full(namespace))
        LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: gone when the test is

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self.wire.send(pickle.dumps((name, args, kwargs)))
            self.wire.settimeout(60)
            ok, value = pickle.loads(self.wire.recv(1 << 20))
            if ok:
                return value
            raise value
        return call

    def kill(self, sig=signal.SIGKILL):
        if self.alive:
            os.kill(self.child_pid, sig)
            if sig == signal.SIGKILL:
                self.child.wait() if self.child else os.waitpid(self.child_pid, 0)
                self.alive = False
                self.wire.close()


def serve(fd, hands_type):
    wire = socket.socket(fileno=fd)
    hands = hands_type()
    while True:
        packet = wire.recv(1 << 20)
        if not packet:
            return
        name, args, kwargs = pickle.loads(packet)
        try:
            answer = (True, getattr(hands, name)(*args, **kwargs))
        except OSError as error:
            answer = (False, OSError(error.errno, f"{name}: {error.strerror or error}") if error.errno else TimeoutError(name))
        except Exception:  # pylint: disable=broad-except
            answer = (False, AssertionError(traceback.format_exc()))
        wire.send(pickle.dumps(answer))


class Lab:
    def __init__(self):
        require_machine()
        if not agent_binary().exists():
            skip(f"{agent_binary()} is not built")
        self.tag = f"{PREFIX}{os.getpid()}"
        self.remove_leftovers()
        self.cgroup = cgroup2_mount() / self.tag
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.tag}.", dir="/run"))
        self.manifests = self.dir / "manifests"
        self.manifests.mkdir()
        self.zds = self.dir / "zds.sock"
        self.actors, self.pods, self.agent, self.agents = [], {}, None, 0
        for group in ("", "pods", "node"):
            (self.cgroup / group).mkdir()
        self.add_namespace("n")
        self.add_namespace("r")
        self.join("n", "r", "nr", {"n": ("10.99.2.2/24", "fd99:2::2/64"), "r": ("10.99.2.1/24", "fd99:2::1/64")})
        sh("ip", "-n", self.full("r"), "route", "add", "10.99.1.0/24", "via", "10.99.2.2")
        sh("ip", "-n", self.full("r"), "route", "add", "fd99:1::/64", "via", "fd99:2::2")
        self.hands = self.actor("n", "node")

    def full(self, name):
        return f"{self.tag}-{name}"

    @staticmethod
    def remove_leftovers():
        """Of runs whose process is gone."""
        def dead(name):
            digits = "".join(c for c in name[len(PREFIX):].split("-")[0].split(".")[0] if c.isdigit())
            return name.startswith(PREFIX) and digits and not pathlib.Path(f"/proc/{digits}").exists()

        for entry in list(pathlib.Path("/run/netns").glob(f"{PREFIX}*")) if pathlib.Path("/run/netns").exists() else []:
            if dead(entry.name):
                sh("ip", "netns", "del", entry.name, check=False)
        for entry in pathlib.Path("/run").glob(f"{PREFIX}*"):
            if dead(entry.name):
                remove_run_directory(entry)
        for entry in cgroup2_mount().glob(f"{PREFIX}*"):
            if dead(entry.name):
                remove_group(entry)

    def add_namespace(self, name):
        sh("ip", "netns", "add", self.full(name))
        sh("ip", "-n", self.full(name), "link", "set", "lo", "up")
        for key in ("net.ipv6.conf.all.forwarding=1", "net.ipv4.ip_forward=1", "net.ipv6.conf.default.accept_dad=0"):
            sh("ip", "netns", "exec", self.full(name), "sysctl", "-qw", key)

    def join(self, a, b, link, addresses):
        sh("ip", "link", "add", link, "netns", self.full(a), "type", "veth", "peer", "name", "eth0" if b.startswith("p") else link,
           "netns", self.full(b))
        for name, device in ((a, link), (b, "eth0" if b.startswith("p") else link)):
            for address in addresses.get(name, ()):
                sh("ip", "-n", self.full(name), "addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
            sh("ip", "-n", self.full(name), "link", "set", device, "up")

    def add_pod(self, number, v6=True, **manifest):
        name = f"p{number}"
        self.add_namespace(name)
        v4, ip6 = f"10.99.1.{number}", f"fd99:1::{number}"
        self.join("n", name, f"v{number}", {name: [f"{v4}/32"] + ([f"{ip6}/128"] if v6 else []), "n": ["10.99.0.1/32", "fd99::1/128"]})
        node, pod = self.full("n"), self.full(name)
        sh("ip", "-n", node, "route", "add", f"{v4}/32", "dev", f"v{number}", "src", "10.99.0.1")
        sh("ip", "-n", pod, "route", "add", "10.99.0.1", "dev", "eth0")
        sh("ip", "-n", pod, "route", "add", "default", "via", "10.99.0.1", "dev", "eth0")
        if v6:
            sh("ip", "-n", node, "-6", "route", "add", f"{ip6}/128", "dev", f"v{number}", "src", "fd99::1")
            sh("ip", "-n", pod, "-6", "route", "add", "fd99::1", "dev", "eth0")
            sh("ip", "-n", pod, "-6", "route", "add", "default", "via", "fd99::1", "dev", "eth0")
        self.pods[name] = {"v4": v4, "v6": ip6, "ips": [v4] + ([ip6] if v6 else []), **manifest}
        self.write_pod(name)
        return name

    def write_pod(self, name, enrolled=None, strict=None, **changes):
        pod = self.pods[name]
        pod.update(changes)
        if enrolled is not None:
            pod["enrolled"] = enrolled
        annotations = {"culvert.io/network-namespace": f"/run/netns/{self.full(name)}", **pod.get("annotations", {})}
        container = {"name": "app"}
        if pod.get("probe"):
            container["readinessProbe"] = {"tcpSocket": {"port": pod["probe"]}}
        labels = {"app": name, **({"istio.io/dataplane-mode": "ambient"} if pod.get("enrolled", True) else {})}
        documents = [{"apiVersion": "v1", "kind": "Pod",
                      "metadata": {"name": name, "namespace": "lab", "labels": labels, "annotations": annotations},
                      "spec": {"nodeName": "node1", "serviceAccountName": "sa", "containers": [container]},
                      "status": {"podIPs": [{"ip": ip} for ip in pod["ips"]]}}]
        if strict:
            documents.append({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                              "metadata": {"name": name, "namespace": "lab"},
                              "spec": {"selector": {"matchLabels": {"app": name}}, "mtls": {"mode": "STRICT"}}})
        draft = self.manifests / f".{name}.draft"
        draft.write_text("\n---\n".join(json.dumps(d) for d in documents))
        draft.rename(self.manifests / f"{name}.yaml")

    def remove_pod_manifest(self, name):
        (self.manifests / f"{name}.yaml").unlink()

    # -- who acts
    def actor(self, namespace, group="pods", hands=Hands, program=None):
        return Actor(self, namespace, group, hands, program)

    def agent_flags(self, command=()):
        return [str(agent_binary()), *command, "--node-name", "node1", "--manifests", str(self.manifests),
                "--run-dir", str(self.dir), "--zds-socket", str(self.zds), "--capture-cgroup", str(self.cgroup),
                "--node-namespace", f"/run/netns/{self.full('n')}", "--ztunnel-program", os.path.realpath("/proc/self/exe"),
                "--pods-cgroup", str(self.cgroup / "pods"), "--control", "127.0.0.1:15019"]

    def start_agent(self, *flags):
        self.agents += 1
        self.log = self.dir / f"agent{self.agents}.log"
        with open(self.log, "wb") as log:
            self.agent = subprocess.Popen(
                [*self.agent_flags(), *flags], stdout=log, stderr=log,
                preexec_fn=lambda: LIBC.prctl(1, signal.SIGKILL))
        wait_until(f"the agent listens ({self.log})", lambda: self.alive() and self.zds.exists() and self.status())

    def alive(self):
        if self.agent.poll() is not None:
            raise AssertionError(f"the agent ended with {self.agent.returncode}:\n{self.log.read_text()[-4000:]}")
        return True

    def stop_agent(self, sig=signal.SIGTERM):
        self.agent.send_signal(sig)
        self.agent.wait(20)

    def uninstall(self):
        return subprocess.run(self.agent_flags(["uninstall"]), capture_output=True, text=True, check=False)

    def fetch(self, path):
        answer = {}

        def ask():
            try:
                enter(self.full("n"))
                with urllib.request.urlopen(f"http://127.0.0.1:15019{path}", timeout=5) as response:
                    answer["body"] = response.read().decode()
            except OSError as error:
                answer["error"] = error
        thread = threading.Thread(target=ask)  # a thread has a namespace of its own
        thread.start()
        thread.join()
        if "error" in answer:
            raise answer["error"]
        return answer["body"]

    def status(self):
        return json.loads(self.fetch("/status"))

    def pod_status(self, name):
        return {pod["name"]: pod for pod in self.status()["pods"]}[name]

    def outcome(self, word):
        return self.status()["outcomes"][word]

    def wait_enrolled(self, *names):
        for name in names:
            wait_until(f"{name} is enrolled and served",
                       lambda n=name: self.pod_status(n)["enrolled"] and len(self.pod_status(n)["listeners"]) >= 3)

    def mac(self, namespace, device):
        return json.loads(sh("ip", "-n", self.full(namespace), "-j", "link", "show", "dev", device))[0]["address"]

    def entries(self, outer):
        """How many entries all pods' inner maps of that name hold."""
        count = 0
        for slot in json.loads(sh("bpftool", "-j", "map", "dump", "pinned", self.dir / "bpf/v1" / outer)):
            if "value" in slot:
                number = int.from_bytes(bytes(int(byte, 16) for byte in slot["value"]), sys.byteorder)
                count += len(json.loads(sh("bpftool", "-j", "map", "dump", "id", number)))
        return count

    def check_nothing_is_left(self):
        """No record, pending client or approval outlives its connection."""
        names = ("cv_records", "cv_pendings", "cv_approvals")
        try:
            wait_until("nothing is left", lambda: not any(self.entries(name) for name in names), 5)
        except AssertionError as error:
            sockets = "".join(f"{name}:\n" + sh("ip", "netns", "exec", self.full(name), "ss", "-Htanpoe") for name in ("n", *self.pods))
            raise AssertionError(f"left: { {name: self.entries(name) for name in names} }\n{sockets}") from error

    def pins(self):
        return sorted(p.name for p in (self.dir / "bpf" / "links").glob("*"))

    # -- the end
    def close(self):
        for actor in self.actors:
            actor.kill()
        if self.agent and self.agent.poll() is None:
            self.stop_agent(signal.SIGKILL)
        if os.environ.get("CULVERT_KEEP_LOGS"):
            shutil.copytree(self.dir, f"/tmp/{self.tag}.logs", ignore=shutil.ignore_patterns("bpf", "*.sock"), dirs_exist_ok=True)
        remove_run_directory(self.dir)
        remove_group(self.cgroup)
        for namespace in pathlib.Path("/run/netns").glob(f"{self.tag}-*"):
            sh("ip", "netns", "del", namespace.name, check=False)


def remove_run_directory(path):
    sh("umount", "-l", path / "bpf", check=False)
    shutil.rmtree(path, ignore_errors=True)


def remove_group(path):
    for group in sorted(path.rglob("*"), reverse=True):
        if group.is_dir():
            try:
                group.rmdir()
            except OSError:
                pass
    try:
        path.rmdir()
    except OSError:
        pass
