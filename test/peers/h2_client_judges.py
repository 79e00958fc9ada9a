"""python3-h2 as the client of our server engine: h2_client_judges.py DRIVER [--tls DIR]"""
import socket
import sys

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hpack
import hyperframe.frame as frames
from foreign import Driver, Over, Wire, need, pattern, run_cases, tls_context

PROGRAM, TLS = sys.argv[1], sys.argv[3] if len(sys.argv) > 3 else None
METADATA = [("baggage", "k8s.cluster.name=c"), ("forwarded", 'for="10.0.0.1:5"'), ("traceparent", "00-1-2-3")]


def dial(port):
    sock = socket.create_connection(("127.0.0.1", port))
    return Wire(sock, tls_context(TLS, False) if TLS else None)


class Client:
    """python3-h2 knows no plain CONNECT (RFC 9113 8.5), so its own check of pseudo-headers is off; all else is on."""

    def __init__(self, port, stream_window=65535):
        self.wire = dial(port)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_inbound_headers=False,
                                           validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: stream_window})
        self.tunnels = {}
        self.events = []

    def connect(self, authority, extra=()):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(":method", "CONNECT"), (":authority", authority), *METADATA, *extra])
        self.tunnels[stream] = {"status": None, "got": bytearray(), "ended": False, "reset": None, "left": b"", "end": False}
        return stream

    def say(self, stream, data, end=True):
        self.tunnels[stream].update(left=data, end=end)

    def act(self):
        for stream, tunnel in self.tunnels.items():
            while tunnel["status"] == "200" and tunnel["reset"] is None and (tunnel["left"] or tunnel["end"]):
                size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(tunnel["left"]))
                if size == 0 and tunnel["left"] or len(self.wire.out) > 1 << 20:
                    break
                data, tunnel["left"] = tunnel["left"][:size], tunnel["left"][size:]
                last = tunnel["end"] and not tunnel["left"]
                self.h2.send_data(stream, data, end_stream=last)
                if last:
                    tunnel["end"] = False
        self.wire.send(self.h2.data_to_send())

    def turn(self):
        self.act()
        for event in self.h2.receive_data(self.wire.turn()):
            self.events.append(event)
            tunnel = self.tunnels.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.ResponseReceived):
                tunnel["status"], tunnel["headers"] = dict(event.headers)[":status"], dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                tunnel["got"] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                tunnel["ended"] = True
            elif isinstance(event, h2.events.StreamReset):
                tunnel["reset"] = event.error_code

    def saw(self, kind):
        return any(isinstance(event, kind) for event in self.events)

    def until(self, done):
        while not done():
            self.turn()
        self.act()
        self.wire.flush()


class Raw:
    """Frames by hand, for what python3-h2 will not say or does not survive (it is done at the first GOAWAY)."""

    def __init__(self, port):
        self.wire = dial(port)
        self.buffer = b""
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.send(frames.SettingsFrame(0))

    def send(self, frame):
        self.wire.send(frame.serialize())

    def headers(self, stream, fields, end=False):
        frame = frames.HeadersFrame(stream, self.encoder.encode(fields))
        frame.flags.add("END_HEADERS")
        if end:
            frame.flags.add("END_STREAM")
        self.send(frame)

    def connect(self, stream, authority):
        self.headers(stream, [(":method", "CONNECT"), (":authority", authority)])

    def data(self, stream, data, end=False):
        frame = frames.DataFrame(stream, data)
        if end:
            frame.flags.add("END_STREAM")
        self.send(frame)

    def receive(self):
        """The next frame that is not about settings, windows or priorities."""
        while True:
            while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
                self.buffer += self.wire.turn()
            frame, size = frames.Frame.parse_frame_header(memoryview(self.buffer[:9]))
            frame.parse_body(memoryview(self.buffer[9:9 + size]))
            self.buffer = self.buffer[9 + size:]
            if isinstance(frame, frames.SettingsFrame) and "ACK" not in frame.flags:
                ack = frames.SettingsFrame(0)
                ack.flags.add("ACK")
                self.send(ack)
                self.encoder.header_table_size = 0  # what they asked for
            if isinstance(frame, (frames.SettingsFrame, frames.WindowUpdateFrame)):
                continue
            if isinstance(frame, frames.HeadersFrame):
                frame.fields = dict(self.decoder.decode(frame.data))
            return frame

    def expect(self, kind, **wanted):
        frame = self.receive()
        need(isinstance(frame, kind), f"wanted {kind.__name__}, got {frame!r}")
        for name, value in wanted.items():
            need(getattr(frame, name) == value, f"{name} is {getattr(frame, name)}, wanted {value}: {frame!r}")
        return frame


