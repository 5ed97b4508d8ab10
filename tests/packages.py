#!/usr/bin/env python3
"""Installs the packages of a list into a folder of their own, unless they are there.

Usage: packages.py LIST FOLDER

The list names every package with its version and the hashes of its files, and nothing else is installed: no dependency
that it leaves out, and nothing from source, because that would run code without a hash. Not into a virtual environment:
Debian's Python needs another package to make one.
"""

import shutil
import subprocess
import sys
from pathlib import Path

PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-conflicts"]
HASHED = ["--no-compile", "--no-deps", "--only-binary", ":all:", "--require-hashes"]


def install(listed: Path, folder: Path) -> None:
    """Replaces the folder if it was installed from another list."""
    wanted = listed.read_text()
    mark = folder / "installed"
    if mark.is_file() and mark.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([*PIP, *HASHED, "--target", folder, "-r", listed], check=True)
    mark.write_text(wanted)


if __name__ == "__main__":
    install(Path(sys.argv[1]), Path(sys.argv[2]))
