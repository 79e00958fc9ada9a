#!/usr/bin/env python3
"""An application that behaves in the ways that proxies get wrong. It knows nothing of the mesh.

  app.py serve PORT               one server for all scenarios, IPv4 and IPv6; the client's first line says which
  app.py squat PORT...            listens on each and says "taken PORT" for what it is given
  app.py SCENARIO HOST PORT [N]   one client; exit 0 when the scenario went as it should, else says what it saw

The server closes or resets only as the scenario says; every payload is a pattern that both ends can check.
"""
import hashlib
import json
import os
import selectors
import socket
import struct
import sys
import threading
import time

CHUNK = 65536
PATTERN = hashlib.sha256(b"culvert").digest() * 4096  # 128 KiB


def pattern(size, at=0):
    start = at % len(PATTERN)
    out = bytearray()
    while len(out) < size:
        out += PATTERN[start:start + size - len(out)]
        start = 0
    return bytes(out)


def read_line(s):
    line = b""
    while not line.endswith(b"\n"):
        byte = s.recv(1)
        if not byte:
            return None
        line += byte
    return line.decode().split()


def read_all(s, pause=0.0):
    """Bytes until the clean end, checked against the pattern; `pause` seconds before each read."""
    total = 0
    while data := s.recv(CHUNK):
        time.sleep(pause)
        if data != pattern(len(data), total):
            raise ValueError(f"wrong bytes after {total}")
        total += len(data)
    return total


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def send_pattern(s, size):
    sent = 0
    while sent < size:
        part = pattern(min(CHUNK, size - sent), sent)
        s.sendall(part)
        sent += len(part)


# ---- the server ---------------------------------------------------------------------------------------------------------
def serve_one(s, peer):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    words = read_line(s)
    if words is None:
        s.close()  # FIN only: the client said nothing and left
        return
    verb, n = words[0], int(words[1]) if len(words) > 1 else 0
    if verb == "who":
        s.sendall(f"{peer[0]}\n".encode())
    elif verb == "echo":
        while data := s.recv(CHUNK):
            s.sendall(data)
    elif verb == "count":      # half close: the answer comes after the client's end
        s.sendall(f"{read_all(s)}\n".encode())
    elif verb == "download":
        send_pattern(s, n)
    elif verb == "slow":       # a slow reader, then the count
        time.sleep(0.5)
        s.sendall(f"{read_all(s, pause=0.01)}\n".encode())
    elif verb == "dribble":    # n single bytes
        for i in range(n):
            s.sendall(pattern(1, i))
    elif verb == "truncate":   # n bytes, then an abort: the client must not take it for the end
        send_pattern(s, n)
        reset(s)
        return
    elif verb == "close-now":  # closes with the client's bytes unread
        s.close()
        return
    elif verb == "both":       # sends its own and reads the client's to the end, whoever ends first
        sender = threading.Thread(target=lambda: (send_pattern(s, n), s.shutdown(socket.SHUT_WR)))
        sender.start()
        read_all(s)
        sender.join()
    elif verb == "hold":
        s.sendall(b"held\n")
        s.recv(1)
    s.close()