def main(server, port):
    def echo(count, size, **options):
        client = Client(port, **options)
        streams = [client.connect("echo:80") for _ in range(count)]
        for stream in streams:
            client.say(stream, pattern(stream, size))
        client.until(lambda: all(client.tunnels[each]["ended"] for each in streams))
        for stream in streams:
            need(client.tunnels[stream]["got"] == pattern(stream, size), f"stream {stream} came back different")
        client.wire.close()

    def settings():
        client = Client(port)
        client.until(lambda: client.saw(h2.events.RemoteSettingsChanged))
        codes, remote = h2.settings.SettingCodes, client.h2.remote_settings
        need(remote[codes.MAX_CONCURRENT_STREAMS] == 200, "200 streams")
        need(remote[codes.MAX_HEADER_LIST_SIZE] == 65536, "header lists of 65,536")
        need(remote[codes.MAX_FRAME_SIZE] == 1048576, "frames of 1 MiB")
        need(remote[codes.HEADER_TABLE_SIZE] == 0, "no HPACK table")
        client.wire.close()

    def metadata():
        client = Client(port)
        stream = client.connect("echo:80")
        client.until(lambda: client.tunnels[stream]["status"])
        need(client.tunnels[stream]["headers"] == {":status": "200", "baggage": "k8s.cluster.name=c"}, "the 200 and its baggage")
        server.wait_for(lambda line: line == 'headers k8s.cluster.name=c for="10.0.0.1:5" 00-1-2-3')
        client.wire.close()

    def refused(status):
        client = Client(port)
        stream = client.connect(f"status-{status}:80")
        client.until(lambda: client.tunnels[stream]["ended"])
        need(client.tunnels[stream]["status"] == str(status), client.tunnels[stream]["status"])
        need(not client.tunnels[stream]["got"], "no body")
        again = client.connect("echo:80")  # the link lives on
        client.say(again, b"x")
        client.until(lambda: client.tunnels[again]["ended"])
        client.wire.close()

    def abort():
        client = Client(port)
        stream = client.connect("abort:80")
        client.say(stream, b"x", end=False)
        client.until(lambda: client.tunnels[stream]["reset"] is not None)
        need(client.tunnels[stream]["reset"] == h2.errors.ErrorCodes.CONNECT_ERROR, client.tunnels[stream]["reset"])
        need(not client.tunnels[stream]["ended"], "an abort is no end")
        client.wire.close()

    def reset_by_client(code):
        client = Client(port)
        stream = client.connect("unread:80")
        client.until(lambda: client.tunnels[stream]["status"])
        client.h2.reset_stream(stream, code)
        client.act()
        client.wire.flush()
        server.wait_for(lambda line: line == f"reset {stream} {code.name}")
        client.wire.close()

    def unread():
        client = Client(port)
        stream, other = client.connect("unread:80"), client.connect("echo:80")
        client.until(lambda: client.tunnels[stream]["status"] and client.tunnels[other]["status"])
        client.say(stream, bytes(1 << 20), end=False)
        client.say(other, pattern(other, 1 << 20))
        client.until(lambda: client.tunnels[other]["ended"])
        need(client.tunnels[other]["got"] == pattern(other, 1 << 20), "the other tunnel is whole")
        need(len(client.tunnels[stream]["left"]) == (1 << 20) - (256 << 10), "an unread stream takes its window and no more")
        client.wire.close()

    def ping():
        client = Client(port)
        client.h2.ping(b"12345678")
        client.until(lambda: client.saw(h2.events.PingAckReceived))
        client.wire.close()

    def ping_flood(count, survives):
        raw = Raw(port)
        for _ in range(count):
            raw.send(frames.PingFrame(0, b"12345678"))
        answers = 0
        while answers < count:
            frame = raw.receive()
            if isinstance(frame, frames.GoAwayFrame):
                need(frame.error_code == 11, "ENHANCE_YOUR_CALM")
                break
            answers += 1
        need((answers == count) == survives, f"{answers} answers")
        raw.wire.close()

    def malformed():
        raw = Raw(port)
        raw.headers(1, [(":method", "CONNECT"), (":authority", "echo:80"), (":scheme", "http"), (":path", "/")])
        raw.expect(frames.RstStreamFrame, stream_id=1, error_code=1)
        raw.headers(3, [(":method", "CONNECT"), (":authority", "echo:80"), ("Upper", "x")])
        raw.expect(frames.RstStreamFrame, stream_id=3, error_code=1)
        raw.headers(5, [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")], end=True)
        need(raw.expect(frames.HeadersFrame, stream_id=5).fields == {":status": "400"}, "400 for another method")
        raw.connect(7, "echo:80")
        need(raw.expect(frames.HeadersFrame, stream_id=7).fields[":status"] == "200", "the link lives on")
        raw.wire.close()

    def drain():
        raw = Raw(port)
        raw.connect(1, "drain:80")
        raw.expect(frames.HeadersFrame, stream_id=1)
        raw.expect(frames.GoAwayFrame, last_stream_id=0x7FFFFFFF, error_code=0)
        asked = raw.expect(frames.PingFrame)
        raw.connect(3, "echo:80")  # under way when the drain began
        raw.data(1, b"still here")
        raw.expect(frames.HeadersFrame, stream_id=3)
        raw.expect(frames.DataFrame, stream_id=1, data=b"still here")
        answer = frames.PingFrame(0, asked.opaque_data)
        answer.flags.add("ACK")
        raw.send(answer)
        raw.expect(frames.GoAwayFrame, last_stream_id=3, error_code=0)
        raw.connect(5, "echo:80")
        raw.expect(frames.RstStreamFrame, stream_id=5, error_code=7)
        for stream in (1, 3):
            raw.data(stream, b"bye", end=True)
            need(raw.expect(frames.DataFrame, stream_id=stream).data == b"bye", "tunnels end in peace")
        raw.wire.close()

    def rapid_reset():
        raw = Raw(port)
        for stream in range(1, 2001, 2):
            raw.connect(stream, "wait:80")
            raw.send(frames.RstStreamFrame(stream, 8))
        try:
            while not isinstance(raw.receive(), frames.GoAwayFrame):
                pass
        except Over:
            need(False, "GOAWAY comes before the end")
        except ConnectionResetError:
            pass  # our unread bytes met its close: the GOAWAY may be lost with them
        raw.wire.close()

    codes = h2.errors.ErrorCodes
    run_cases([
        ("settings as they should be [H-18]", settings),
        ("20 tunnels of 3 MB come back byte by byte", lambda: echo(20, 3_000_000, stream_window=1 << 20)),
        ("with windows of 1,000 bytes too", lambda: echo(5, 100_000, stream_window=1000)),
        ("metadata arrives, and the 200 has baggage [H-22] [H-25]", metadata),
        *[(f"a refusal with {status} [H-26]", lambda status=status: refused(status)) for status in (400, 401, 503)],
        ("an app's abort is RST_STREAM(CONNECT_ERROR) [S17]", abort),
        *[(f"RST_STREAM({code.name}) is told as it is [H-31]", lambda code=code: reset_by_client(code))
          for code in (codes.CANCEL, codes.CONNECT_ERROR, codes.NO_ERROR)],
        ("an unread tunnel stops at its window, another goes on [S18]", unread),
        ("a PING is answered [H-19]", ping),
        ("300 PINGs in a burst are answered", lambda: ping_flood(300, True)),
        ("2,000 are not: ENHANCE_YOUR_CALM [S19]", lambda: ping_flood(2000, False)),
        ("malformed requests end alone [S20]", malformed),
        ("a drain in two steps [H-36]", drain),
        ("rapid reset ends the connection [S19]", rapid_reset),
    ])


with Driver(PROGRAM, "server", *(["--tls", TLS] if TLS else [])) as driver:
    main(driver, int(driver.wait_for(lambda line: line.startswith("port ")).split()[1]))
