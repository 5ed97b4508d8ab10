#!/usr/bin/env python3
"""Runs the PostgreSQL guide on a server that has nothing yet: the commands for Debian in all chapters of
docs/POSTGRES_SETUP.md, in the order of that index.

First it compares the index with the chapters and follows the links: every link between the project's pages, and every
page that a source file names, must lead to a page and a heading. This needs nothing but Python.

Then it runs all chapters in one root shell: `sh` blocks as they are, `sql` blocks through psql as `postgres`, on the
database `seer` once it exists. In `console` blocks, a command after `$ ` must print the lines below it; … matches any
text. Other blocks are for other systems.

The server is this machine's own Debian under an overlay: with its packages and none of its clusters. Files are deleted
afterwards, and processes and network are separate, so that no PostgreSQL of this machine and none of its ports are
touched. Only apt-get has access to the network, for Debian's archive. Needs root on Debian or Ubuntu and the right to
create namespaces; otherwise it prints that it is skipped, and why.
"""

import ctypes
import fcntl
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from readme import Wrong, fits, steps

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs/POSTGRES_SETUP.md"

# The server's name in the guide. A real one has a DNS record; here the name resolves to this machine.
SERVER = "db.example.com"

# For the whole guide, on a machine with other work.
ENDS_WITHIN = 15 * 60

# Folders that a new server does not have.
CLUSTERS = ("/etc/postgresql", "/var/lib/postgresql", "/var/log/postgresql", "/var/backups/seer", "/etc/seer")

# linux/sched.h, linux/sockios.h, linux/if.h.
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


class Unable(Exception):
    """The guide cannot be run on this machine."""


# ---------------------------------------------------------------------------------------------------------------------
# The chapters and the links


def chapters(index: str) -> list[tuple[str, str]]:
    """Name and text of each chapter, in the order of the index."""
    listed = re.findall(r"\]\((postgres/[\w-]+\.md)\)", section(index, "Chapters"))
    there = {str(path.relative_to(GUIDE.parent)) for path in (GUIDE.parent / "postgres").glob("*.md")}
    if sorted(listed) != sorted(there):
        raise Wrong("the index and docs/postgres differ: %s" % sorted(set(listed) ^ there))
    return [(name, (GUIDE.parent / name).read_text()) for name in listed]


