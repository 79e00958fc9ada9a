"""Who gets a connection that arrives in a pod, and whom the app then believes to talk to."""
import errno
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import unittest

import lab
from lab import HBONE, INBOUND, OUTBOUND
from standin import Ztunnel


def syn6(source, destination, ports, macs):
    """An Ethernet frame with an IPv6 TCP SYN; anybody on the wire can write one."""
    src, dst = (socket.inet_pton(socket.AF_INET6, ip) for ip in (source, destination))
    tcp = struct.pack(">HHIIBBHHH", *ports, 12345, 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = src + dst + struct.pack(">II", len(tcp), socket.IPPROTO_TCP) + tcp
    total = sum(struct.unpack(f">{len(pseudo) // 2}H", pseudo))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    tcp = tcp[:16] + struct.pack(">H", ~total & 0xFFFF) + tcp[18:]
    header = struct.pack(">IHBB", 6 << 28, len(tcp), socket.IPPROTO_TCP, 64) + src + dst
    return b"".join(bytes.fromhex(m.replace(":", "")) for m in macs) + b"\x86\xdd" + header + tcp


class Deliver(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = lab.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.lab.add_pod(11, probe=8081)
        cls.lab.add_pod(12)
        cls.lab.add_pod(13, enrolled=False)
        cls.lab.add_pod(14, annotations={"ambient.istio.io/bypass-inbound-capture": "true"})
        cls.lab.start_agent()
        cls.zt = cls.lab.actor("n", "node", Ztunnel)
        cls.zt.begin(str(cls.lab.zds))
        cls.lab.wait_enrolled("p11", "p12", "p14")
        cls.app = cls.lab.actor("p11")
        cls.remote = cls.lab.actor("r", "node")
        cls.node = cls.lab.actor("n", "node")

    def tearDown(self):
        for actor in (self.app, self.zt, self.remote, self.node):
            actor.close_all()
        self.lab.check_nothing_is_left()

    # -- inbound
    def test_plaintext_from_outside_goes_to_ztunnel(self):
        """with the real addresses of both ends, whatever the port, whether or not an app listens"""
        listener, _ = self.app.listen("::", 8080)
        outsider = self.lab.actor("p13")
        for who, ip, port in ((self.remote, "10.99.1.11", 8080), (self.remote, "fd99:1::11", 8080),
                              (self.remote, "10.99.1.11", 9), (outsider, "fd99:1::11", 8080),
                              (self.node, "10.99.1.11", 8080)):
            with self.subTest(ip=ip, port=port):
                sock = who.connect(ip, port)
                _, peer, original = self.zt.take("p11", INBOUND)
                self.assertEqual((peer, original), (who.name(sock), (ip, port)))
        self.assertTrue(self.app.accepts_nothing(listener))

    def test_hbone_has_its_own_door(self):
        """port 15008 goes to the HBONE listener, of both families"""
        for ip in ("10.99.1.11", "fd99:1::11"):
            sock = self.remote.connect(ip, 15008)
            self.assertEqual(self.zt.take("p11", HBONE)[1], self.remote.name(sock))

    def test_ports_of_the_mesh_are_nobodys_destination(self):
        """from outside they are refused, whoever listens there; so is the reserved range [S8]"""
        listener, _ = self.app.listen("::", 15080)
        for port in (15001, 15006, 15053, 15080, 15104, 15167):
            with self.subTest(port=port):
                self.assertEqual(self.remote.connect_ex("10.99.1.11", port)[0], errno.ECONNREFUSED)
        self.assertTrue(self.app.accepts_nothing(listener))
        for role in (OUTBOUND, INBOUND):
            self.assertTrue(self.zt.takes_nothing("p11", role))

    def test_loopback_to_the_listeners_has_no_original(self):
        """an app that connects to ztunnel's listener over loopback leads it nowhere [S8]"""
        for port, role in ((15001, OUTBOUND), (15006, INBOUND)):
            self.app.connect("127.0.0.1", port)
            self.assertIsNone(self.zt.take("p11", role)[2])

    def test_bypass_of_inbound_capture(self):
        """leaves inbound to the app and outbound captured [C-13]"""
        app = self.lab.actor("p14")
        listener, port = app.listen("::")
        sock = self.remote.connect("10.99.1.14", port)
        self.assertEqual(app.accept(listener)[1], self.remote.name(sock))
        app.connect("10.99.2.1", 8080)
        self.assertEqual(self.zt.take("p14", OUTBOUND)[2], ("10.99.2.1", 8080))
        self.remote.connect("10.99.1.14", 15008)
        self.zt.take("p14", HBONE)

    # -- forged and unvouched-for connections
    def test_a_pod_that_is_called_by_itself_from_outside(self):
        """a SYN whose source is its destination does not reach the app, which serves that port [S1]"""
        self.app.listen("::", 8080)
        before = self.lab.outcome("source_is_destination")
        macs = (self.lab.mac("p11", "eth0"), self.lab.mac("n", "v11"))
        self.node.raw_frame("v11", syn6("fd99:1::11", "fd99:1::11", (4000, 8080), macs))
        lab.wait_until("the forged SYN is counted", lambda: self.lab.outcome("source_is_destination") > before)
        half_open = lab.sh("ip", "netns", "exec", self.lab.full("p11"), "ss", "-Htn", "state", "syn-recv")
        self.assertEqual(half_open, "")

    def test_a_reserved_port_without_a_record(self):
        """is dropped, also from inside the pod; with an app on it, the app gets nothing [S1]"""
        listener, _ = self.app.listen("::", 15110)
        before = self.lab.outcome("no_record")
        macs = (self.lab.mac("p11", "eth0"), self.lab.mac("n", "v11"))
        self.node.raw_frame("v11", syn6("fd99:1::11", "fd99:1::11", (4001, 15110), macs))
        self.assertEqual(self.remote.connect_ex("fd99:1::11", 15110)[0], errno.ECONNREFUSED)
        self.assertEqual(self.app.connect_ex("10.99.1.11", 15110, bind=("127.0.0.1", 0))[0], errno.ECONNREFUSED)
        lab.wait_until("all three are counted", lambda: self.lab.outcome("no_record") == before + 3)
        self.assertTrue(self.app.accepts_nothing(listener))
        self.assertTrue(self.zt.takes_nothing("p11", OUTBOUND))

    def test_refusals_are_shown_with_reason_and_pod(self):
        """in status, as a counter and as the last of them"""
        self.remote.connect_ex("10.99.1.11", 15006)

        def shown():
            last = self.lab.status()["recent_refusals"][-1]
            return last["reason"] == "reserved_port" and last["pod"] == "lab/p11" and last["destination"] == "10.99.1.11:15006"
        lab.wait_until("the refusal is in status", shown)
        self.assertGreater(self.lab.pod_status("p11")["refusals"]["reserved_port"], 0)
        self.assertIn('culvert_agent_outcomes_total{reason="reserved_port",refusal="true"}', self.lab.fetch("/metrics"))

    # -- the app's side of ztunnel's connections
    def test_the_app_sees_the_real_client(self):
        """in accept and getpeername: IPv4, IPv6 and v4-mapped apps; ztunnel is told when it is so"""
        for own, ip, client, source in (("0.0.0.0", "10.99.1.11", ("10.1.2.3", 4444), "127.5.6.7"),
                                        ("::", "10.99.1.11", ("10.1.2.3", 4445), "127.5.6.7"),
                                        ("::", "fd99:1::11", ("fd00:1::2", 4446), None),
                                        ("::", "10.99.1.11", ("10.1.2.3", 4447), None)):
            with self.subTest(own=own, ip=ip, source=source):
                listener, port = self.app.listen(own)
                dialled = self.zt.dial("p11", ip, port, client=client, source=source)
                accepted, peer = self.app.accept(listener)
                self.assertEqual(peer, client)
                self.assertEqual(self.app.peer(accepted), client)
                self.assertEqual(self.app.name(accepted), (ip, port))
                self.assertTrue(self.zt.wait_bound(dialled))
                self.assertEqual(self.zt.client_bound(dialled), 1)  # and it stays so

    def test_every_accept_sees_the_real_client(self):
        """accept and accept4 write it themselves, for IPv4, IPv6 and v4-mapped"""
        for call in ("accept", "accept4"):
            for own, ip, client, source in (("0.0.0.0", "10.99.1.11", ("10.1.2.3", 4444), "127.5.6.7"),
                                            ("::", "10.99.1.11", ("10.1.2.3", 4445), "127.5.6.7"),
                                            ("::", "fd99:1::11", ("fd00:1::2", 4446), None)):
                with self.subTest(call=call, own=own, ip=ip):
                    listener, port = self.app.listen(own)
                    self.zt.dial("p11", ip, port, client=client, source=source)
                    accepted, peer = self.app.accept_by(call, listener)
                    self.assertEqual((peer, self.app.peer(accepted)), (client, client))

    def test_ztunnel_hears_the_kernels_own_answers(self):
        """a port where no app listens is refused at once; a connection that the app closed first ends on both sides"""
        for ip, client, source in (("10.99.1.11", ("10.1.2.3", 1), "127.5.6.7"), ("fd99:1::11", ("fd00:1::2", 1), None)):
            with self.subTest(ip=ip):
                error, _ = self.zt.dial_ex("p11", ip, 9, client=client, source=source, seconds=3)
                self.assertEqual(error, errno.ECONNREFUSED)
                listener, port = self.app.listen("::")
                dialled = self.zt.dial("p11", ip, port, client=client, source=source)
                accepted, _ = self.app.accept(listener)
                self.app.close(accepted)
                self.assertEqual(self.zt.recv(dialled), b"")
                lab.wait_until("the app's kernel has heard that its end arrived", lambda: not self.app_sockets("fin-wait-1"))
                self.zt.close(dialled)
                lab.wait_until("it is gone", lambda: not self.app_sockets("last-ack"), 3)

    def app_sockets(self, state):
        return lab.sh("ip", "netns", "exec", self.lab.full("p11"), "ss", "-Htn", "state", state)

    def test_io_uring_sees_the_real_client(self):
        """accept without and with address, and multishot"""
        program = os.environ.get("CULVERT_URING_ACCEPT", str(lab.ROOT / "build/asan/test/uring_accept"))
        if not pathlib.Path(program).exists():
            self.skipTest(f"{program} is not built")
        for mode in ("plain", "address", "multishot"):
            with self.subTest(mode=mode):
                server = self.spawn_in_pod([program, mode])
                for port in (5001, 5002):
                    self.zt.dial("p11", "10.99.1.11", server.port, client=("10.1.2.3", port), source="127.9.9.9")
                    accepted, asked = server.stdout.readline().decode().strip().split(" | ")
                    self.assertEqual(asked, f"10.1.2.3 {port}")
                    if mode == "address" or (mode == "multishot" and port == 5001):
                        self.assertEqual(accepted, f"10.1.2.3 {port}")
                server.kill()
                server.wait()
                server.stdout.close()

    def spawn_in_pod(self, command):
        ready, tell = os.pipe()

        def settle():
            lab.Actor.settle(self.lab, "p11", "pods")
            listener = socket.socket()
            listener.bind(("0.0.0.0", 0))
            listener.listen()
            os.write(tell, str(listener.getsockname()[1]).encode())
            os.dup2(listener.detach(), 0)
        server = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=settle)
        server.port = int(os.read(ready, 16))
        os.close(ready)
        os.close(tell)
        return server

    def test_the_app_never_takes_a_client_for_itself(self):
        """a connection of ztunnel without a client, or with one of the other family, answers unspecified [S3]"""
        for ip, client, source in (("10.99.1.11", None, "127.0.0.1"), ("fd99:1::11", None, None),
                                   ("10.99.1.11", None, None), ("10.99.1.11", ("fd00:1::2", 4446), "127.0.0.1")):
            with self.subTest(ip=ip, client=client, source=source):
                listener, port = self.app.listen("::" if ":" in ip else "0.0.0.0")
                self.zt.dial("p11", ip, port, client=client, source=source)
                accepted, peer = self.app.accept(listener)
                self.assertIn(peer, (("0.0.0.0", 0), ("::", 0)))
                self.assertIn(self.app.peer(accepted), (("0.0.0.0", 0), ("::", 0)))

    def test_bound_is_said_only_when_it_is_true(self):
        """an app that defers accept has no socket yet that could carry the client: ztunnel is told 0 [S3]"""
        listener, port = self.app.listen("0.0.0.0", defer=5)
        dialled = self.zt.dial("p11", "10.99.1.11", port, client=("10.1.2.3", 1), source="127.0.0.9")
        self.assertFalse(self.zt.wait_bound(dialled, 0.3))
        self.zt.send(dialled, b"no ztunnel does this before it is told 1")
        self.assertTrue(self.zt.wait_bound(dialled))
        self.assertEqual(self.app.accept(listener)[1], ("10.1.2.3", 1))

    def test_no_room_for_a_client_is_said_too(self):
        """a connection whose client could not be kept stays unbound, whatever the app accepted [S6, S3]"""
        listener, port = self.app.listen("0.0.0.0", backlog=1024)
        other, second_port = self.app.listen("0.0.0.0")
        self.zt.fill_pendings("p11", "10.99.1.11", port, 4096)
        self.assertEqual(self.lab.entries("cv_pendings"), 4096)
        dialled = self.zt.dial("p11", "10.99.1.11", second_port, client=("10.1.2.3", 1), source="127.0.0.9")
        self.assertFalse(self.zt.wait_bound(dialled, 0.3))
        self.app.accept(other)
        self.assertGreater(self.lab.outcome("pending_limit"), 0)
        self.app.close(listener)

    def test_the_apps_own_loopback_is_its_own(self):
        """an app that talks to itself over loopback sees itself"""
        listener, port = self.app.listen("127.0.0.1")
        sock = self.app.connect("127.0.0.1", port)
        self.assertEqual(self.app.accept(listener)[1], self.app.name(sock))

    def test_an_app_cannot_forge_a_client(self):
        """the private options do not exist outside ztunnel's group [D27]"""
        for actor in (self.app, self.node):
            for family in ("4", "6"):
                sock = actor.socket(family)
                for name, value in ((lab.OPT_REAL_CLIENT, lab.cv_address("10.1.2.3", 1)),
                                    (lab.OPT_ROLE, struct.pack("=I", INBOUND))):
                    with self.assertRaises(OSError) as refused:
                        actor.set_option(sock, lab.SOL_MESH, name, value)
                    self.assertIn(refused.exception.errno, (errno.ENOPROTOOPT, errno.EOPNOTSUPP))
                with self.assertRaises(OSError):
                    actor.get_option(sock, lab.SOL_MESH, lab.OPT_CLIENT_BOUND, 4)

    # -- node probes
    def test_probes_of_the_node_reach_the_app(self):
        """to the declared port, natively, IPv4 and IPv6; every other port goes to ztunnel [S7, C-12]"""
        listener, _ = self.app.listen("::", 8081)
        for ip in ("10.99.1.11", "fd99:1::11"):
            with self.subTest(ip=ip):
                sock = self.node.connect(ip, 8081)
                self.assertEqual(self.app.accept(listener)[1], self.node.name(sock))
        self.app.listen("::", 8082)
        self.node.connect("10.99.1.11", 8082)
        self.assertEqual(self.zt.take("p11", INBOUND)[2], ("10.99.1.11", 8082))

    def test_probes_of_others_do_not(self):
        """a pod's process in the node's namespace, another pod, another host [S7]"""
        listener, _ = self.app.listen("::", 8081)
        host_network = self.lab.actor("n", "pods")
        outsider = self.lab.actor("p13")
        for who in (host_network, outsider, self.remote):
            sock = who.connect("10.99.1.11", 8081)
            self.assertEqual(self.zt.take("p11", INBOUND)[1], who.name(sock))
        self.assertTrue(self.app.accepts_nothing(listener))

    def test_an_approval_is_used_once(self):
        """another host that could write the same tuple finds nothing left [S7]"""
        listener, _ = self.app.listen("::", 8081)
        before = self.lab.outcome("passed_approved")
        sock = self.node.connect("10.99.1.11", 8081, bind=("10.99.0.1", 33333), reuse=True)
        self.app.accept(listener)
        self.assertEqual(self.lab.outcome("passed_approved"), before + 1)
        self.assertEqual(self.lab.entries("cv_approvals"), 0)
        self.node.reset(sock)
        self.app.close(listener)
        self.assertEqual(self.node.connect_ex("10.99.1.11", 8081)[0], errno.ECONNREFUSED)  # natively, by the app's kernel
        self.assertEqual(self.lab.entries("cv_approvals"), 0)

    # -- no ztunnel
    def test_no_listener_means_refused(self):
        """outbound, inbound and HBONE, of both families; the app gets nothing in the clear, probes still do [S7]"""
        listener, _ = self.app.listen("::", 8080)
        probed, _ = self.app.listen("::", 8081)
        self.zt.close_listeners("p11")
        try:
            for ip, there in (("10.99.1.11", "10.99.2.1"), ("fd99:1::11", "fd99:2::1")):
                with self.subTest(ip=ip):
                    self.assertEqual(self.remote.connect_ex(ip, 8080)[0], errno.ECONNREFUSED)
                    self.assertEqual(self.remote.connect_ex(ip, 15008)[0], errno.ECONNREFUSED)
                    self.assertEqual(self.app.connect_ex(there, 8080)[0], errno.ECONNREFUSED)
                    self.node.connect(ip, 8081)
                    self.app.accept(probed)
            self.assertTrue(self.app.accepts_nothing(listener))
            lab.wait_until("status says so", lambda: "does not listen" in self.lab.pod_status("p11")["reason"])
        finally:
            self.zt.reopen("p11")

    def test_an_app_on_ztunnels_ports_gets_nothing(self):
        """bound after enrolment, beside ztunnel and without it [S8, D27]"""
        beside = [self.app.listen("::", port)[0] for port in (15001, 15006, 15008)]
        for port in range(8080, 8096):  # a kernel that spread them would give half to the app
            self.app.connect("10.99.2.1", port)
            self.assertEqual(self.zt.take("p11", OUTBOUND)[2], ("10.99.2.1", port))
            self.remote.connect("10.99.1.11", port)
            self.assertEqual(self.zt.take("p11", INBOUND)[2], ("10.99.1.11", port))
            self.remote.connect("10.99.1.11", 15008)
            self.zt.take("p11", HBONE)
        for listener in beside:
            self.assertTrue(self.app.accepts_nothing(listener, 0.05))
            self.app.close(listener)
        self.zt.close_listeners("p11")
        try:
            held = [self.app.listen("::", port)[0] for port in (15001, 15006, 15008)]
            self.assertEqual(self.app.connect_ex("10.99.2.1", 8080)[0], errno.ECONNREFUSED)
            for port in (8080, 15006, 15008):
                self.assertEqual(self.remote.connect_ex("10.99.1.11", port)[0], errno.ECONNREFUSED)
            for listener in held:
                self.assertTrue(self.app.accepts_nothing(listener, 0.05))
            self.app.close_all()
        finally:
            self.zt.reopen("p11")

    def test_a_successor_that_dies_leaves_its_predecessor(self):
        """two slots a role: the newest serves, the older one again when it is gone, a third finds an empty slot [S8]"""
        successor = self.lab.actor("n", "node", Ztunnel)
        successor.begin(str(self.lab.zds))
        lab.wait_until("the successor has the snapshot", lambda: ("snapshot", "", 0) in successor.heard())
        self.app.connect("10.99.2.1", 8080)
        successor.take("p11", OUTBOUND)
        successor.kill()
        lab.wait_until("the predecessor is alone again", lambda: len(self.lab.status()["ztunnels"]) == 1)
        self.app.connect("10.99.2.1", 8080)
        self.zt.take("p11", OUTBOUND)
        third = self.lab.actor("n", "node", Ztunnel)
        third.begin(str(self.lab.zds))
        lab.wait_until("the third has the snapshot", lambda: ("snapshot", "", 0) in third.heard())
        self.app.connect("10.99.2.1", 8080)
        third.take("p11", OUTBOUND)
        third.kill()
        lab.wait_until("the first serves again", lambda: len(self.lab.status()["ztunnels"]) == 1)
        self.app.connect("10.99.2.1", 8080)
        self.zt.take("p11", OUTBOUND)


class Crowds(unittest.TestCase):
    """Limits, and ztunnels that are none: each with a laboratory of its own."""

    def start(self, **options):
        self.lab = lab.Lab()
        self.addCleanup(self.lab.close)
        self.lab.add_pod(11)
        self.lab.add_pod(12)
        self.lab.start_agent()
        self.zt = self.lab.actor("n", "node", Ztunnel)
        self.zt.begin(str(self.lab.zds), **options)

    def test_one_pods_flood_is_its_own(self):
        """with its records full a pod's next connect is refused; the other pod does not notice [S6]"""
        self.start(backlog=1)
        self.lab.wait_enrolled("p11", "p12")
        flooder, other = self.lab.actor("p11"), self.lab.actor("p12")
        flooder.file_limit(8192)
        flooder.connect_many("10.99.2.1", 8080, 4200)  # ztunnel takes none of them: the rest wait for its queue
        self.assertGreater(self.lab.outcome("record_limit"), 50)
        waiting = flooder.still_connecting()
        self.assertGreater(waiting, 4000)
        self.assertLessEqual(waiting, 4096)
        self.assertEqual(flooder.connect_ex("10.99.2.1", 8080)[0], errno.ECONNREFUSED)
        other.connect("10.99.2.1", 8080)
        self.assertEqual(self.zt.take("p12", OUTBOUND)[2], ("10.99.2.1", 8080))
        flooder.close_all()  # what nobody claimed goes with its initiator
        for _ in range(4):  # and the queue's remains
            if self.zt.takes_nothing("p11", OUTBOUND, 0.3):
                break
        fresh = flooder.connect("10.99.2.1", 9090)
        self.assertEqual(self.zt.take("p11", OUTBOUND)[2], ("10.99.2.1", 9090))
        self.assertEqual(flooder.peer(fresh), ("10.99.2.1", 9090))

    def test_an_app_that_holds_the_ports_before_enrolment(self):
        """ztunnel uses others, announced by role; the app gets nothing of the pod's traffic [S8, D27]"""
        self.lab = lab.Lab()
        self.addCleanup(self.lab.close)
        self.lab.add_pod(11)
        app, remote = self.lab.actor("p11"), self.lab.actor("r", "node")
        held = [app.listen("::", port)[0] for port in (15001, 15006, 15008)]
        self.lab.start_agent()
        zt = self.lab.actor("n", "node", Ztunnel)
        zt.begin(str(self.lab.zds), offset=1000)
        self.lab.wait_enrolled("p11")
        app.connect("10.99.2.1", 8080)
        self.assertEqual(zt.take("p11", OUTBOUND)[2], ("10.99.2.1", 8080))
        remote.connect("10.99.1.11", 8080)
        self.assertEqual(zt.take("p11", INBOUND)[2], ("10.99.1.11", 8080))
        remote.connect("10.99.1.11", 15008)
        zt.take("p11", HBONE)
        for listener in held:
            self.assertTrue(app.accepts_nothing(listener, 0.05))

    def test_a_rogue_on_the_socket_gets_nothing(self):
        """another program, though root and newest: no Add, no group, and the pods stay with ztunnel [S9]"""
        self.start()
        self.lab.wait_enrolled("p11", "p12")
        stranger = shutil.copy("/usr/bin/python3", self.lab.dir / "rogue")
        rogue = self.lab.actor("n", "node", Ztunnel, program=stranger)
        rogue.begin(str(self.lab.zds))
        lab.wait_until("it is sent away", lambda: ("closed", "", 0) in rogue.heard())
        self.assertEqual([said for said in rogue.heard() if said[0] != "closed"], [])
        self.assertIn("rogue", self.lab.status()["refused_ztunnel"])
        group = (pathlib.Path("/proc") / str(rogue.pid()) / "cgroup").read_text()
        self.assertNotIn("culvert-ztunnel", group)
        app = self.lab.actor("p11")
        app.connect("10.99.2.1", 8080)
        self.zt.take("p11", OUTBOUND)

    def test_a_ztunnel_outside_its_group_gets_nothing(self):
        """its listeners are not announced, its roles do not exist, and the pod is not captured for it [S9, D27]"""
        self.start(mode="deaf")  # it answers, and opens nothing: as one whose sockets are of another group
        lab.wait_until("the agent does not believe it",
                       lambda: self.lab.pod_status("p11")["state"] == "waiting_for_listeners")
        self.assertFalse(self.lab.pod_status("p11")["captured"])
        stranger = self.lab.actor("p11", "pods")
        listener, _ = stranger.listen("::", 15001)
        remote = self.lab.actor("r", "node")
        there, port = remote.listen("::")
        sock = stranger.connect("10.99.2.1", port)  # not in the mesh yet, and in the clear
        self.assertEqual(remote.accept(there)[1], stranger.name(sock))
        self.assertTrue(stranger.accepts_nothing(listener, 0.05))

    def test_a_ztunnel_that_is_not_moved_must_be_there(self):
        """with --no-adopt-ztunnel one outside its group gets nothing, one inside is served [S9, D27]"""
        self.lab = lab.Lab()
        self.addCleanup(self.lab.close)
        self.lab.add_pod(11)
        self.lab.start_agent("--no-adopt-ztunnel")
        outside = self.lab.actor("n", "node", Ztunnel)
        outside.begin(str(self.lab.zds))
        lab.wait_until("it is sent away", lambda: ("closed", "", 0) in outside.heard())
        self.assertEqual([said for said in outside.heard() if said[0] != "closed"], [])
        self.assertIn("not in", self.lab.status()["refused_ztunnel"])
        inside = self.lab.actor("n", "culvert-ztunnel", Ztunnel)
        inside.begin(str(self.lab.zds))
        self.lab.wait_enrolled("p11")
        self.lab.actor("p11").connect("10.99.2.1", 8080)
        inside.take("p11", OUTBOUND)

    def test_the_socket_is_for_root_alone(self):
        """mode 0600 from its first moment [Z-1, S9]"""
        self.start()
        self.assertEqual(self.lab.zds.stat().st_mode & 0o777, 0o600)

    def test_ztunnel_killed_in_the_middle(self):
        """connections in its queue are reset, later ones refused, nothing in the clear"""
        self.start()
        self.lab.wait_enrolled("p11")
        app, remote = self.lab.actor("p11"), self.lab.actor("r", "node")
        listener, _ = app.listen("::", 8080)
        queued = remote.connect("10.99.1.11", 8080)
        self.zt.kill(signal.SIGKILL)
        with self.assertRaises(ConnectionResetError):
            remote.recv(queued)
        self.assertEqual(remote.connect_ex("10.99.1.11", 8080)[0], errno.ECONNREFUSED)
        self.assertEqual(app.connect_ex("10.99.2.1", 8080)[0], errno.ECONNREFUSED)
        self.assertTrue(app.accepts_nothing(listener))


if __name__ == "__main__":
    lab.require_machine()
    unittest.main(verbosity=2)
