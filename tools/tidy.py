#!/usr/bin/env python3
"""The lint that a compiler cannot be: who may include whom, lengths, the await form, words, maps without a contract.

  tools/tidy.py            check the tree; one line a finding, exit 1 when there is any
  tools/tidy.py FILE...    only these files

A rule may be broken where a comment on that line or the line above says `tidy: why`.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Who may include whom (docs/architecture.md). A folder always sees itself; test/ and bench/ see everything.
MAY_INCLUDE = {
    "lib/base": set(),
    "lib/mesh": {"lib/base"},
    "lib/h2": {"lib/base"},
    "lib/h1": {"lib/base"},
    "lib/io": {"lib/base", "bpf/abi.h"},
    "lib/control": {"lib/base", "lib/io", "lib/h1"},
    "lib/tls": {"lib/base", "lib/mesh/identity.h"},
    "lib/xds": {"lib/base", "lib/mesh", "lib/io", "lib/tls", "proto"},
    "lib/kube": {"lib/base", "lib/mesh", "lib/io"},
    "bpf": set(),
    "ztunnel": {"bpf/abi.h", "lib/base", "lib/io", "lib/control", "lib/tls", "lib/h2", "lib/h1", "lib/mesh", "lib/xds", "proto/zds.pb.h"},
    "controller": {"lib/base", "lib/io", "lib/control", "lib/tls", "lib/h1", "lib/mesh", "lib/xds", "lib/kube"},
    "agent": {"lib/base", "lib/io", "lib/control", "lib/h1", "lib/mesh", "lib/xds", "lib/kube", "bpf/abi.h", "proto/zds.pb.h"},
    "cli": {"lib/base", "lib/io", "lib/control", "lib/h1", "lib/mesh", "lib/kube"},
}
# Foreign headers that only these places may include.
FENCED = {
    r"openssl/": r"lib/tls/",
    r"liburing": r"lib/io/uring",
    r"nghttp2/": r"lib/h2/",
    r"(grpcpp|google/protobuf)/": r"lib/xds/",
    r"zds\.pb\.h": r"(ztunnel|agent)/zds",
    r"yaml-cpp/": r"lib/kube/yaml",
    r"nlohmann/": r"(lib/kube/json|ztunnel/config_dump|controller/json|agent/json|cli/json)",
    r"CLI/": r"(ztunnel|controller|agent|cli)/flags",
    r"spdlog/": r"lib/base/log",
    r".*\.skel\.h": r"agent/",
    r"(bpf/(libbpf|bpf)\.h)": r"agent/",
}
# What must not appear, and what to use instead. Only where the path matches.
BANNED = [
    (r"^(?!lib/base/|lib/io/uring|test/|bench/).*\.(cpp|h)$", r"\b(steady_clock|system_clock::now|gettimeofday|clock_gettime)\b",
     "time comes from the loop (lib/base/clock.h)"),
    (r"^(?!lib/base/|lib/tls/|test/|bench/).*\.(cpp|h)$", r"\b(std::mt19937|std::random_device|rand\(\)|getrandom)\b",
     "chance comes from the loop (lib/base/random.h)"),
    (r"\.(cpp|h)$", r"\busing namespace (?!culvert)(?!std::)", "no using namespace"),
    (r"^(lib|ztunnel|controller|agent|cli)/.*\.h$", r"^using namespace", "no using namespace in a header"),
    (r"^(lib|ztunnel|controller|agent|cli)/.*\.(cpp|h)$", r"\b(upstream|downstream)_\w*\s*[=({;]",
     "sides are named by who is there: app and peer, caller and backend"),
    (r"^(lib|ztunnel|controller|agent|cli)/.*\.(cpp|h)$", r"(?<![\w:.])(system|popen)\(", "no shell from our programs"),
    (r"^(lib|ztunnel|controller|agent|cli)/.*\.(cpp|h)$", r"(?<!static_)\bassert\(", "check() stays on in release; use it"),
    (r"\.(cpp|h|c|py|sh|md|txt|cmake)$", r"TODO\(now\)", "TODO(now) must be done before it lands"),
    (r"\.(cpp|h|c|py)$", r"\b(FIXME|XXX)\b", "say it as TODO(perf|security|someday): text"),
]
THROWING_ADAPTERS = re.compile(r"(lib/kube/yaml|lib/kube/json|\w+/json|\w+/flags|lib/xds/grpc)\w*\.(cpp|h)$")
FILE_LINES_MAX, FUNCTION_LINES_MAX, LINE_MAX = 400, 60, 110
# Data as code: long tables are their own idea.
LONG_FILES = re.compile(r"^(tools/tidy\.py|bpf/vmlinux\.h)$")

findings = []


def report(path, line, text):
    findings.append(f"{path}:{line}: {text}")


def excused(lines, index):
    return "tidy:" in lines[index] or (index > 0 and "tidy:" in lines[index - 1])


def folder_of(path):
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "lib" else parts[0]


def check_includes(path, lines):
    allowed = MAY_INCLUDE.get(folder_of(path))
    for index, line in enumerate(lines):
        match = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
        if not match or excused(lines, index):
            continue
        name = match.group(1)
        for fenced, home in FENCED.items():
            if re.match(fenced, name) and not re.match(home, path) and not path.startswith(("test/", "bench/")):
                if not (path.startswith("bpf/") and name.startswith("bpf/")):
                    report(path, index + 1, f"{name} may only be included from {home}")
        if allowed is None or '"' not in line:
            continue
        target = folder_of(name)
        if target == folder_of(path) or "/" not in name or target in allowed or name in allowed:
            continue
        if target in MAY_INCLUDE or target == "proto":
            report(path, index + 1, f"{folder_of(path)} may not include {name} (docs/architecture.md)")


def check_lengths(path, lines):
    if path.startswith(("test/", "bench/")):
        limit = 2 * FILE_LINES_MAX  # a test file is a list of claims
    else:
        limit = FILE_LINES_MAX
    if len(lines) > limit and not LONG_FILES.match(path):
        report(path, len(lines), f"{len(lines)} lines; one idea a file, at most {limit}")
    raw = raw_strings(lines)
    for index, line in enumerate(lines):
        if len(line) <= (160 if path.endswith(".py") else LINE_MAX) or excused(lines, index) or index in raw:
            continue
        if not LONE_LITERAL.match(line) and not line.startswith("TEST_CASE("):
            report(path, index + 1, f"line of {len(line)} characters, at most {LINE_MAX}")
    if path.startswith("test/") or not re.search(r"\.(cpp|h|c)$", path):
        return
    for start, end in functions("\n".join(lines)):
        if end - start + 1 > FUNCTION_LINES_MAX and not excused(lines, start):
            report(path, start + 1, f"function of {end - start + 1} lines, at most {FUNCTION_LINES_MAX}")


# A string that stands alone in its line may be long: it cannot be broken without breaking what it says.
LONE_LITERAL = re.compile(r"""^\s*f?"(?:[^"\\]|\\.)*"[,;)\]}]*$""")


