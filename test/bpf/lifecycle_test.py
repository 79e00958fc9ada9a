"""The agent's life: enrolling and leaving, restarts with traffic running, other layouts, what uninstall leaves (nothing)."""
import errno
import json
import pathlib
import shutil
import signal
import subprocess
import threading
import time
import unittest

import lab
from lab import INBOUND, OUTBOUND
from standin import Ztunnel


class Lifecycle(unittest.TestCase):
    def setUp(self):
        self.lab = lab.Lab()
        self.addCleanup(self.lab.close)
        self.remote = self.lab.actor("r", "node")

    def start(self, *flags, pods=(11,), ztunnel=True, **options):
        for number in pods:
            self.lab.add_pod(number)
        self.lab.start_agent(*flags)
        if ztunnel:
            self.zt = self.lab.actor("n", "node", Ztunnel)
            self.zt.begin(str(self.lab.zds), **options)
            self.lab.wait_enrolled(*(f"p{number}" for number in pods))

    # -- enrolling
    def test_the_order_of_enrolment(self):
        """in the clear until ztunnel listens, then captured; nothing is captured for a ztunnel that refuses"""
        self.start(ztunnel=False)
        app = self.lab.actor("p11")
        there, port = self.remote.listen("::")
        lab.wait_until("it waits for ztunnel", lambda: self.lab.pod_status("p11")["state"] == "waiting_for_ztunnel")
        app.connect("10.99.2.1", port)
        self.remote.accept(there)
        self.assertFalse(any("lookup" in name for name in self.lab.pins()))
        refuser = self.lab.actor("n", "node", Ztunnel)
        refuser.begin(str(self.lab.zds), mode="nack")
        lab.wait_until("its words are shown", lambda: "port taken" in self.lab.pod_status("p11")["reason"])
        app.connect("10.99.2.1", port)
        self.remote.accept(there)
        refuser.kill()
        zt = self.lab.actor("n", "node", Ztunnel)
        zt.begin(str(self.lab.zds))
        self.lab.wait_enrolled("p11")
        app.connect("10.99.2.1", port)
        self.assertEqual(zt.take("p11", OUTBOUND)[2], ("10.99.2.1", port))

    def test_zds_as_ztunnel_hears_it(self):
        """an Add with one descriptor for each pod, SnapshotSent, later Adds to the newest only, Dels to all [Z-4, Z-5, Z-10]"""
        self.start(pods=(11, 12))
        self.assertEqual([said[0] for said in self.zt.heard()][:3], ["add", "add", "snapshot"])
        self.assertEqual([said[2] for said in self.zt.heard()][:3], [1, 1, 0])
        newer = self.lab.actor("n", "node", Ztunnel)
        newer.begin(str(self.lab.zds))
        lab.wait_until("the newer has its snapshot", lambda: ("snapshot", "", 0) in newer.heard())
        old_count = len(self.zt.heard())
        self.lab.add_pod(13)
        lab.wait_until("the newer hears of p13", lambda: any("p13" in said[1] for said in newer.heard()))
        self.assertEqual(len(self.zt.heard()), old_count)
        self.lab.write_pod("p12", enrolled=False)
        for actor in (self.zt, newer):
            lab.wait_until("p12 is taken away", lambda a=actor: any(s[0] == "del" and "p12" in s[1] for s in a.heard()))

    def test_a_mute_ztunnel_is_hung_up_on(self):
        """five seconds without an answer end the connection, and the pod is not captured [Z-10]"""
        self.start(ztunnel=False)
        zt = self.lab.actor("n", "node", Ztunnel)
        began = time.monotonic()
        zt.begin(str(self.lab.zds), mode="mute")
        lab.wait_until("it is closed", lambda: ("closed", "", 0) in zt.heard(), 10)
        self.assertGreater(time.monotonic() - began, 4)
        self.assertFalse(self.lab.pod_status("p11")["captured"])

    def test_a_namespace_that_does_not_exist_yet(self):
        """is waited for, and shown; the node's own is never taken for a pod's"""
        self.start(ztunnel=False, pods=())
        late = {"v4": "10.99.1.21", "v6": "fd99:1::21", "ips": ["10.99.1.21"]}
        self.lab.pods["p21"] = late
        self.lab.write_pod("p21")
        lab.wait_until("it is waited for",
                       lambda: self.lab.pod_status("p21")["state"] == "waiting_for_namespace")
        self.assertIn(self.lab.full("p21"), self.lab.pod_status("p21")["reason"])
        self.lab.add_pod(21)
        lab.wait_until("it is found", lambda: self.lab.pod_status("p21")["state"] == "waiting_for_ztunnel")
        self.lab.pods["p22"] = {**late, "ips": ["10.99.0.1"], "annotations": {
            "culvert.io/network-namespace": f"/run/netns/{self.lab.full('n')}"}}
        self.lab.write_pod("p22")
        lab.wait_until("the node's is refused", lambda: "node's own" in self.lab.pod_status("p22")["reason"])
        self.assertFalse(self.lab.pod_status("p22")["in_maps"])

    def test_leaving_by_label(self):
        """releases the pod: outbound and inbound are native again, nothing of it is left in the kernel"""
        self.start(pods=(11, 12))
        app = self.lab.actor("p11")
        listener, port = app.listen("::")
        there, far = self.remote.listen("::")
        self.lab.write_pod("p11", enrolled=False)
        lab.wait_until("it is out", lambda: self.lab.pod_status("p11")["state"] == "not_enrolled")
        self.assertEqual(self.lab.pod_status("p11")["reason"], "not_labelled")
        sock = app.connect("10.99.2.1", far)
        self.assertEqual(self.remote.accept(there)[1], app.name(sock))
        sock = self.remote.connect("10.99.1.11", port)
        self.assertEqual(app.accept(listener)[1], self.remote.name(sock))
        status = self.lab.pod_status("p11")
        self.assertEqual((status["in_maps"], status["captured"], status["steered"]), (False, False, False))
        self.assertEqual(sum("lookup" in name for name in self.lab.pins()), 1)  # p12's
        self.lab.write_pod("p11", enrolled=True)
        self.lab.wait_enrolled("p11")
        app.connect("10.99.2.1", far)
        self.zt.take("p11", OUTBOUND)

    def test_a_namespace_that_vanishes_stays_captured(self):
        """as long as something runs in it: its name is gone, its traffic is refused, never let out"""
        self.start()
        app = self.lab.actor("p11")
        there, port = self.remote.listen("::")
        lab.sh("ip", "netns", "del", self.lab.full("p11"))
        lab.wait_until("it is abandoned", lambda: self.lab.status()["abandoned"] == ["lab/p11"])
        lab.wait_until("ztunnel has let go", lambda: app.connect_ex("10.99.2.1", port)[0] == errno.ECONNREFUSED)
        self.assertTrue(self.remote.accepts_nothing(there))
        self.assertTrue(any("lab/p11" in p["message"] for p in self.lab.status()["problems"]))
        app.kill()  # the last process in there: the namespace dies
        lab.wait_until("it is forgotten", lambda: self.lab.status()["abandoned"] == [])
        self.assertFalse(any("lookup" in name for name in self.lab.pins()))

    # -- connections from before (S4)
    def early_connections(self, app):
        there, port = self.remote.listen("::")
        inner, inner_port = app.listen("127.0.0.1")
        far = [app.connect(ip, port, family=family) for ip, family in
               (("10.99.2.1", "4"), ("fd99:2::1", "6"), ("10.99.2.1", "m"))]
        taken = [self.remote.accept(there)[0] for _ in far]
        inside = app.connect("127.0.0.1", inner_port)
        app.accept(inner)
        return far, taken, inside

    def test_connections_from_before_are_cut_under_strict(self):
        """IPv4, IPv6 and v4-mapped; loopback and what was captured live on [S4]"""
        self.start(ztunnel=False)
        app = self.lab.actor("p11")
        far, taken, inside = self.early_connections(app)
        self.lab.write_pod("p11", strict=True)
        self.zt = self.lab.actor("n", "node", Ztunnel)
        self.zt.begin(str(self.lab.zds))
        self.lab.wait_enrolled("p11")
        for sock in far:
            with self.assertRaises(OSError):
                app.recv(sock)
        for sock in taken:
            with self.assertRaises(OSError):
                self.remote.recv(sock)
        app.send(inside, b"still here")
        self.assertEqual(self.lab.pod_status("p11")["earlier_connections"], {"found": 3, "destroyed": 3})
        captured = app.connect("10.99.2.1", 8080)
        taken_now, _, _ = self.zt.take("p11", OUTBOUND)
        app.send(captured, b"alive")
        self.assertEqual(self.zt.recv(taken_now), b"alive")

    def test_connections_from_before_are_counted_otherwise(self):
        """and live on where nothing demands mTLS, until something does [S4]"""
        self.start(ztunnel=False)
        app = self.lab.actor("p11")
        far, taken, _ = self.early_connections(app)
        self.zt = self.lab.actor("n", "node", Ztunnel)
        self.zt.begin(str(self.lab.zds))
        self.lab.wait_enrolled("p11")
        app.send(far[0], b"as before")
        self.assertEqual(self.remote.recv(taken[0]), b"as before")
        self.assertEqual(self.lab.pod_status("p11")["earlier_connections"], {"found": 3, "destroyed": 0})
        # STRICT that comes later cuts them, and what was captured lives on.
        captured = app.connect("10.99.2.1", 8080)
        taken_now, _, _ = self.zt.take("p11", OUTBOUND)
        self.lab.write_pod("p11", strict=True)
        lab.wait_until("they are cut", lambda: self.lab.pod_status("p11")["earlier_connections"]["destroyed"] == 3)
        for sock in far:
            with self.assertRaises(OSError):
                app.recv(sock)
        app.send(captured, b"alive")
        self.assertEqual(self.zt.recv(taken_now), b"alive")

    def test_connections_from_before_are_cut_when_asked(self):
        """--cut-connections always [S4]"""
        self.start("--cut-connections", "always", ztunnel=False)
        app = self.lab.actor("p11")
        far, _, _ = self.early_connections(app)
        self.zt = self.lab.actor("n", "node", Ztunnel)
        self.zt.begin(str(self.lab.zds))
        self.lab.wait_enrolled("p11")
        with self.assertRaises(OSError):
            app.recv(far[0])

    # -- restarts
    def test_a_new_agent_updates_links_with_traffic_running(self):
        """five restarts, by SIGTERM and by SIGKILL: every connection passes ztunnel, none fails"""
        self.start()
        self.zt.relay("p11")
        app, calls = self.lab.actor("p11"), self.lab.actor("r", "node")
        there, port = self.remote.listen("::", backlog=1024)
        listener, own_port = app.listen("::", backlog=1024)
        outcome, stop = {"ok": 0, "failed": []}, threading.Event()

        def keep_calling():
            while not stop.is_set():
                for error, _ in (calls.connect_ex("10.99.1.11", own_port), calls.connect_ex("fd99:1::11", own_port)):
                    if error:
                        outcome["failed"].append(error)
                    else:
                        outcome["ok"] += 1
                calls.close_all()
        caller = threading.Thread(target=keep_calling)
        ids = self.link_ids()
        caller.start()
        try:
            for signal_number in (signal.SIGTERM, signal.SIGKILL) * 2 + (signal.SIGTERM,):
                self.lab.stop_agent(signal_number)
                app.connect("10.99.2.1", port)  # captured also while no agent runs
                self.remote.accept(there)
                self.lab.start_agent()
        finally:
            stop.set()
            caller.join()
        self.assertEqual(self.link_ids(), ids)  # the same links, in place
        self.assertEqual(outcome["failed"], [])
        self.assertGreater(outcome["ok"], 50)
        self.assertTrue(self.lab.pod_status("p11")["enrolled"])
        steered, passed = self.lab.outcome("steered_inbound"), self.lab.outcome("passed_approved")
        self.assertGreaterEqual(steered, outcome["ok"])
        self.assertEqual(passed, 0)
        self.assertTrue(listener)

    def link_ids(self):
        links = json.loads(lab.sh("bpftool", "-j", "-f", "link", "show"))
        root = str(self.lab.dir / "bpf/links")
        return {pin: link["id"] for link in links for pin in link.get("pinned", []) if pin.startswith(root)}

    def test_sigterm_leaves_capture_in_place(self):
        """and ztunnel goes on serving; a new agent finds the pod enrolled"""
        self.start()
        self.lab.stop_agent()
        self.assertEqual(self.lab.agent.returncode, 0)
        app = self.lab.actor("p11")
        app.connect("10.99.2.1", 8080)
        self.assertEqual(self.zt.take("p11", OUTBOUND)[2], ("10.99.2.1", 8080))
        self.assertFalse(self.lab.zds.exists())
        self.lab.start_agent()
        self.assertTrue(self.lab.pod_status("p11")["enrolled"])  # from its first answer, before ztunnel is back

    def test_a_pod_that_left_while_no_agent_ran(self):
        """is released by the next one; a directory that cannot be read releases nobody"""
        self.start(pods=(11, 12))
        self.lab.stop_agent()
        self.lab.remove_pod_manifest("p12")
        self.lab.start_agent()
        lab.wait_until("p12 is released", lambda: sum("lookup" in name for name in self.lab.pins()) == 1)
        self.lab.stop_agent()
        hidden = self.lab.dir / "hidden"
        self.lab.manifests.rename(hidden)
        self.lab.start_agent()
        lab.wait_until("the problem is shown", lambda: self.lab.status()["problems"])
        self.assertFalse(self.lab.status()["ready"])
        self.assertEqual(sum("lookup" in name for name in self.lab.pins()), 1)
        app = self.lab.actor("p11")
        app.connect("10.99.2.1", 8080)
        self.zt.take("p11", OUTBOUND)
        hidden.rename(self.lab.manifests)
        lab.wait_until("it is known again", lambda: self.lab.pod_status("p11")["enrolled"])

    def test_a_bad_manifest_takes_nobody_out(self):
        """its last good objects stay in force, also over a restart of the agent"""
        self.start()
        (self.lab.manifests / "p11.yaml").write_text("kind: [")
        lab.wait_until("the problem is shown", lambda: self.lab.status()["problems"])
        self.assertTrue(self.lab.pod_status("p11")["enrolled"])
        self.lab.stop_agent()
        self.lab.start_agent()  # which never saw the good one
        lab.wait_until("the pod is held on to", lambda: self.lab.status()["abandoned"] == ["lab/p11"])
        app = self.lab.actor("p11")
        app.connect("10.99.2.1", 8080)
        self.zt.take("p11", OUTBOUND)

    def test_pins_of_another_layout_are_carried_over(self):
        """an agent that finds another version loads beside it and moves the links; pods stay captured all the time"""
        self.start()
        app = self.lab.actor("p11")
        there, port = self.remote.listen("::")
        self.lab.stop_agent()
        ids = self.link_ids()
        (self.lab.dir / "bpf/v1").rename(self.lab.dir / "bpf/v0")
        self.lab.start_agent()
        self.assertEqual(self.link_ids(), ids)
        # Listeners were announced in the old maps: refused until ztunnel has opened new ones, never in the clear.
        self.assertIn(app.connect_ex("10.99.2.1", port)[0], (0, errno.ECONNREFUSED))
        zt = self.lab.actor("n", "node", Ztunnel)
        zt.begin(str(self.lab.zds), offset=1000)
        self.lab.wait_enrolled("p11")
        self.assertTrue(self.remote.accepts_nothing(there))
        app.connect("10.99.2.1", 8080)
        self.assertEqual(zt.take("p11", OUTBOUND)[2], ("10.99.2.1", 8080))
        self.assertFalse((self.lab.dir / "bpf/v0").exists())

    def test_pins_that_lie_about_their_layout(self):
        """are refused with the name of the pin and the fix"""
        self.start(ztunnel=False)
        self.lab.stop_agent()
        pin = self.lab.dir / "bpf/v1/cv_local"
        pin.unlink()
        lab.sh("bpftool", "map", "create", pin, "type", "hash", "key", 8, "value", 4, "entries", 16, "name", "cv_local")
        done = subprocess.run(self.lab.agent_flags(), capture_output=True, text=True, check=False, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cv_local has another layout", done.stderr)
        self.assertIn("agent uninstall", done.stderr)

    def test_a_link_that_somebody_took_away(self):
        """shows in status, and nothing is enrolled until the agent has attached again"""
        self.start()
        (self.lab.dir / "bpf/links/cv_tag").unlink()
        lab.wait_until("it is not ready", lambda: not self.lab.status()["ready"])
        self.assertIn("cv_tag", self.lab.status()["capture"]["error"])
        self.lab.add_pod(12)
        lab.wait_until("p12 is not captured", lambda: "cv_tag" in self.lab.pod_status("p12")["reason"])
        self.assertFalse(self.lab.pod_status("p12")["captured"])
        self.lab.stop_agent()
        self.lab.start_agent()
        self.zt.hang_up()
        self.zt.begin(str(self.lab.zds))
        self.lab.wait_enrolled("p12")

    # -- leaving the machine
    def test_uninstall_leaves_nothing(self):
        """no pin, link, program, cgroup, mount or socket; the pod is in the clear again, ztunnel's process lives on"""
        self.start()
        app = self.lab.actor("p11")
        there, port = self.remote.listen("::")
        refused = self.lab.uninstall()
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn(f"an agent runs on {self.lab.dir}: end it first", refused.stderr)
        self.assertTrue(self.lab.pod_status("p11")["captured"])
        self.lab.stop_agent(signal.SIGKILL)
        done = self.lab.uninstall()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("released pod lab/p11: it is in clear text now", done.stdout)
        self.assertFalse((self.lab.dir / "bpf").exists())
        self.assertFalse((self.lab.cgroup / "culvert-ztunnel").exists())
        self.assertFalse(self.lab.zds.exists())
        self.assertNotIn(str(self.lab.dir), pathlib.Path("/proc/self/mounts").read_text())
        left = json.loads(lab.sh("bpftool", "-j", "link", "show"))
        mine = {pathlib.Path(f"/run/netns/{self.lab.full(n)}").stat().st_ino for n in ("n", "p11")}
        groups = {p.stat().st_ino for p in [self.lab.cgroup, *self.lab.cgroup.glob("*")]}
        self.assertFalse([link for link in left if link.get("netns_ino") in mine or link.get("cgroup_id") in groups])
        sock = app.connect("10.99.2.1", port)
        self.assertEqual(self.remote.accept(there)[1], app.name(sock))
        self.assertTrue(self.zt.pid())
        again = self.lab.uninstall()
        self.assertEqual((again.returncode, again.stderr), (0, ""))

    def test_uninstall_while_nothing_was_installed(self):
        """is fine, and is said"""
        done = self.lab.uninstall()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("nothing to remove", done.stdout)

    def test_what_is_wrong_is_said_at_start(self):
        """a busy control port, a cgroup that is none, a namespace that is none, no rights: the thing and the fix, exit 1"""
        self.lab.add_pod(11)
        busy, port = self.lab.hands.listen("127.0.0.1", 15019)
        for flags, words in ((("--manifests", "/none/such"), "there is no directory /none/such"),
                             ((), "15019"), (("--capture-cgroup", "/tmp"), "cgroup2 mount"),
                             (("--node-namespace", "/run/netns/none-of-that-name"), "none-of-that-name"),
                             (("--cgroup", str(self.lab.cgroup)), "must lie below"), (("--log", "loud"), "loud")):
            with self.subTest(words=words):
                command = self.lab.agent_flags()
                for name, value in zip(flags[::2], flags[1::2]):
                    command = self.replaced(command, name, value)
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(words, done.stderr)
        self.assertTrue(busy and port)
        unprivileged = subprocess.run(["setpriv", "--bounding-set", "-bpf", "--inh-caps", "-bpf", *self.lab.agent_flags()],
                                      capture_output=True, text=True, check=False, timeout=20)
        self.assertEqual(unprivileged.returncode, 1)
        self.assertIn("missing  capabilities", unprivileged.stderr)
        self.lab.uninstall()

    @staticmethod
    def replaced(command, name, value):
        if name not in command:
            return [*command, name, value]
        at = command.index(name)
        return [*command[:at + 1], value, *command[at + 2:]]

    def test_capabilities_are_dropped(self):
        """by every thread and for good: BPF, PERFMON, NET_ADMIN, SYS_ADMIN and SYS_PTRACE are the most that any has"""
        self.start()
        allowed = sum(1 << bit for bit in (12, 19, 21, 38, 39))
        threads = list(pathlib.Path(f"/proc/{self.lab.agent.pid}/task").iterdir())
        self.assertGreater(len(threads), 1)
        for thread in threads:
            status = dict(line.split(":\t", 1) for line in (thread / "status").read_text().splitlines())
            for line in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                beyond = int(status[line], 16) & ~allowed
                self.assertEqual(beyond, 0, f"{status['Name']} {line} {beyond:x}")
            self.assertEqual(status["NoNewPrivs"], "1", status["Name"])
            if thread.name == str(self.lab.agent.pid):
                self.assertEqual(int(status["CapEff"], 16), allowed)

    def test_precheck(self):
        """says what is there, for people and as JSON, and ends with 1 when something is missing"""
        command = [str(lab.agent_binary()), "precheck"]
        done = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=False)
        answer = json.loads(done.stdout)
        self.assertEqual((done.returncode, answer["ok"], done.stderr), (0, True, ""))
        self.assertIn("cgroup2", [feature["name"] for feature in answer["features"]])
        done = subprocess.run(["setpriv", "--bounding-set", "-bpf", *command], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn("missing  capabilities BPF, PERFMON, NET_ADMIN, SYS_ADMIN\n         fix: run as root", done.stdout)
        self.assertIn("present  cgroup2", done.stdout)

    def test_without_rights(self):
        """nothing is begun: not enrolment, not uninstalling; the message names the capability and the fix"""
        for command in (self.lab.agent_flags(), self.lab.agent_flags(["uninstall"])):
            done = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", *command], capture_output=True, text=True,
                                  check=False, timeout=20)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("missing  capabilities BPF, PERFMON, NET_ADMIN, SYS_ADMIN\n         fix: run as root", done.stderr)
        self.assertFalse((self.lab.dir / "bpf").exists())

    def test_a_bad_flag(self):
        """ends with 2 and one line that names it"""
        done = subprocess.run([str(lab.agent_binary()), "--node-nmae", "n"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
        self.assertIn("--node-nmae", done.stderr)
        done = subprocess.run([str(lab.agent_binary()), "--help"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("precheck", "uninstall", "--node-name", "--manifests", "Examples:"):
            self.assertIn(word, done.stdout)

    def test_what_a_crash_left_is_swept(self):
        """by the next laboratory: namespaces, cgroups, pins and directories of a process that is gone"""
        code = ("import os, signal, lab; one = lab.Lab(); one.add_pod(11); one.start_agent(); "
                "print(one.tag, flush=True); os.kill(os.getpid(), signal.SIGKILL)")
        done = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True, text=True, check=False,
                              cwd=pathlib.Path(__file__).parent)
        tag = done.stdout.strip()
        self.assertTrue(tag.startswith(lab.PREFIX), done.stderr)

        def left():
            return [path for place in ("/run/netns", "/run", lab.cgroup2_mount()) for path in pathlib.Path(place).glob(f"{tag}*")]
        self.assertTrue(left())

        def swept():
            lab.Lab.remove_leftovers()
            return not left()
        lab.wait_until("nothing is left", swept, 5)  # its children die a moment after it
        self.assertNotIn(tag, pathlib.Path("/proc/self/mounts").read_text())

    def test_inbound_after_the_port_was_freed(self):
        """a ztunnel that hangs up and comes back keeps its pods and its doors"""
        self.start()
        self.zt.hang_up()
        lab.wait_until("nobody is connected", lambda: self.lab.status()["ztunnels"] == [])
        self.remote.connect("10.99.1.11", 8080)
        self.assertEqual(self.zt.take("p11", INBOUND)[2], ("10.99.1.11", 8080))
        self.zt.begin(str(self.lab.zds))
        lab.wait_until("it is live again", lambda: any(z["live"] for z in self.lab.status()["ztunnels"]))
        self.assertEqual(self.lab.pod_status("p11")["ztunnel"], "ok")
        self.assertTrue(shutil.which("bpftool"))


if __name__ == "__main__":
    lab.require_machine()
    unittest.main(verbosity=2)
