#!/usr/bin/env python3
"""Runs the README: its commands on the backend that its own `cargo local` starts, compared with what it says they print.

In README.md, every line after `$ ` in a ```console block is run and must print the lines that follow it, where … stands
for any text. `cargo local` and `cargo lambda watch` stand in ```sh blocks; each is started where it stands and ended at
the end by Ctrl-C, after which nothing it started may still run. Variables live from one of the two to the next. Every
event in tests/events must get its answer from cargo-lambda too, and the route table must be the router's.

Linux only, because /proc tells what still runs. Needs curl, and cargo-lambda on the PATH.
"""

import json
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

# What a command starts inherits this variable with a value of the command's own, or descends from what did.
MARK = "SEER_README"


class Wrong(Exception):
    """The README and the project differ."""


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(r"^```%s\n(.*?)^```" % language, text, re.DOTALL | re.MULTILINE)


def split_at(text: str, beginning: str) -> tuple[str, list[str], str]:
    """The one line of the README that is this command, without its comment, and what stands before and after it."""
    found = list(re.finditer(r"^%s\b.*$" % beginning, text, re.MULTILINE))
    if len(found) != 1:
        raise Wrong("README.md should have one line `%s…`, not %d" % (beginning, len(found)))
    line = found[0]
    return text[: line.start()], shlex.split(line.group(), comments=True), text[line.end() :]


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
    end = "-- %s" % uuid.uuid4()
    script = "".join("%s\necho; echo '%s'\n" % (command, end) for command, _ in every)
    done = subprocess.run(
        ["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=ROOT, timeout=STARTS_WITHIN
    )
    outputs = done.stdout.decode().replace("\r\n", "\n").split(end)
    for (command, expected), printed in zip(every, outputs):
        print("$ %s" % command, end="", flush=True)
        if not fits(printed, expected):
            raise Wrong("it printed\n%s\nand README.md says\n%s" % (printed.strip(), expected.strip()))
    print("%d commands print what the README says" % len(every))


def invoke_events() -> None:
    """Sends every event to its function through cargo-lambda. What each answers exactly is for tests/it to say: here
    no function may fail, whatever earlier runs have left in the database."""
    at = ["-A", "127.0.0.1", "-P", "9010"]
    for event in sorted((ROOT / "tests/events").glob("*.json")):
        function = event.stem.removesuffix("-scheduled")
        command = ["cargo", "lambda", "invoke", *at, function, "--data-file", str(event)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=ROOT, timeout=STARTS_WITHIN)
        answer = json.loads(done.stdout) if done.returncode == 0 else {}
        # The schedule gets a report, no HTTP answer.
        # 501 is a service that the deployment is not connected to.
        good = answer.get("statusCode", 500) in (*range(500), 501) or "state" in answer
        print("%-24s %s" % (event.name, answer.get("statusCode") or answer.get("state")), flush=True)
        if not good:
            raise Wrong("%s answered %s\n%s" % (function, done.stdout.decode(), done.stderr.decode()))


def route_table(text: str) -> None:
    """Compares the README's route table with the router."""
    table = set(re.findall(r"^\| `([a-z-]+)` \| ([A-Z]+) (/\S+) \|", text, re.MULTILINE))
    with open(ROOT / "Cargo.toml", "rb") as manifest:
        router = tomllib.load(manifest)["workspace"]["metadata"]["lambda"]["watch"]["router"]
    routes = {(entry["function"], entry["method"], path) for path, entries in router.items() for entry in entries}
    if table != routes:
        raise Wrong("README.md's route table and Cargo.toml's router differ: %s" % sorted(table ^ routes))
    print("the route table names all %d routes" % len(table))


class Started:
    """A command that runs, as a terminal would have it: in a process group of its own, which Ctrl-C reaches whole."""

    def __init__(self, command: list[str], url: str) -> None:
        if answers(url):
            raise Wrong("something answers at %s already: stop it first" % url)
        print("$ %s" % shlex.join(command), flush=True)
        self.url = url
        self.mark = str(uuid.uuid4())
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, env={**os.environ, MARK: self.mark}, process_group=0
        )

    def wait(self) -> None:
        """Waits until its address answers."""
        until = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Wrong("it ended with %d before %s answered" % (self.process.returncode, self.url))
            if answers(self.url):
                return
            time.sleep(0.2)
        raise Wrong("%s did not answer within %d s" % (self.url, STARTS_WITHIN))

    def stop(self) -> None:
        """Presses Ctrl-C; nothing that was started may go on running."""
        before = self.processes()
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            raise Wrong("Ctrl-C did not end it within %d s" % STOPS_WITHIN) from None
        # What ends by itself because its parent did may need a moment.
        until = time.monotonic() + STOPS_WITHIN
        while left := (before & parents().keys()) | self.processes():
            if time.monotonic() > until:
                raise Wrong("Ctrl-C left running: %s" % ", ".join(sorted(map(name_of, left))))
            time.sleep(0.1)

    def kill(self) -> None:
        """Ends all of it at once."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass

    def processes(self) -> set[int]:
        """What runs of it: what carries its mark, and the descendants of that and of itself."""
        tree = parents()
        found = {pid for pid in tree if pid == self.process.pid or self.marked(pid)}
        while more := {pid for pid, parent in tree.items() if parent in found} - found:
            found |= more
        return found

    def marked(self, pid: int) -> bool:
        try:
            environment = Path("/proc/%d/environ" % pid).read_bytes()
        except OSError:
            return False
        return ("%s=%s" % (MARK, self.mark)).encode() in environment.split(b"\0")


def answers(url: str) -> bool:
    """Whether anything does, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


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


def name_of(pid: int) -> str:
    try:
        return "%d %s" % (pid, Path("/proc/%d/comm" % pid).read_text().strip())
    except OSError:
        return str(pid)


def main() -> None:
    text = (ROOT / "README.md").read_text()
    route_table(text)
    head, local, text = split_at(text, "cargo local")
    middle, watch, tail = split_at(text, "cargo lambda watch")
    if not (blocks(middle, "console") and blocks(tail, "console")) or blocks(head, "console"):
        raise Wrong("README.md should have console blocks after `cargo local` and after `cargo lambda watch` only")
    running: list[Started] = []
    try:
        for command, url, text in ((local, HEALTH, middle), (watch, WATCH, tail)):
            running.append(Started(command, url))
            running[-1].wait()
            run_blocks(text)
        invoke_events()
        while running:
            running[-1].stop()
            running.pop()
        print("Ctrl-C left nothing running")
    finally:
        for started in running:
            started.kill()


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit("README: %s" % wrong)
