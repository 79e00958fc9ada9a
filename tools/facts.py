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
    wrong = [*wrong_rules()]
    for each in wrong:
        print(each)
    return 1 if options.check and (missing or strange or wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
