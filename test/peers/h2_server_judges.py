"""python3-h2 as the server of our client engine: h2_server_judges.py DRIVER [--tls DIR]"""
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame as frames
from foreign import Driver, Over, Wire, need, run_cases, tls_context

PROGRAM, TLS = sys.argv[1], sys.argv[3] if len(sys.argv) > 3 else None


class Serving:
    """One connection. What the authority says is done: echo, status-N, reset-N, goaway."""

    def __init__(self, wire, stream_window):
        self.wire = wire
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_inbound_headers=False,
                                           validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: stream_window})
        self.echoes = {}  # stream: [bytes to send back, the client has ended]
        self.requests = []
        self.resets = []
        self.pings = 0

    def on_request(self, event):
        self.requests.append(event.headers)
        what = dict(event.headers)[":authority"].split(":")[0]
        stream = event.stream_id
        if what.startswith("status-"):
            return self.h2.send_headers(stream, [(":status", what[7:])], end_stream=True)
        if what == "goaway" and stream == 1:
            # By hand: python3-h2 says nothing more after a GOAWAY of its own.
            self.wire.send(self.h2.data_to_send() + frames.GoAwayFrame(0, last_stream_id=1).serialize())
        if what == "goaway" and stream != 1:
            return None  # behind the last one that is served
        self.h2.send_headers(stream, [(":status", "200")])
        if what.startswith("reset-"):
            return self.h2.reset_stream(stream, int(what[6:]))
        self.echoes[stream] = [bytearray(), False]
        return None

    def act(self):
        for stream, (left, ended) in list(self.echoes.items()):
            while left and len(self.wire.out) < 1 << 20:
                window = self.h2.local_flow_control_window(stream)
                size = min(window, self.h2.max_outbound_frame_size, len(left))
                if size == 0:
                    break
                self.h2.send_data(stream, bytes(left[:size]))
                self.h2.acknowledge_received_data(size, stream)
                del left[:size]
            if ended and not left:
                self.h2.end_stream(stream)
                del self.echoes[stream]
        self.wire.send(self.h2.data_to_send())

    def run(self):
        try:
            while True:
                self.act()
                for event in self.h2.receive_data(self.wire.turn()):
                    self.on(event)
        except (Over, ConnectionResetError):
            pass

    def on(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.on_request(event)
        elif isinstance(event, h2.events.DataReceived) and event.stream_id in self.echoes:
            self.echoes[event.stream_id][0] += event.data
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self.echoes:
            self.echoes[event.stream_id][1] = True
        elif isinstance(event, h2.events.StreamReset):
            self.resets.append((event.stream_id, int(event.error_code)))
            self.echoes.pop(event.stream_id, None)
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1


def visit(*case, stream_window=65535):
    """Runs one client case against a server of ours here; the server's side of it, and what the client said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = []

        def accept():
            sock, _ = listener.accept()
            wire = Wire(sock, tls_context(TLS, True) if TLS else None, server_side=True)
            served.append(Serving(wire, stream_window))
            served[0].run()
            wire.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        port = str(listener.getsockname()[1])
        with Driver(PROGRAM, "client", *(["--tls", TLS] if TLS else []), port, *map(str, case)) as driver:
            code = driver.finish()
            need(code == 0, f"exit {code}: {driver.lines[-10:]}")
            thread.join(10)
            need(not thread.is_alive(), "the server's side ends with the client")
            return served[0], driver.lines


def echo(count, size, **options):
    visit("echo", count, size, **options)


def request_shape():
    server, _ = visit("echo", 1, 10)
    need(server.requests == [[(":method", "CONNECT"), (":authority", "echo:80"), ("baggage", "k8s.cluster.name=c"),
                              ("forwarded", 'for="10.0.0.1:5"')]], server.requests)


def settings():
    server, _ = visit("ping")
    codes, remote = h2.settings.SettingCodes, server.h2.remote_settings
    need(remote[codes.ENABLE_PUSH] == 0, "no push")
    need(remote[codes.MAX_HEADER_LIST_SIZE] == 16384, "header lists of 16,384")
    need(remote[codes.HEADER_TABLE_SIZE] == 0, "no HPACK table")
    need(server.pings == 1, "the PING arrived")


def refused(status):
    _, lines = visit("status", status)
    need(f"response 1 {status} end" in lines, lines)


def reset(code):
    visit("reset", code)


def abort():
    server, _ = visit("abort")
    need((1, 10) in server.resets, server.resets)


def goaway():
    _, lines = visit("goaway")
    need("goaway NO_ERROR 1" in lines and "reset 3 REFUSED_STREAM retry" in lines, lines)


run_cases([
    ("settings as they should be, and PING is answered [H-19]", settings),
    ("CONNECT has its fields and no others [H-20] [H-22]", request_shape),
    ("20 tunnels of 3 MB come back byte by byte", lambda: echo(20, 3_000_000, stream_window=1 << 20)),
    ("with windows of 1,000 bytes too", lambda: echo(5, 100_000, stream_window=1000)),
    *[(f"a refusal with {status} is told [H-26]", lambda status=status: refused(status)) for status in (401, 503, 204)],
    *[(f"a reset with code {code} is never a clean end [H-31] [S17]", lambda code=code: reset(code)) for code in (0, 2, 8, 10)],
    ("our app's abort is RST_STREAM(CONNECT_ERROR) [S17]", abort),
    ("GOAWAY: one tunnel goes on, the other may be tried elsewhere [H-37]", goaway),
])
