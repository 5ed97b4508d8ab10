#!/usr/bin/env python3
"""Runs the README: its commands on the backend that its own `cargo local` starts, compared with what it says they print.

In README.md, every line after `$ ` in a ```console block is run, all of them in one shell, and must print the lines that
follow it, where … stands for any text. The lines beginning with `cargo local` and `cargo lambda watch` in ```sh blocks
are started first and ended by Ctrl-C, after which nothing they started may still run. The route table must name what
the router in Cargo.toml does. Linux only, because /proc tells what still runs. Needs curl, and cargo-lambda on the PATH.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEALTH = "http://localhost:3001/api/health"
WATCH = "http://127.0.0.1:9010/"

# Both build first, from nothing on a small machine.
STARTS_WITHIN = 20 * 60
STOPS_WITHIN = 30

# Everything started here inherits it, or descends from what did.
MARK = "SEER_README=%s" % uuid.uuid4()


class Wrong(Exception):
    """The README and the project differ."""


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(r"^```%s\n(.*?)^```" % language, text, re.DOTALL | re.MULTILINE)


def only_line(text: str, beginning: str) -> list[str]:
    """The one command of the README's sh blocks that begins so, without its comment."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    found = [shlex.split(line, comments=True) for line in lines if line.startswith(beginning)]
    if len(found) != 1:
        raise Wrong("README.md should have one line `%s…` in a sh block, not %d" % (beginning, len(found)))
    return found[0]


def steps(block: str) -> list[tuple[str, str]]:
    """Commands and what each should print."""
    found: list[tuple[str, str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found and found[-1][0].endswith("\\\n"):
            found[-1] = (found[-1][0] + line, "")
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def fits(printed: str, expected: str) -> bool:
    """Whether the output is the expected one, where … in it stands for any text."""
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def run_blocks(text: str) -> None:
    """Runs the console blocks in one shell and compares."""
    every = [step for block in blocks(text, "console") for step in steps(block)]
    if not every:
        raise Wrong("README.md has no console block to run")
    end = "-- %s" % uuid.uuid4()
    script = "".join("%s\necho; echo '%s'\n" % (command, end) for command, _ in every)
    done = subprocess.run(
        ["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=ROOT, timeout=STARTS_WITHIN
    )
    outputs = done.stdout.decode().split(end)
    for (command, expected), printed in zip(every, outputs):
        print("$ %s" % command, end="")
        if not fits(printed, expected):
            raise Wrong("it printed\n%s\nand README.md says\n%s" % (printed.strip(), expected.strip()))
    print("%d commands of the README print what it says" % len(every))


def route_table(text: str) -> None:
    """Compares the README's route table with the router."""
    table = set(re.findall(r"^\| `([a-z-]+)` \| ([A-Z]+) (/\S+) \|", text, re.MULTILINE))
    with open(ROOT / "Cargo.toml", "rb") as manifest:
        router = tomllib.load(manifest)["workspace"]["metadata"]["lambda"]["watch"]["router"]
    routes = {(entry["function"], entry["method"], path) for path, entries in router.items() for entry in entries}
    if table != routes:
        raise Wrong("README.md's route table and Cargo.toml's router differ: %s" % sorted(table ^ routes))
    print("the route table names all %d routes" % len(table))


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """Starts a command as a terminal would: in a process group of its own, which Ctrl-C reaches whole."""
    print("$ %s" % shlex.join(command), flush=True)
    name, value = MARK.split("=")
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, env={**os.environ, name: value}, process_group=0
    )


def wait_for_answer(process: subprocess.Popen[bytes], url: str) -> None:
    """Waits until the address answers, whatever it answers."""
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Wrong("it ended with %d before %s answered" % (process.returncode, url))
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise Wrong("%s did not answer within %d s" % (url, STARTS_WITHIN))


def parents() -> dict[int, int]:
    """Every running process and its parent; zombies do not run."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX":
                found[int(entry.name)] = int(fields[1])
    return found


def started_by(process: subprocess.Popen[bytes]) -> set[int]:
    """The processes that descend from a command, or carry its mark."""
    tree, found = parents(), {process.pid}
    while more := {pid for pid, parent in tree.items() if parent in found} - found:
        found |= more
    return found | marked(tree)


def marked(tree: dict[int, int]) -> set[int]:
    """The processes that inherited the mark."""
    found = set()
    for pid in tree:
        try:
            if MARK.encode() in Path("/proc/%d/environ" % pid).read_bytes().split(b"\0"):
                found.add(pid)
        except OSError:
            continue
    return found


def stop(process: subprocess.Popen[bytes]) -> None:
    """Presses Ctrl-C; nothing that was started may go on running."""
    ours = started_by(process)
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        raise Wrong("Ctrl-C did not end it within %d s" % STOPS_WITHIN) from None
    # What ends by itself because its parent did may need a moment.
    until = time.monotonic() + STOPS_WITHIN
    while left := (ours & parents().keys()) | marked(parents()):
        if time.monotonic() > until:
            raise Wrong("Ctrl-C left running: %s" % ", ".join(sorted(map(name_of, left))))
        time.sleep(0.1)


def name_of(pid: int) -> str:
    try:
        return "%d %s" % (pid, Path("/proc/%d/comm" % pid).read_text().strip())
    except OSError:
        return str(pid)


def main() -> None:
    text = (ROOT / "README.md").read_text()
    route_table(text)
    running = []
    try:
        for beginning, url in (("cargo local", HEALTH), ("cargo lambda watch", WATCH)):
            running.append(start(only_line(text, beginning)))
            wait_for_answer(running[-1], url)
        run_blocks(text)
        while running:
            stop(running[-1])
            running.pop()
        print("Ctrl-C left nothing running")
    finally:
        for process in running:
            for pid in started_by(process):
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit("README: %s" % wrong)
