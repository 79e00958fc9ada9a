#!/usr/bin/env python3
"""Which facts of docs/wire.md have a test that names them, which are deviations, which are open; and the same of the rules of
docs/threat-model.md, and of the bounds of docs/limits.md that the code names.

  tools/facts.py             a table, one fact a line
  tools/facts.py --summary   counts, and the facts that nothing accounts for
  tools/facts.py --check     as --summary; exit 1 when a fact, rule or bound is unaccounted for or something names one that does not exist
"""
import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
GROUPS = ("H", "C", "D", "O", "I", "R", "X", "CA", "Z", "A", "M", "L")  # W and V describe the reference, not the wire
FACT = re.compile(r"\b(%s)-(\d+)\b" % "|".join(GROUPS))
RULE = re.compile(r"\bS(\d+)\b")


def facts(text):
    """Ids in the order of the document, with the first words of each."""
    found = {}
    for line in text.splitlines():
        start = re.match(r"- ((?:%s)-\d+) (.*)" % "|".join(GROUPS), line)
        if start:
            found[start.group(1)] = start.group(2)
    return found


def table_ids(text):
    """Ids in the first column of Markdown tables."""
    ids = set()
    for line in text.splitlines():
        if line.startswith("|"):
            ids.update(m.group(0) for m in FACT.finditer(line.split("|")[1]))
    return ids


def tested(kind=FACT):
    """Id -> the test files whose case names carry it, as "[H-3]" or "[H-3, H-4]"."""
    where = {}
    for path in sorted((ROOT / "test").rglob("*")):
        if path.suffix not in (".cpp", ".py", ".h") or "corpus" in path.parts:
            continue
        for tag in re.finditer(r"\[([A-Z]+-?\d+(?:[ ,]+[A-Z]+-?\d+)*)\]", path.read_text(errors="replace")):
            for m in kind.finditer(tag.group(1)):
                where.setdefault(m.group(0), set()).add(str(path.relative_to(ROOT)))
    return where


def rows(page, columns):
    """The rows of a page's tables, without their heads."""
    for line in (ROOT / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == columns:
            yield cells


def wrong_rules():
    """One row a rule, ascending; every test that it names carries its number; every number that a test carries has a row."""
    tests, seen = tested(RULE), []
    for rule, _, proof in rows("docs/threat-model.md", 3):
        if not RULE.fullmatch(rule):
            continue
        seen.append(rule)
        for test in proof.split(", "):
            if test not in tests.get(rule, ()) and not test.startswith("test/fuzz/"):
                yield f"docs/threat-model.md: no case of {test} carries [{rule}]"
        if rule not in tests:
            yield f"docs/threat-model.md: no test carries [{rule}]"
    numbers = [int(rule[1:]) for rule in seen]
    if numbers != sorted(set(numbers)):
        yield f"docs/threat-model.md: one row a rule, ascending: {' '.join(seen)}"
    for rule in sorted(set(tests) - set(seen)):
        yield f"{', '.join(sorted(tests[rule]))}: [{rule}] is no rule of docs/threat-model.md"


# Constants called `_max` that bound nothing which a peer feeds: a protocol fixes them, or they shape a text or a cost.
NO_BOUNDS = {
    "lib/h2/frame.h": "window_max stream_id_max frame_max_limit",      # RFC 9113
    "lib/h2/tunnel.h": "data_max",                                     # one frame a record
    "lib/io/frames.h": "pooled_max",                                   # larger frames come from the system
    "lib/io/uring.cpp": "send_max",                                    # of one operation; the rest is another
    "lib/kube/fields.cpp": "shown_bytes_max",                          # of a value in a message
    "lib/kube/names.cpp": "name_bytes_max",                            # for "did you mean"
    "lib/mesh/dns.h": "udp_plain_max message_max",                     # RFC 1035
    "lib/mesh/dns_message.cpp": "label_max name_max",                  # RFC 1035
    "lib/mesh/headers.cpp": "hostname_max",                            # RFC 1035
    "lib/tls/certificate.cpp": "wall_max",                             # of a clock
    "lib/tls/records.h": "ciphertext_max",                             # RFC 8446
    "lib/tls/state_directory.h": "bytes_max",                          # a parameter
    "lib/tls/token.h": "node_name_max",                                # Kubernetes
    "ztunnel/outbox.cpp": "gathered_piece_max",                        # copy or not
    "ztunnel/zds.cpp": "backoff_max",                                  # Z-6
}
MAXIMUM = re.compile(r"^ *(?:(?:static|inline|constexpr|const) )*[\w:<>]+ (\w+_max)(?: =|\{)", re.M)
CITED = re.compile(r"docs/limits\.md: (\w+(?:\.\w+)?)")


def sources():
    for folder in ("lib", "ztunnel", "agent", "controller", "cli", "bpf"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cpp", ".c") and not path.name.startswith("sim"):
                yield str(path.relative_to(ROOT)), path.read_text()


def wrong_limits():
    """Every `_max` of the code has a row at its file (its name ends the row's, or stands behind the file); whatever a row names there
    exists; every row that the code cites exists."""
    names, rowed = set(), set()
    for name, where, *_ in rows("docs/limits.md", 5):
        names.update((name, name.split(".")[0]))
        for file, constants in re.findall(r"([\w/]+\.\w+)((?: `[^`]+`)*)", where):
            rowed.update((file, constant) for constant in (name.split(".")[-1], name.replace(".", "_")))
            for constant in re.findall(r"`([^`]+)`", constants):
                rowed.add((file, constant))
                if not (ROOT / file).exists() or not re.search(rf"\b{constant}\b", (ROOT / file).read_text()):
                    yield f"docs/limits.md: {name}: {file} has no {constant}"
    for path, text in sources():
        for constant in MAXIMUM.findall(text):
            if (path, constant) not in rowed and constant not in NO_BOUNDS.get(path, "").split():
                yield f"{path}: {constant} has no row in docs/limits.md"
        for cited in CITED.findall(re.sub(r"\n *(?://|\*) ?", " ", text)):
            if cited not in names:
                yield f"{path}: docs/limits.md has no row {cited}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--summary", action="store_true", help="counts and what is unaccounted for")
    parser.add_argument("--check", action="store_true", help="exit 1 when something is unaccounted for")
    options = parser.parse_args()

    wire = (ROOT / "docs/wire.md").read_text()
    body, open_part = wire.split("## 11. Open facts")
    known = facts(body)
    deviating = table_ids((ROOT / "docs/deviations.md").read_text())
    open_ids = table_ids(open_part)
    tests = tested()

    def state(fact):
        if fact in tests:
            return "tested"
        if fact in deviating:
            return "deviation"
        return "open" if fact in open_ids else "UNACCOUNTED"

    if not (options.summary or options.check):
        for fact, words in known.items():
            where = ", ".join(sorted(tests.get(fact, ()))[:2])
            print(f"{fact:6} {state(fact):12} {words[:60]:60} {where}")
    counts = {}
    for fact in known:
        counts.setdefault(state(fact), []).append(fact)
    print(", ".join(f"{len(ids)} {name}" for name, ids in sorted(counts.items())), f"of {len(known)} facts")
    missing = counts.get("UNACCOUNTED", [])
    if missing:
        print("without a test, a deviation or a reason to be open:", " ".join(missing))
    strange = sorted(set(tests) - set(known))
    if strange:
        print("named by tests but not in docs/wire.md:", " ".join(strange))
    wrong = [*wrong_rules(), *wrong_limits()]
    for each in wrong:
        print(each)
    return 1 if options.check and (missing or strange or wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
