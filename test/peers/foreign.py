"""What the foreign peers share: a TCP connection (plain or TLS by Python's OpenSSL), the driver under test as a child process,
and a payload pattern. Debian's python3-h2, python3-hyperframe and python3-hpack are the judges."""
import os
import select
import socket
import ssl
import subprocess
import sys
import threading

DEADLINE = 60  # seconds until a peer that says nothing is taken for hanging


class Over(Exception):
    """The other end closed the connection."""


def need(condition, what):
    if not condition:
        raise AssertionError(what)


# (at * 31 >> 3) repeats after 2,048 bytes, because 2,048 * 31 / 8 is a multiple of 256.
PERIOD = bytes((at * 31 >> 3) & 255 for at in range(2048))


def pattern(stream, size):
    shifted = bytes((each + stream) & 255 for each in PERIOD)
    return (shifted * (size // 2048 + 1))[:size]


class Wire:
    """Bytes in and out without blocking; TLS through memory, so that one loop serves both."""

    def __init__(self, sock, context=None, server_side=False):
        self.sock = sock
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.out = bytearray()
        self.tls = None
        if context:
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side)
            self.shake_hands()

    def shake_hands(self):
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.out += self.outgoing.read()
                self.incoming.write(self.receive(DEADLINE))
        self.out += self.outgoing.read()
        need(self.tls.selected_alpn_protocol() == "h2", "ALPN h2")
        need(self.tls.version() == "TLSv1.3", "TLS 1.3")

    def receive(self, timeout):
        while True:
            readable, writable, _ = select.select([self.sock], [self.sock] if self.out else [], [], timeout)
            if writable:
                del self.out[:self.sock.send(self.out)]
            if readable:
                data = self.sock.recv(1 << 18)
                if not data:
                    raise Over
                return data
            if not readable and not writable:
                raise TimeoutError("the driver says nothing")
            if not self.out and timeout == 0:
                return b""

    def send(self, data):
        if self.tls:
            view = memoryview(data)
            while view:
                view = view[self.tls.write(view):]
            data = self.outgoing.read()
        self.out += data

    def turn(self, timeout=DEADLINE):
        """Sends what waits and gives what came: at least one byte, unless `timeout` is 0 or TLS kept it."""
        data = self.receive(timeout)
        if not self.tls:
            return data
        self.incoming.write(data)
        plain = bytearray()
        try:
            while True:
                piece = self.tls.read(1 << 16)
                if not piece:
                    break
                plain += piece
        except ssl.SSLWantReadError:
            self.out += self.outgoing.read()
            return bytes(plain)
        except ssl.SSLZeroReturnError:
            pass
        if not plain:
            raise Over
        self.out += self.outgoing.read()
        return bytes(plain)

    def flush(self):
        while self.out:
            select.select([], [self.sock], [], DEADLINE)
            del self.out[:self.sock.send(self.out)]

    def close(self):
        self.sock.close()


class Driver:
    """test/peers/h2_driver as a child; its lines are kept. Always ended by its own pid."""

    def __init__(self, program, *words):
        self.process = subprocess.Popen([program, *words], stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.said = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.said:
                self.lines.append(line.rstrip("\n"))
                self.said.notify_all()

    def wait_for(self, wanted):
        """The first line for which `wanted` holds; each wait starts from the beginning."""
        with self.said:
            found = self.said.wait_for(lambda: [line for line in self.lines if wanted(line)], DEADLINE)
        need(found, f"the driver never said it; it said {self.lines[-20:]}")
        return found[0]

    def finish(self):
        code = self.process.wait(DEADLINE)
        self.reader.join(DEADLINE)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


def tls_context(folder, server_side):
    name = "server" if server_side else "client"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(os.path.join(folder, "root.pem"))
    context.load_cert_chain(os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key"))
    context.set_alpn_protocols(["h2"])
    return context


def run_cases(cases):
    failed = 0
    for name, case in cases:
        try:
            case()
            print("ok    ", name, flush=True)
        except Exception as error:  # a case that fails must not hide the next one
            failed += 1
            print("FAILED", name, "-", repr(error), flush=True)
    sys.exit(1 if failed else 0)