def unfenced(text: str) -> str:
    """A page without its blocks of code, in which `#` begins a comment instead of a heading."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def section(text: str, title: str) -> str:
    """The text under a heading, up to the next heading of the same or a higher rank."""
    found = re.search(r"^(#+) %s\n(.*?)(?=^#{1,6} |\Z)" % re.escape(title), text, re.DOTALL | re.MULTILINE)
    if not found:
        raise Wrong("the guide has no heading %r" % title)
    rank = len(found.group(1))
    rest = text[found.start(2) :]
    end = re.search(r"^#{1,%d} " % rank, rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def anchors(page: Path) -> set[str]:
    """The anchors of a page: its headings, named as GitHub names them, and each `<a id>`."""
    prose = unfenced(page.read_text())
    found = set(re.findall(r'<a\s+id="([^"]+)">', prose))
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    names = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    for at, anchor in enumerate(names):
        # GitHub numbers the second heading of a name.
        earlier = names[:at].count(anchor)
        found.add("%s-%d" % (anchor, earlier) if earlier else anchor)
    return found


def links() -> None:
    """Every link of a page, and every page that a source file names, leads to a file and to one of its anchors."""
    named = []
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        named += [(page, page.parent, link) for link in re.findall(r"\]\(([^)\s]+)\)", unfenced(page.read_text()))]
    for folder in ("cli", "functions", "local", "shared", "tests"):
        for path in (ROOT / folder).rglob("*.rs"):
            named += [(path, ROOT, link) for link in re.findall(r"\bdocs/[\w/-]+\.md(?:#[\w-]+)?", path.read_text())]
    named = [(source, folder, link) for source, folder, link in named if "://" not in link]
    lost = []
    for source, folder, link in named:
        file, _, anchor = link.partition("#")
        target = (folder / file).resolve() if file else source
        if not target.exists() or anchor and anchor not in anchors(target):
            lost.append("%s: %s" % (source.relative_to(ROOT), link))
    if lost:
        raise Wrong("links that lead nowhere:\n%s" % "\n".join(lost))
    print("%d links lead to a page and a heading" % len(named))


# ---------------------------------------------------------------------------------------------------------------------
# The guide as one script


def script(guide: list[tuple[str, str]], outputs: Path) -> tuple[str, list[tuple[str, str, str, Path]]]:
    """The guide's blocks as a bash script, and the expected outputs: place in the guide, command, text, file."""
    lines = ["set -euo pipefail", "trap 'echo \"failed in the block at $at\" >&2' ERR"]
    expected = []
    blocks = [
        ("%s:%d" % (name, text.count("\n", 0, found.start()) + 1), *found.groups())
        for name, text in guide
        for found in re.finditer(r"^```(sh|sql|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]
    for at, language, block in blocks:
        heading = shlex.quote("%s (%s)\n%s" % (at, language, block))
        lines += ["at=%s" % at, "printf '\\n--- %%d s: %%s\\n' \"$SECONDS\" %s" % heading]
        if language == "sh":
            lines.append(block)
        elif language == "sql":
            end = "end of the block at %s" % at
            lines += ["psql_as_postgres <<'%s'\n%s%s" % (end, block, end)]
        else:
            for command, output in steps(block):
                file = outputs / str(len(expected))
                expected.append((at, command, output, file))
                lines.append("{\n%s} >%s 2>&1 </dev/null || true" % (command, file))
    return "\n".join(lines) + "\n", expected


# Functions that the script can use on the new server.
PROLOGUE = r"""
psql_as_postgres() {
    local database=postgres
    if [ "$(runuser -u postgres -- psql -XAtqc "SELECT count(*) FROM pg_database WHERE datname = 'seer'")" = 1 ]; then
        database=seer
    fi
    runuser -u postgres -- psql -X -v ON_ERROR_STOP=1 -d "$database"
}
apt-get() {
    nsenter --net=/proc/self/fd/%d apt-get "$@"
}
"""


# ---------------------------------------------------------------------------------------------------------------------
# The server


def why_not() -> str | None:
    """Why the guide cannot be run here."""
    if os.geteuid() != 0:
        return "it needs root"
    if not shutil.which("apt-get"):
        return "this is neither Debian nor Ubuntu"
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        return "util-linux is not installed"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--net", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return None if tried.returncode == 0 else "root may make no namespaces here: " + tried.stderr.decode().strip()


def build() -> None:
    """Builds the binaries of the guide's cargo commands, with the network and the caches of this machine."""
    # The same selection as that of `cargo local`; otherwise its dependencies would be built again.
    command = ["cargo", "build", "--locked", "--quiet", "--package", "cli", "--bin", "seer", "--package", "functions"]
    with open(ROOT / "Cargo.toml", "rb") as manifest:
        router = tomllib.load(manifest)["workspace"]["metadata"]["lambda"]["watch"]["router"]
    for name in sorted({entry["function"] for route in router.values() for entry in route}):
        command += ["--bin", name]
    subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=True)
    # Without a network cargo needs all packages downloaded, also those that this build does not use.
    subprocess.run(["cargo", "fetch", "--quiet", "--locked"], cwd=ROOT, stdin=subprocess.DEVNULL, check=True)


def mount(kind: str, target: Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, "-t", kind, kind, str(target)], capture_output=True)
    if done.returncode != 0:
        raise Unable("%s cannot be mounted here: %s" % (kind, done.stderr.decode().strip()))


def bind(path: Path, root: Path) -> None:
    target = root / path.relative_to("/")
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--rbind", str(path), str(target)], check=True)


