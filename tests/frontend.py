#!/usr/bin/env python3
"""Drives the app's pages in Chromium against `cargo local`.

Usage: frontend.py FRONTEND [PICTURES]: the folder of the pages' source, with its package.json, and a folder for
screenshots. CONTRIBUTING.md says where the pages are. Without FRONTEND nothing is done, and it says so. Nothing of the
pages is part of this project: they are copied to target/frontend, and built there with the identity provider's library
replaced by tests/frontend/identity.js.

Each page is opened as the seed's admin and as its member (tests/frontend/pages.py). Then a new team signs up, meets and
parts (walk.py), recorded by recorder.py. No request may fail, none may be repeated in a loop, and the console may show
no error. At last a route is tried out on the documentation of the API. The data in target/local is deleted first. The
pages call the literal address http://localhost:3001, so this port must be free, and 5173, where they are served from.
Needs npm and Chromium; Playwright comes from PyPI into target/tools. Linux only, as readme.py, which starts
`cargo local`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# No cache files beside the imported ones.
sys.dont_write_bytecode = True

import packages
from readme import ROOT, Started, Wrong

HERE = ROOT / "tests/frontend"
sys.path.insert(0, str(HERE))

from browser import API, PAGES
from pages import every_page
from recorder import SECRETS
from walk import Walk

BUILD = ROOT / "target/frontend"
TOOL = ROOT / "target/tools/playwright"


def build(source: Path) -> None:
    """Builds the pages, with the identity provider's library replaced."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in os.listdir(source):
        if name in ("node_modules", "dist", ".git"):
            continue
        target = BUILD / name
        if (source / name).is_dir():
            shutil.copytree(source / name, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source / name, target)
    for name in ("identity.js", "frontend.config.mjs"):
        shutil.copyfile(HERE / name, BUILD / name)
    lock, mark = (BUILD / "package-lock.json").read_text(), BUILD / "node_modules/installed"
    if not mark.is_file() or mark.read_text() != lock:
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=BUILD, check=True)
        mark.write_text(lock)
    styles = ["npx", "tailwindcss", "-i", "src/index.css", "-o", "src/output.css"]
    subprocess.run(styles, cwd=BUILD, check=True, stderr=subprocess.DEVNULL)
    pages = ["npx", "vite", "build", "--config", "frontend.config.mjs", "--logLevel", "warn"]
    environment = {**os.environ, "VITE_CLERK_PUBLISHABLE_KEY": "none", "VITE_API_URL": API}
    subprocess.run(pages, cwd=BUILD, check=True, env=environment)


def documentation(chromium) -> list[str]:
    """Tries a route out on the page of the API's documentation, and returns the faults."""
    page, found = chromium.new_page(), []
    page.on("console", lambda message: message.type == "error" and found.append("/docs: " + message.text))
    page.on("pageerror", lambda error: found.append("/docs: %s" % error))
    page.goto(API + "/docs")
    route = page.locator("[id$=-users-me]")
    route.locator(".opblock-summary-control").click()
    route.locator("button.execute").click()
    status = route.locator(".live-responses-table .response-col_status").nth(1).inner_text()
    if not status.startswith("200"):
        found.append("/docs: GET /api/users/me is answered %s" % status)
    page.close()
    return found


def drive(pictures: Path | None) -> list[str]:
    """Opens the pages and walks, and returns the faults."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise Wrong("there is no Chromium on the PATH")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        found = every_page(chromium, pictures) + Walk(chromium, pictures).whole() + documentation(chromium)
        chromium.close()
    return found


def main() -> None:
    if len(sys.argv) < 2:
        print("skipped: give the folder of the pages' source, such as the frontend/ of a clone")
        return
    pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    packages.install(HERE / "requirements.txt", TOOL)
    sys.path.append(str(TOOL))
    build(Path(sys.argv[1]))
    os.environ["LOG_LEVEL"] = "warn"
    os.environ["WEBHOOK_SECRET"] = SECRETS
    started = []
    try:
        started.append(Started(["cargo", "local", "--reset", "--origin", PAGES], API + "/api/health"))
        started[-1].wait()
        preview = ["npx", "vite", "preview", "--config", "frontend.config.mjs", "--port", "5173", "--strictPort"]
        started.append(Started(["sh", "-c", 'cd "$0" && exec "$@"', str(BUILD), *preview], PAGES))
        started[-1].wait()
        found = drive(pictures)
        for one in reversed(started):
            one.stop()
    finally:
        for one in started:
            one.kill()
    if found:
        raise Wrong("%d faults\n%s" % (len(found), "\n".join(found)))
    print("every page shows its rows, and a team has signed up, met and parted, without a fault")


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit("frontend: %s" % wrong)
