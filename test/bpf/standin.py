"""A stand-in for ztunnel that knows sockets only: ZDS, listeners with roles, private options. It holds connections for the test to
look at, or relays them. No BPF, no map."""
import array
import errno
import os
import select
import socket
import struct
import threading
import time

from lab import (DNS, HBONE, INBOUND, OPT_CLIENT_BOUND, OPT_REAL_CLIENT, OPT_ROLE, OUTBOUND, SOL_MESH,
                 USUAL_PORTS, Hands, cv_address, enter_fd, original_destination, plain, wait_until)


def fields(packet):
    """The length-delimited and varint fields of a protobuf message, last one wins."""
    out, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = packet[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value
    while at < len(packet):
        key = varint()
        if key & 7 == 2:
            size = varint()
            out[key >> 3] = packet[at:at + size]
            at += size
        else:
            out[key >> 3] = varint()
    return out


def ack(error=""):
    inner = b"\x0a" + bytes([len(error)]) + error.encode() if error else b""
    return b"\x0a" + bytes([len(inner)]) + inner


class Ztunnel(Hands):
    def __init__(self):
        super().__init__()
        self.pods, self.said, self.home = {}, [], os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.listeners, self.events, self.zds = {}, [], None
        self.uids, self.closed = {}, set()
        self.mode, self.offset, self.backlog, self.roles = "serve", 0, 64, (OUTBOUND, INBOUND, HBONE)

    # -- ZDS
    def begin(self, path, mode="serve", offset=0, backlog=64):
        """mode: serve, nack (refuse every Add), mute (answer nothing), deaf (answer, but open no listener)."""
        self.mode, self.offset, self.backlog = mode, offset, backlog
        self.zds = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.zds.settimeout(5)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.zds.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.zds.settimeout(None)
        try:
            self.zds.send(b"\x08\x01")  # ZdsHello{V1}
        except BrokenPipeError:
            pass  # sent away already: hear() says so
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        while True:
            try:
                packet, ancillary, _, _ = self.zds.recvmsg(1024, socket.CMSG_SPACE(16))
            except OSError:
                break
            if not packet:
                break
            received = array.array("i")
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    received.frombytes(data[:len(data) - len(data) % 4])
            error = self.obey(fields(packet), list(received))
            if self.mode != "mute":
                try:
                    self.zds.send(ack(error))
                except OSError:
                    break
        self.said.append(("closed", "", 0))

    def obey(self, request, received):
        if 1 in request:
            add = fields(request[1])
            uid, info = add[1].decode(), fields(add[2])
            self.said.append(("add", uid, len(received)))
            if self.mode == "nack":
                return "failure to start proxy : port taken"
            self.pods[uid] = (info[1].decode(), received[0])
            self.uids[info[1].decode()] = uid
            if self.mode in ("serve", "mute") and uid not in self.closed:
                try:
                    self.open_pod(uid)
                except OSError as problem:
                    return f"failure to start proxy : {problem}"
        elif 2 in request:
            uid = fields(request[2])[2].decode()
            self.said.append(("del", uid, len(received)))
            for listener in self.listeners.pop(uid, {}).values():
                listener.close()
            if uid in self.pods:
                os.close(self.pods.pop(uid)[1])  # else the namespace would live as long as we do
        elif 3 in request:
            self.said.append(("snapshot", "", len(received)))
        return ""

    def heard(self):
        return list(self.said)

    def hang_up(self):
        self.zds.shutdown(socket.SHUT_RDWR)
        self.zds.close()

    # -- listeners
    def open_pod(self, uid):
        if uid in self.listeners:
            return  # idempotent (Z-6)
        made = {}
        enter_fd(self.pods[uid][1])
        try:
            for role in self.roles:
                made[role] = self.door(role, USUAL_PORTS[role] + self.offset)
        finally:
            enter_fd(self.home)
        self.listeners[uid] = made

    def door(self, role, port):
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(SOL_MESH, OPT_ROLE, struct.pack("=I", role))
        sock.bind(("::", port))
        sock.listen(self.backlog)
        return sock

    def open_dns(self, pod, port):
        enter_fd(self.pods[self.uid_of(pod)][1])
        try:
            self.listeners[self.uid_of(pod)][DNS] = self.door(DNS, port)
        finally:
            enter_fd(self.home)

    def uid_of(self, pod):
        return self.uids[pod]

    def take(self, pod, role, seconds=5.0):
        """Accepts what was steered to that role's listener of the pod: (socket, peer, original or None)."""
        listener = self.listeners[self.uid_of(pod)][role]
        listener.settimeout(seconds)
        sock, peer = listener.accept()
        sock.settimeout(10)
        try:
            original = original_destination(sock)
        except OSError:
            original = None
        return self.keep(sock), plain(peer), original

    def takes_nothing(self, pod, role, seconds=0.3):
        try:
            self.take(pod, role, seconds)
            return False
        except TimeoutError:
            return True

    def reopen(self, pod):
        """The agent may just be asking again: Del, then Add."""
        uid = self.uid_of(pod)
        self.closed.discard(uid)
        wait_until("ztunnel knows the pod", lambda: uid in self.pods)
        self.open_pod(uid)

    def close_listeners(self, pod):
        """Until reopen(): also when the agent asks again."""
        self.closed.add(self.uid_of(pod))
        for listener in self.listeners.pop(self.uid_of(pod)).values():
            listener.close()

    # -- towards the app and the world
    def dial(self, pod, ip, port, client=None, source=None, seconds=5.0, family=None):
        """From inside the pod's namespace. With `source` bound, as decision 2 says; "no client" leaves the option away."""
        enter_fd(self.pods[self.uid_of(pod)][1])
        try:
            bind = (source, 0) if source else None
            return self.connect(ip, port, client=client, bind=bind, seconds=seconds, family=family)
        finally:
            enter_fd(self.home)

    def dial_ex(self, *args, **kwargs):
        try:
            return 0, self.dial(*args, **kwargs)
        except TimeoutError:
            return errno.ETIMEDOUT, None
        except OSError as error:
            return error.errno, None

    def fill_pendings(self, pod, ip, port, count):
        """Connections that nobody asks about: each keeps its entry until it closes. They need no answer of the app."""
        self.file_limit(count + 1024)
        enter_fd(self.pods[self.uid_of(pod)][1])
        try:
            for i in range(count):
                sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                sock.setsockopt(SOL_MESH, OPT_REAL_CLIENT, cv_address("10.1.2.3", 1 + i))
                sock.bind((f"127.1.{i // 250}.{1 + i % 250}", 0))
                sock.connect_ex((ip, port))
                self.keep(sock)
        finally:
            enter_fd(self.home)

    def wait_bound(self, sock, seconds=2.0):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.client_bound(sock) == 1:
                return True
        return False

    def serve_dns(self, pod, port=15053, announce=False):
        """Answers every datagram with its own bytes behind "dns:"."""
        enter_fd(self.pods[self.uid_of(pod)][1])
        try:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if announce:
                sock.setsockopt(SOL_MESH, OPT_ROLE, struct.pack("=I", DNS))
            sock.bind(("::", port))
        finally:
            enter_fd(self.home)

        def answer():
            while True:
                data, peer = sock.recvfrom(4096)
                sock.sendto(b"dns:" + data, peer)
        threading.Thread(target=answer, daemon=True).start()

    def relay(self, pod):
        """Serves both doors of a pod from now on: outbound to the original destination, inbound to the app with its client."""
        uid = self.uid_of(pod)
        for role in (OUTBOUND, INBOUND):
            listener = self.listeners[uid][role]
            threading.Thread(target=self.accept_all, args=(pod, role, listener), daemon=True).start()

    def accept_all(self, pod, role, listener):
        listener.settimeout(None)
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(pod, role, sock, plain(peer)), daemon=True).start()

    def carry(self, pod, role, app, peer):
        try:
            ip, port = original_destination(app)
            namespace = os.dup(self.pods[self.uid_of(pod)][1])
            enter_fd(namespace)  # this thread's alone
            os.close(namespace)
            v6 = ":" in ip
            other = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
            if role == INBOUND:
                other.setsockopt(SOL_MESH, OPT_REAL_CLIENT, cv_address(*peer))
                other.bind(("::1" if v6 else f"127.{app.fileno() % 250}.9.1", 0))
            other.connect((ip, port))
            if role == INBOUND:
                while not struct.unpack("=I", other.getsockopt(SOL_MESH, OPT_CLIENT_BOUND, 4))[0]:
                    time.sleep(0.0001)
            self.events.append((role, peer, (ip, port)))
            pump(app, other)
        except OSError:
            app.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            app.close()

    def carried(self):
        return list(self.events)


def pump(a, b):
    open_ends = {a: b, b: a}
    while open_ends:
        for ready in select.select(list(open_ends), [], [])[0]:
            data = ready.recv(65536)
            if data:
                open_ends[ready].sendall(data)
            else:
                open_ends[ready].shutdown(socket.SHUT_WR)
                del open_ends[ready]
    a.close()
    b.close()

