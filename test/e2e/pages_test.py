#!/usr/bin/env python3
"""The manifests that the pages show are valid; the paths, flags and variables that they name exist."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ["CULVERT_BUILD_DIR"]) / "bin"


def help_of(program, word):
    return subprocess.run([BIN / program, word], capture_output=True, text=True, check=True).stdout


# `lib/mesh/decide` is decide.h and decide.cpp; `test/unit/*` some files.
ENDINGS = ("", ".h", ".cpp", ".bpf.c", ".py")
PATH = re.compile(r"(?<![\w/.:<>@-])((?:\.ci|agent|bench|bpf|cli|cmake|controller|docs|lib|proto|test|tools|ztunnel)/[\w./*-]*[\w*/])")


def missing_paths():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")]
    for page in pages:
        text = page.read_text()
        for path in sorted(set(PATH.findall(text))):
            if not any(any(ROOT.glob(path.rstrip("/") + ending)) for ending in ENDINGS):
                yield f"{page.relative_to(ROOT)}: there is no {path}"
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            if not (page.parent / target).exists():
                yield f"{page.relative_to(ROOT)}: there is no {target} to go to"


def main():
    wrong = list(missing_paths())
    for page in (ROOT / "docs").glob("*.md"):
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)):
            with tempfile.TemporaryDirectory() as folder:
                (pathlib.Path(folder) / "page.yaml").write_text(block)
                done = subprocess.run([BIN / "controller", "validate", folder], capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    wrong.append(f"{page.name}, YAML block {number + 1}: {done.stdout}{done.stderr}")
    shown = (ROOT / "docs/two-hosts.md").read_text() + "".join(p.read_text() for p in (ROOT / "docs/systemd").iterdir())
    flags = help_of("agent", "--help") + help_of("controller", "--help") + help_of("culvert", "--help")
    for flag in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub(r"systemctl.*", "", shown))):
        if flag not in flags:
            wrong.append(f"no program has the flag {flag}")
    variables = help_of("ztunnel", "help")
    for variable in set(re.findall(r"\b(?:XDS|AUTH|CA|NODE)_[A-Z_]+\b", shown)):
        if variable not in variables and variable not in flags:
            wrong.append(f"no program reads {variable}")
    print("\n".join(wrong) or "pages are true")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