def raw_strings(lines):
    """Indexes of lines that a raw string or a Python text of several lines begins on, goes through or ends on."""
    text, inside = "\n".join(lines), set()
    for match in re.finditer(r'R"(\w*)\(.*?\)\1"|"""(?:[^\\]|\\.)*?"""', text, re.S):
        inside.update(range(text.count("\n", 0, match.start()), text.count("\n", 0, match.end()) + 1))
    return inside


NOT_CODE = re.compile(r'R"(\w*)\(.*?\)\1"|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)+\'(?<!\d)|//[^\n]*|/\*.*?\*/|^\s*#(?:[^\n]*\\\n)*[^\n]*',
                      re.S | re.M)
# What stands between the parameters of a function and its body.
FUNCTION_HEAD = re.compile(r"\)\s*(?:(?:const|noexcept|override|final|mutable|&&?|requires\b[^{;]*|->[^{;]*)\s*)*(?::[^:].*)?$", re.S)


def functions(text):
    """First and last line, from 0, of every function with a body: also in classes, and with a head of several lines."""
    # Strings, comments and directives become blanks of the same length.
    text = NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), re.sub(r"(?<=\d)'(?=\d)", " ", text))
    at, head_from, begun = 0, 0, None  # begun: where the head began of whose initialisers we have seen a part
    while at < len(text):
        if text[at] == ";":
            head_from, begun = at + 1, None
        elif text[at] == "}":
            head_from, begun = at + 1, None
        elif text[at] == "{":
            head = re.sub(r"\b(public|protected|private):", "", text[head_from:at])
            goes_on = begun is not None and re.match(r"\s*(,|$)", head)
            is_function = goes_on or (FUNCTION_HEAD.search(head) and not head.rstrip().endswith("="))
            initialiser = re.search(r"[\w>]\s*$", head) and (goes_on or re.search(r"\)[^{;]*:[^:]", head))
            container = re.search(r"\b(namespace|class|struct|union|extern)\b", head) and not is_function
            if not container:
                end = closing(text, at)
                if initialiser or is_function:
                    begun = head_from if begun is None else begun
                if is_function and not initialiser:
                    first = begun + len(text[begun:]) - len(text[begun:].lstrip())
                    yield text.count("\n", 0, first), text.count("\n", 0, end)
                    begun = None
                at = end
                head_from = at + 1
            else:
                head_from, begun = at + 1, None
        at += 1