def enter(folder: Path) -> None:
    """Turns this process into one of a new server, in separate mount and process namespaces."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    names = {name: Path("/etc", name).read_text() for name in ("resolv.conf", "hosts")}
    # Not on the disk, because in a container the disk is an overlay already.
    mount("tmpfs", folder)
    layers = {name: folder / name for name in ("upper", "work", "root")}
    for layer in layers.values():
        layer.mkdir()
    root = layers["root"]
    mount("overlay", root, "-o", "lowerdir=/,upperdir=%s,workdir=%s" % (layers["upper"], layers["work"]))
    mount("proc", root / "proc")
    bind(Path("/dev"), root)
    bind(Path("/sys"), root)
    # Without the processes of this machine, systemd included.
    mount("tmpfs", root / "run")
    mount("tmpfs", root / "tmp", "-o", "mode=1777")
    bind(ROOT, root)
    # Cargo and Python, if they are on another disk.
    homes = (os.environ.get("CARGO_HOME", "~/.cargo"), os.environ.get("RUSTUP_HOME", "~/.rustup"), sys.prefix)
    for home in (Path(home).expanduser() for home in homes):
        if home.exists() and home.stat().st_dev != Path("/").stat().st_dev:
            bind(home, root)
    os.chroot(root)
    os.chdir(ROOT)
    for name in CLUSTERS:
        shutil.rmtree(name, ignore_errors=True)
    for name, content in names.items():
        Path("/etc", name).unlink(missing_ok=True)
        Path("/etc", name).write_text(content)
    with open("/etc/hosts", "a") as hosts:
        hosts.write("127.0.0.1 %s\n" % SERVER)
    # apt-get runs in the machine's network, so it must not start the servers it installs.
    Path("/usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    Path("/usr/sbin/policy-rc.d").chmod(0o755)


def own_network() -> None:
    """Creates a network with only a loopback interface."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise Unable("no network namespace: %s" % os.strerror(ctypes.get_errno()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.unpack("16sh", fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sh", b"lo", 0)))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def archive() -> None:
    """Checks that Debian's archive is reachable, or that the guide's packages are installed already."""
    command = ["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any"]
    if subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
        return
    for package in ("postgresql", "pgbouncer", "curl"):
        if subprocess.run(["dpkg", "-s", package], capture_output=True).returncode != 0:
            raise Unable("Debian's archive is out of reach, and %s is not installed" % package)


def inside(folder: Path) -> None:
    """Creates the server in separate namespaces and runs the guide on it."""
    enter(folder)
    archive()
    outputs = Path(tempfile.mkdtemp())
    body, expected = script(chapters(GUIDE.read_text()), outputs)
    out = os.open("/proc/self/ns/net", os.O_RDONLY)
    own_network()
    # This machine's settings must not influence the guide.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_"))}
    environment |= {"CARGO_NET_OFFLINE": "true", "LC_ALL": "C.UTF-8"}
    bash = ["bash", "-c", PROLOGUE % out + body]
    try:
        done = subprocess.run(
            bash, stdin=subprocess.DEVNULL, cwd=ROOT, env=environment, pass_fds=(out,), timeout=ENDS_WITHIN
        )
    except subprocess.TimeoutExpired:
        raise Wrong("it did not end within %d s: the last block above hangs" % ENDS_WITHIN) from None
    differ = []
    for at, command, output, file in expected:
        printed = file.read_text() if file.exists() else None
        if printed is not None and not fits(printed, output):
            parts = (at, command.strip(), printed.strip(), output.strip())
            differ.append("the command at %s\n%s\nprinted\n%s\nand the guide says\n%s" % parts)
    if differ:
        raise Wrong("\n\n".join(differ))
    if done.returncode != 0:
        raise Wrong("it ended with %d" % done.returncode)
    print("\n%d commands print what the guide says" % len(expected))


def main() -> None:
    # In order with the commands' output.
    sys.stdout.reconfigure(line_buffering=True)
    if sys.argv[1:2] == ["--inside"]:
        return inside(Path(sys.argv[2]))
    chapters(GUIDE.read_text())
    links()
    if reason := why_not():
        raise Unable(reason)
    build()
    since = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # bash is the first process of its namespace, because that one must reap the servers' orphans.
        again = shlex.join([sys.executable, __file__, "--inside", folder])
        namespaces = ["unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child"]
        done = subprocess.run([*namespaces, "bash", "-c", again + "; exit $?"], stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(done.returncode)
    print("the guide's Debian part took %d s" % (time.monotonic() - since))


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit("POSTGRES_SETUP: %s" % wrong)
    except Unable as reason:
        print("SKIPPED: the guide's commands were not run: %s" % reason)