def serve(port):
    socket.setdefaulttimeout(None)
    listener = socket.create_server(("::", port), family=socket.AF_INET6, backlog=4096, dualstack_ipv6=True)
    greeter = socket.create_server(("::", port + 1), family=socket.AF_INET6, backlog=128, dualstack_ipv6=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(greeter, selectors.EVENT_READ)
    threading.stack_size(256 << 10)

    def careful(s, peer):
        try:
            serve_one(s, peer)
        except (OSError, ValueError) as error:
            print("server:", error, flush=True)
            s.close()
    while True:
        for key, _ in selector.select():
            s, peer = key.fileobj.accept()
            if key.fileobj is greeter:  # the server speaks first, and waits for an answer
                s.sendall(b"220 welcome\n")
                threading.Thread(target=careful, args=(s, peer), daemon=True).start()
            else:
                threading.Thread(target=careful, args=(s, peer), daemon=True).start()


def squat(ports):
    selector = selectors.DefaultSelector()
    for port in ports:
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        selector.register(listener, selectors.EVENT_READ, port)
    print("listening", flush=True)
    while True:
        for key, _ in selector.select():
            key.fileobj.accept()[0].close()
            print("taken", key.data, flush=True)


# ---- the clients -----------------------------------------------------------------------------------------------------------
def connect(host, port, verb=None, n=0):
    s = socket.create_connection((host, port), timeout=30)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if verb:
        s.sendall(f"{verb} {n}\n".encode())
    return s


def expect(holds, text):
    if not holds:
        print(text)
        sys.exit(1)


def client_who(host, port, _):
    print(read_line(connect(host, port, "who"))[0].removeprefix("::ffff:"))


def client_echo(host, port, n):
    s = connect(host, port, "echo")
    for at in range(n or 1):
        data = pattern(1000, at)
        s.sendall(data)
        got = b""
        while len(got) < len(data):
            part = s.recv(CHUNK)
            expect(part, "ended early")
            got += part
        expect(got == data, "wrong bytes")
    s.shutdown(socket.SHUT_WR)
    expect(s.recv(1) == b"", "no clean end")


def client_fin_only(host, port, _):
    s = connect(host, port)
    s.shutdown(socket.SHUT_WR)
    expect(s.recv(1) == b"", "no clean end after a FIN without bytes")


def client_count(host, port, n):
    s = connect(host, port, "count")
    send_pattern(s, n)
    s.shutdown(socket.SHUT_WR)
    line = read_line(s)
    expect(line == [str(n)], f"the server counted {line} of {n}")


def client_download(host, port, n):
    got = read_all(connect(host, port, "download", n))
    expect(got == n, f"got {got} of {n}")


def client_slow(host, port, n):
    s = connect(host, port, "slow")
    send_pattern(s, n)
    s.shutdown(socket.SHUT_WR)
    line = read_line(s)
    expect(line == [str(n)], f"the server counted {line} of {n}")


def client_dribble(host, port, n):
    got = read_all(connect(host, port, "dribble", n))
    expect(got == n, f"got {got} of {n}")


def client_drip(host, port, n):
    s = connect(host, port, "count")
    for at in range(n):
        s.sendall(pattern(1, at))
    s.shutdown(socket.SHUT_WR)
    expect(read_line(s) == [str(n)], "bytes are missing")


def client_truncate(host, port, n):
    try:
        got = read_all(connect(host, port, "truncate", n))
    except ConnectionResetError:
        return
    expect(False, f"a cut transfer looked like a clean end after {got} bytes")


def client_abort(host, port, n):
    """The client aborts; the server must see a reset: asked by a second connection's success, so that nothing hangs."""
    s = connect(host, port, "count")
    send_pattern(s, n)
    reset(s)
    client_echo(host, port, 1)


def client_close_now(host, port, _):
    s = connect(host, port, "close-now")
    try:
        s.sendall(b"x" * 1000)
        while s.recv(CHUNK):
            pass
    except (ConnectionResetError, BrokenPipeError):
        pass


def client_both(host, port, n):
    s = connect(host, port, "both", n)
    sender = threading.Thread(target=lambda: (send_pattern(s, n), s.shutdown(socket.SHUT_WR)))
    sender.start()
    got = read_all(s)
    sender.join()
    expect(got == n, f"got {got} of {n}")


def client_server_first(host, port, _):
    s = socket.create_connection((host, port + 1), timeout=10)
    expect(read_line(s)[0] == "220", "no greeting")
    s.sendall(b"who\n")
    expect(read_line(s), "no answer")


def client_idle(host, port, n):
    held = [connect(host, port, "hold") for _ in range(n)]
    for s in held:
        expect(read_line(s) == ["held"], "not held")
    print("holding", flush=True)
    sys.stdin.readline()
    for s in held:
        s.sendall(b"x")
    for s in held:
        expect(s.recv(1) == b"", "a held connection did not end cleanly")


def client_short(host, port, n):
    """n connections, one after the other: connect, ask, answer, end. Prints how many failed, the seconds of each tenth, and the CPU
    seconds of this process: what capture costs in connect() is paid here."""
    failed, tenths, before = 0, [], os.times()
    for _ in range(10):
        started = time.monotonic()
        for _ in range(n // 10):
            try:
                s = connect(host, port, "hold")  # the client ends first: TIME_WAIT is on its side
                failed += not read_line(s)
                s.close()
            except OSError:
                failed += 1
        tenths.append(round(time.monotonic() - started, 3))
    cpu = os.times().user + os.times().system - before.user - before.system
    print(json.dumps({"failed": failed, "tenths": tenths, "cpu": round(cpu, 3)}))


def client_stream(host, port, _):
    """Asks for ever on one connection; says what it counted when it is told to stop, or how it was cut."""
    s = connect(host, port, "echo")
    os.set_blocking(0, False)
    rounds = 0
    try:
        while True:
            data = pattern(1000, rounds)
            s.sendall(data)
            got = b""
            while len(got) < len(data):
                part = s.recv(CHUNK)
                if not part:
                    raise ConnectionError("end")
                got += part
            expect(got == data, "wrong bytes")
            rounds += 1
            if rounds == 1:
                print("streaming", flush=True)
            if os.path.exists(sys.argv[5] if len(sys.argv) > 5 else "/nonexistent"):
                break
            time.sleep(0.002)
    except OSError as error:
        print(f"cut after {rounds}: {error}", flush=True)
        sys.exit(2)
    print(f"rounds {rounds}", flush=True)


def client_hammer(host, port, _):
    """New connections until the file argv[5] exists; prints how many went well and how many failed, by kind."""
    outcome = {}
    print("hammering", flush=True)
    while not os.path.exists(sys.argv[5]):
        try:
            s = connect(host, port, "who")
            kind = "ok" if read_line(s) else "end"
            s.close()
        except OSError as error:
            kind = type(error).__name__
        outcome[kind] = outcome.get(kind, 0) + 1
        if kind != "ok":
            time.sleep(0.005)
    print(json.dumps(outcome))


def main():
    verb, *rest = sys.argv[1:]
    if verb == "serve":
        serve(int(rest[0]))
        return
    if verb == "squat":
        squat([int(port) for port in rest])
    scenario = globals().get("client_" + verb.replace("-", "_"))
    expect(scenario, f"unknown scenario {verb}")
    try:
        scenario(rest[0], int(rest[1]), int(rest[2]) if len(rest) > 2 else 0)
    except OSError as error:
        print(f"{verb}: {type(error).__name__}: {error}")
        sys.exit(3)


if __name__ == "__main__":
    main()