def closing(text, at):
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return end
    return len(text) - 1


AWAIT_FORMS = [
    re.compile(r"^(?:(?:const )?[\w:<>,*&\[\] ]+ )?(?:std::ignore|[\w.>\-\[\]]+) ?= co_await [\w.:>\-]+(\((?:[^{}&|?]*)\))?;$"),
    re.compile(r"^co_await [\w.:>\-]+(\((?:[^{}&|?]*)\))?;$"),
    re.compile(r"^co_return co_await [\w.:>\-]+(\((?:[^{}&|?]*)\))?;$"),
    re.compile(r"^(?:CO_TRY\(.*, |CO_TRY_DONE\()co_await [\w.:>\-]+(\((?:[^{}&|?]*)\))?\);$"),
]


def check_awaits(path, lines):
    text = [re.sub(r"//.*", "", line) for line in lines]
    for index, line in enumerate(text):
        if not re.search(r"(?<!operator )\bco_await\b", line) or excused(lines, index):
            continue
        # A body on the line of its function's head is judged by itself.
        statement, at = re.sub(r"^.*\) \{ (.*;) \}$", r"\1", line.strip()), index
        while not statement.endswith((";", "{")) and at + 1 < len(text):
            at += 1
            statement += " " + text[at].strip()
        if '"' in statement and "co_await" not in re.sub(r'"[^"]*"', "", statement):
            continue
        statement = re.sub(r"^(if \([^)]*\)|else|case [^:]+:|for \([^)]*\)|while \(true\)) ", "", statement)
        if not any(form.match(statement) for form in AWAIT_FORMS):
            report(path, index + 1, f"await form (docs/style.md): {statement[:80]}")


def check_words(path, lines):
    for where, pattern, why in BANNED:
        if not re.search(where, path):
            continue
        expression = re.compile(pattern)
        for index, line in enumerate(lines):
            code = re.sub(r"//.*", "", line) if not pattern.startswith("TODO") else line
            if expression.search(code) and path != "tools/tidy.py" and not excused(lines, index):
                report(path, index + 1, f"{why}: {line.strip()[:60]}")


def check_throws(path, lines):
    if not re.match(r"^(lib|ztunnel|controller|agent|cli)/", path) or THROWING_ADAPTERS.search(path):
        return
    for index, line in enumerate(lines):
        if re.search(r"^\s*(try \{|throw )|\} catch", re.sub(r"//.*", "", line)) and not excused(lines, index):
            report(path, index + 1, "exceptions stay inside the adapters of libraries that throw")


def check_headers(path, lines):
    if not re.match(r"^(lib|ztunnel|controller|agent|cli)/.*\.h$", path):
        return
    if not lines or not lines[0].startswith("//"):
        report(path, 1, "a header opens with a paragraph: what for, who owns it, which thread, limits")
    if "#pragma once" not in lines:
        report(path, 1, "#pragma once is missing")


def check_maps(path, lines):
    if not path.startswith("bpf/") or path.endswith("vmlinux.h"):
        return
    for index, line in enumerate(lines):
        if 'SEC(".maps")' in line and "define" not in line:
            above = lines[max(0, index - 12):index]
            if not any("*/" in before or "//" in before or "/*" in before for before in above):
                report(path, index + 1, "a map is declared with its contract: who writes, who reads, what absence means")


def main():
    if len(sys.argv) > 1:
        if sys.argv[1] in ("-h", "--help"):
            print(__doc__)
            return 0
        files = sys.argv[1:]
    else:
        listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                                capture_output=True, text=True, check=True).stdout
        files = [f for f in listed.split("\n") if f]
    for path in files:
        if "/corpus/" in path or path.startswith("test/vectors/") or not (ROOT / path).is_file():
            continue
        if not re.search(r"\.(cpp|h|c|py)$", path):
            continue
        lines = (ROOT / path).read_text(errors="replace").split("\n")
        check_lengths(path, lines)
        check_words(path, lines)
        if re.search(r"\.(cpp|h|c)$", path):
            check_includes(path, lines)
            check_headers(path, lines)
            check_maps(path, lines)
        if re.search(r"\.(cpp|h)$", path) and not path.startswith("test/unit/io/compiler"):
            check_awaits(path, lines)
            check_throws(path, lines)
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings in {len(files)} files")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
