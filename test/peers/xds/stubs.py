"""Stubs made from this folder's own .proto files when a test runs, and the little that both roles need."""
import importlib
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ADDRESS = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION = "type.googleapis.com/istio.security.Authorization"


def load():
    """The modules discovery, discovery_grpc, mesh, policy, ca, ca_grpc as a namespace."""
    out = tempfile.TemporaryDirectory(prefix="culvert-stubs-")
    files = sorted(str(p.name) for p in HERE.glob("peer_*.proto"))
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{HERE}", f"--python_out={out.name}",
                    f"--grpc_python_out={out.name}", *files], cwd=HERE, check=True)
    sys.path.insert(0, out.name)

    class Stubs:
        keep = out
    for name in ("discovery", "mesh", "policy", "ca"):
        setattr(Stubs, name, importlib.import_module(f"peer_{name}_pb2"))
    for name in ("discovery", "ca"):
        setattr(Stubs, f"{name}_grpc", importlib.import_module(f"peer_{name}_pb2_grpc"))
    return Stubs


def expect(holds, what):
    if not holds:
        raise AssertionError(what)


def say(line):
    print(line, flush=True)


def hear(wanted):
    """A line from the test."""
    line = sys.stdin.readline().strip()
    expect(line == wanted, f"heard {line!r} instead of {wanted!r}")


PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
MASK = (1 << 64) - 1


def xxh64(data):
    """XXH64 with seed 0, from its specification."""
    p1, p2, p3, p4, p5 = PRIMES

    def rotate(value, bits):
        return ((value << bits) | (value >> (64 - bits))) & MASK

    def mix(lane, word):
        return rotate((lane + word * p2) & MASK, 31) * p1 & MASK

    at, size = 0, len(data)
    if size >= 32:
        lanes = [(p1 + p2) & MASK, p2, 0, -p1 & MASK]
        while at + 32 <= size:
            for i in range(4):
                lanes[i] = mix(lanes[i], int.from_bytes(data[at + 8 * i:at + 8 * i + 8], "little"))
            at += 32
        value = sum(rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            value = ((value ^ mix(0, lane)) * p1 + p4) & MASK
    else:
        value = p5
    value = (value + size) & MASK
    while at + 8 <= size:
        value = (rotate(value ^ mix(0, int.from_bytes(data[at:at + 8], "little")), 27) * p1 + p4) & MASK
        at += 8
    if at + 4 <= size:
        value = (rotate(value ^ int.from_bytes(data[at:at + 4], "little") * p1 & MASK, 23) * p2 + p3) & MASK
        at += 4
    for byte in data[at:]:
        value = rotate(value ^ byte * p5 & MASK, 11) * p1 & MASK
    value = (value ^ value >> 33) * p2 & MASK
    value = (value ^ value >> 29) * p3 & MASK
    return value ^ value >> 32
