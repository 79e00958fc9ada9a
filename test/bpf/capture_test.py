"""What an app of an enrolled pod connects to, as the app and ztunnel see it: the real programs in a private cgroup."""
import errno
import socket
import struct
import unittest

import lab
from lab import DNS, OUTBOUND, RESERVED
from standin import Ztunnel

IPPROTO_MPTCP = 262


class Capture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = lab.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.lab.add_pod(11)
        cls.lab.add_pod(12)
        cls.lab.add_pod(13, enrolled=False)
        cls.lab.add_pod(14, v6=False)
        cls.lab.start_agent()
        cls.zt = cls.lab.actor("n", "node", Ztunnel)
        cls.zt.begin(str(cls.lab.zds))
        cls.lab.wait_enrolled("p11", "p12", "p14")
        cls.app = cls.lab.actor("p11")
        cls.remote = cls.lab.actor("r", "node")

    def tearDown(self):
        self.app.close_all()
        self.zt.close_all()
        self.remote.close_all()
        self.lab.check_nothing_is_left()

    def test_every_program_is_attached_where_it_should_be(self):
        """the verifier takes every program, and each is on its group"""
        self.assertEqual(self.lab.status()["capture"]["error"], "")
        self.assertTrue(self.lab.status()["ready"])

    def test_connects_of_every_kind_arrive_at_ztunnel(self):
        """IPv4, IPv6 and v4-mapped: ztunnel learns the original, the app sees whom it asked for, the source is the pod's"""
        for ip, family, own in (("10.99.2.1", "4", "10.99.1.11"), ("fd99:2::1", "6", "fd99:1::11"),
                                ("10.99.2.1", "m", "10.99.1.11")):
            with self.subTest(ip=ip, family=family):
                sock = self.app.connect(ip, 8080, family=family)
                _, peer, original = self.zt.take("p11", OUTBOUND)
                self.assertEqual(original, (ip, 8080))
                self.assertEqual(self.app.peer(sock), (ip, 8080))
                self.assertEqual(peer, self.app.name(sock))
                self.assertEqual(peer[0], own)

    def test_bytes_flow_both_ways(self):
        """a captured connection carries data in both directions"""
        sock = self.app.connect("10.99.2.1", 8080)
        taken, _, _ = self.zt.take("p11", OUTBOUND)
        self.app.send(sock, b"question")
        self.assertEqual(self.zt.recv(taken), b"question")
        self.zt.send(taken, b"answer")
        self.assertEqual(self.app.recv(sock), b"answer")

    def test_connections_spread_over_the_reserved_range(self):
        """many connections to one target use many ports, all reserved, so that they do not share one tuple space"""
        ports = set()
        for _ in range(60):
            self.app.connect("10.99.2.1", 8080)
            taken, _, _ = self.zt.take("p11", OUTBOUND)
            ports.add(self.zt.name(taken)[1])
        self.assertTrue(ports <= set(RESERVED), ports)
        self.assertGreater(len(ports), 20)

    def test_one_source_port_three_connections_two_destinations(self):
        """an accepted socket keeps its own original, whatever reuses its tuple while it waits in the queue"""
        wanted = [("10.99.2.1", 8080), ("10.99.2.1", 9999), ("10.99.2.1", 8080)]
        for ip, port in wanted:
            sock = self.app.connect(ip, port, bind=("10.99.1.11", 23456), reuse=True)
            self.app.close(sock)  # a reset: the port is free at once
        self.assertEqual([self.zt.take("p11", OUTBOUND)[2] for _ in wanted], wanted)

    def test_the_same_at_speed(self):
        """hundreds of connections from four source ports, reset at once, never get another's original"""
        wanted = []
        for i in range(300):
            port = 20000 + (i * 7919) % 1000
            wanted.append(port)
            sock = self.app.connect("10.99.2.1", port, bind=("10.99.1.11", 24000 + i % 4), reuse=True)
            self.app.reset(sock)
            if i % 25 == 24:  # ztunnel lets them queue
                got = [self.zt.take("p11", OUTBOUND)[2][1] for _ in range(25)]
                self.assertEqual(got, wanted[-25:])

    def test_a_stale_socket_does_not_lie(self):
        """a socket that is used again carries nothing of its earlier connect [S2]"""
        listener, port = self.app.listen("127.0.0.1")
        sock = self.app.socket()
        # Captured, and refused by ztunnel: the socket may connect again.
        self.zt.close_listeners("p11")
        try:
            self.assertEqual(self.app.connect_ex("10.99.2.1", 8080, sock=sock, seconds=None)[0], errno.ECONNREFUSED)
            self.assertEqual(self.app.connect("127.0.0.1", port, sock=sock), sock)
            self.assertEqual(self.app.peer(sock), ("127.0.0.1", port))
            self.app.accept(listener)
            other = self.app.socket()
            self.assertEqual(self.app.connect_ex("10.99.2.1", 8080, sock=other, seconds=None)[0], errno.ECONNREFUSED)
            self.app.connect("0.0.0.0", port, sock=other)
            self.assertEqual(self.app.peer(other), ("127.0.0.1", port))
        finally:
            self.zt.reopen("p11")

    def test_a_stale_query_does_not_lie(self):
        """a UDP socket that asked a resolver and then connects elsewhere names the new peer [S2]"""
        there = self.remote.socket("4", socket.SOCK_DGRAM)
        port = self.remote.bind(there, "10.99.2.1", 0)
        sock = self.app.socket("4", socket.SOCK_DGRAM)
        self.app.connect("10.99.2.1", 53, sock=sock)
        self.assertEqual(self.app.peer(sock), ("10.99.2.1", 53))
        self.app.connect("10.99.2.1", port, sock=sock)
        self.assertEqual(self.app.peer(sock), ("10.99.2.1", port))

    def test_a_socket_belongs_to_where_it_was_made(self):
        """passed to a process outside the mesh it is captured, passed into a pod it is not [S13]"""
        listener, port = self.remote.listen("::")
        outsider = self.lab.actor("p13")
        there, here = str(self.lab.dir / "there.box"), str(self.lab.dir / "here.box")
        box = outsider.open_box(there)
        self.app.give(self.app.socket(), there)
        outsider.connect("10.99.2.1", port, sock=outsider.receive(box))
        self.assertEqual(self.zt.take("p11", OUTBOUND)[2], ("10.99.2.1", port))
        box = self.app.open_box(here)
        outsider.give(outsider.socket(), here)
        sock = self.app.connect("10.99.2.1", port, sock=self.app.receive(box))
        self.assertEqual(self.remote.accept(listener)[1], self.app.name(sock))
        self.assertEqual(self.app.name(sock)[0], "10.99.1.13")

    def test_unspecified_is_loopback(self):
        """connect(0.0.0.0) and connect(::) reach the pod's own loopback and are not captured [S2]"""
        listener, port = self.app.listen("::")
        for ip, family in (("0.0.0.0", "4"), ("::", "6"), ("0.0.0.0", "m")):
            with self.subTest(ip=ip, family=family):
                self.app.connect(ip, port, family=family)
                self.app.accept(listener)
        self.assertTrue(self.zt.takes_nothing("p11", OUTBOUND))

    def test_a_pod_calls_itself(self):
        """by its own address, IPv4 and IPv6, natively and under its own name [S1, C-12]"""
        listener, port = self.app.listen("::")
        for ip in ("10.99.1.11", "fd99:1::11"):
            with self.subTest(ip=ip):
                sock = self.app.connect(ip, port)
                _, peer = self.app.accept(listener)
                self.assertEqual(peer, self.app.name(sock))
                self.assertEqual(self.app.peer(sock), (ip, port))
        bound = self.app.connect("0.0.0.0", port, bind=("10.99.1.11", 0))  # the kernel makes its own address of it
        self.assertEqual(self.app.accept(listener)[1], self.app.name(bound))

    def test_a_socket_bound_to_loopback_is_captured_all_the_same(self):
        """binding to 127.0.0.1 is no way around ztunnel"""
        self.app.connect("10.99.2.1", 8080, bind=("127.0.0.1", 0))
        self.assertEqual(self.zt.take("p11", OUTBOUND)[2], ("10.99.2.1", 8080))

    def test_a_pod_without_an_address_of_a_family(self):
        """gets EPERM for it, TCP and DNS [S5]"""
        app = self.lab.actor("p14")
        self.assertEqual(app.connect_ex("fd99:2::1", 8080)[0], errno.EPERM)
        udp = app.socket("6", socket.SOCK_DGRAM)
        with self.assertRaises(PermissionError):
            app.sendto(udp, b"q", "fd99:2::1", 53)
        app.connect("10.99.2.1", 8080)
        self.assertEqual(self.zt.take("p14", OUTBOUND)[2], ("10.99.2.1", 8080))

    def test_an_address_that_is_gone(self):
        """is refused at once, and captured again when it is back [S5]"""
        pod = self.lab.full("p12")
        app = self.lab.actor("p12")
        lab.sh("ip", "-n", pod, "addr", "del", "10.99.1.12/32", "dev", "eth0")
        try:
            lab.wait_until("a connect is refused",
                           lambda: app.connect_ex("10.99.2.1", 8080, seconds=0.3)[0] == errno.EPERM, 3)
            app.connect("fd99:2::1", 8080)
            self.assertEqual(self.zt.take("p12", OUTBOUND)[2], ("fd99:2::1", 8080))
            self.assertTrue(self.lab.pod_status("p12")["captured"])
        finally:
            lab.sh("ip", "-n", pod, "addr", "add", "10.99.1.12/32", "dev", "eth0")
            lab.sh("ip", "-n", pod, "route", "replace", "10.99.0.1", "dev", "eth0")
            lab.sh("ip", "-n", pod, "route", "replace", "default", "via", "10.99.0.1", "dev", "eth0")
        lab.wait_until("the address is back in the maps", lambda: app.connect_ex("10.99.2.1", 8080)[0] == 0)
        self.assertEqual(self.zt.take("p12", OUTBOUND)[2], ("10.99.2.1", 8080))

    def test_mptcp_sockets(self):
        """are captured, and their getpeername says whom they asked for [S13]"""
        try:
            socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
        except OSError as error:
            self.skipTest(f"this kernel has no MPTCP: {error}")
        for ip in ("10.99.2.1", "fd99:2::1"):
            with self.subTest(ip=ip):
                sock = self.app.connect(ip, 8080, proto=IPPROTO_MPTCP)
                self.assertEqual(self.zt.take("p11", OUTBOUND)[2], (ip, 8080))
                self.assertEqual(self.app.peer(sock), (ip, 8080))

    def test_ztunnel_is_not_captured(self):
        """its own connections from inside a pod reach the world, with and without the client option"""
        listener, port = self.remote.listen("::")
        for ip in ("10.99.2.1", "fd99:2::1"):
            sock = self.zt.dial("p11", ip, port)
            self.assertEqual(self.remote.accept(listener)[1], self.zt.name(sock))
        self.assertTrue(self.zt.takes_nothing("p11", OUTBOUND))

    def test_others_are_not_captured(self):
        """a pod outside the mesh and the node itself connect as if we were not there [C-12]"""
        listener, port = self.remote.listen("::")
        outsider = self.lab.actor("p13")
        sock = outsider.connect("10.99.2.1", port)
        self.assertEqual(self.remote.accept(listener)[1], outsider.name(sock))
        sock = self.lab.hands.connect("10.99.2.1", port)
        self.assertEqual(self.remote.accept(listener)[1], self.lab.hands.name(sock))


class DnsCapture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = lab.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.lab.add_pod(11)
        cls.lab.add_pod(12, annotations={"ambient.istio.io/dns-capture": "false"})
        cls.lab.start_agent()
        cls.zt = cls.lab.actor("n", "node", Ztunnel)
        cls.zt.begin(str(cls.lab.zds))
        cls.lab.wait_enrolled("p11", "p12")
        cls.zt.serve_dns("p11")
        cls.app = cls.lab.actor("p11")
        cls.remote = cls.lab.actor("r", "node")

    def ask(self, app, family, ip, connected=False, bind=None, device=None):
        sock = app.socket(family, socket.SOCK_DGRAM)
        if device:
            app.set_option(sock, socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        if bind:
            app.bind(sock, bind, 0)
        if connected:
            app.connect(ip, 53, sock=sock)
            app.send(sock, b"query")
            self.assertEqual(app.peer(sock), (ip.removeprefix("::ffff:"), 53))
        else:
            app.sendto(sock, b"query", ip, 53)
        return app.recvfrom(sock)

    def test_every_kind_of_udp_socket(self):
        """gets its answer from ztunnel, as if from the resolver that it asked"""
        for family, ip, options in (
                ("4", "10.99.2.1", {}), ("4", "10.99.2.1", {"connected": True}),
                ("4", "10.99.2.1", {"bind": "10.99.1.11"}), ("4", "10.99.2.1", {"device": b"eth0"}),
                ("6", "fd99:2::1", {}), ("6", "fd99:2::1", {"connected": True}),
                ("6", "::ffff:10.99.2.1", {}), ("6", "::ffff:10.99.2.1", {"connected": True})):
            with self.subTest(family=family, ip=ip, **options):
                data, peer = self.ask(self.app, family, ip, **options)
                self.assertEqual(data, b"dns:query")
                self.assertEqual(peer, (ip.removeprefix("::ffff:"), 53))

    def test_dns_over_tcp(self):
        """goes to the DNS listener with its resolver as the original destination, and nowhere without one [C-9]"""
        port = 15053
        self.assertEqual(self.app.connect_ex("10.99.2.1", 53)[0], errno.ECONNREFUSED)
        self.zt.open_dns("p11", port)
        for ip in ("10.99.2.1", "fd99:2::1"):
            sock = self.app.connect(ip, 53)
            _, peer, original = self.zt.take("p11", DNS)
            self.assertEqual((peer, original), (self.app.name(sock), (ip, 53)))
            self.assertEqual(self.app.peer(sock), (ip, 53))

    def test_other_udp_is_outside_the_mesh(self):
        """and untouched [S13, C-12]"""
        sock = self.app.socket("4", socket.SOCK_DGRAM)
        there = self.remote.socket("4", socket.SOCK_DGRAM)
        port = self.remote.bind(there, "10.99.2.1", 0)
        self.app.sendto(sock, b"time?", "10.99.2.1", port)
        self.assertEqual(self.remote.recvfrom(there)[0], b"time?")
        self.assertEqual(self.lab.status()["outside_the_mesh"], "UDP other than DNS")

    def test_a_pod_may_keep_its_dns(self):
        """ambient.istio.io/dns-capture: false leaves queries to the real resolver"""
        there = self.remote.socket("4", socket.SOCK_DGRAM)
        self.remote.bind(there, "10.99.2.1", 53)
        app = self.lab.actor("p12")
        sock = app.socket("4", socket.SOCK_DGRAM)
        app.sendto(sock, b"query", "10.99.2.1", 53)
        self.assertEqual(self.remote.recvfrom(there)[0], b"query")
        self.remote.close(there)

    def test_the_resolver_answers_its_own_pod_only(self):
        """a datagram from outside to ztunnel's DNS port is dropped, and counted"""
        before = self.lab.outcome("dns_from_outside")
        sock = self.remote.socket("4", socket.SOCK_DGRAM)
        self.remote.sendto(sock, b"query", "10.99.1.11", 15053)
        with self.assertRaises(OSError):  # unreachable, or silence
            self.remote.recvfrom(sock, 0.5)
        self.assertEqual(self.lab.outcome("dns_from_outside"), before + 1)

    def test_any_port_will_do(self):
        """a DNS listener that announces another port gets the queries, where an app holds the usual one [S8]"""
        holder = self.lab.actor("p12")
        holder.bind(holder.socket("4", socket.SOCK_DGRAM), "0.0.0.0", 15053)
        self.lab.write_pod("p12", annotations={})
        lab.wait_until("DNS capture is on", lambda: self.lab.pod_status("p12")["dns"])
        self.zt.serve_dns("p12", port=15999, announce=True)
        app = self.lab.actor("p12")
        data, peer = self.ask(app, "4", "10.99.2.1")
        self.assertEqual((data, peer), (b"dns:query", ("10.99.2.1", 53)))

    def test_struct_of_the_private_options(self):
        """ztunnel is told EINVAL for what makes no sense, not silence"""
        sock = self.zt.socket()
        for name, value in ((lab.OPT_ROLE, struct.pack("=I", 0)), (lab.OPT_ROLE, struct.pack("=I", 99)), (lab.OPT_ROLE, b"x"),
                            (lab.OPT_REAL_CLIENT, b"short"), (77, struct.pack("=I", 1))):
            with self.subTest(name=name, value=value):
                with self.assertRaises(OSError) as refused:
                    self.zt.set_option(sock, lab.SOL_MESH, name, value)
                self.assertEqual(refused.exception.errno, errno.EINVAL)


if __name__ == "__main__":
    lab.require_machine()
    unittest.main(verbosity=2)

