#!/usr/bin/env python3
"""Drives the app's pages in Chromium against `cargo local`.

Usage: frontend.py FRONTEND [SCREENSHOTS]: the folder of the pages' source, with its package.json, and a folder for
pictures. Without FRONTEND nothing is done, and it says so. Nothing of the pages is part of this project: they are
copied to target/frontend, and built there with the identity provider's library replaced by tests/frontend/identity.js.

As an admin and as a member, each page is opened and must show its rows: no request may fail, none may be repeated in a
loop, and the console may show no error. The admin then adds, changes and deletes a key area. The pages call the literal
address http://localhost:3001, so this port must be free, and 5173, where they are served from. Needs npm and Chromium;
Playwright comes from PyPI into target/tools. Linux only, as readme.py, which starts `cargo local`.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

# No cache files beside the imported ones.
sys.dont_write_bytecode = True

from readme import ROOT, Started, Wrong

HERE = ROOT / "tests/frontend"
BUILD = ROOT / "target/frontend"
TOOL = ROOT / "target/tools/playwright"
API = "http://localhost:3001"
PAGES = "http://localhost:5173"

# Of the seed.
PEOPLE = {"dev-admin": ("admin@example.com", "Avery Adams"), "dev-member": ("member@example.com", "Morgan Meyer")}
MEMBER = "01900000-0000-7000-8000-000000000002"
RECORDED = "01900000-0000-7000-8000-000000000102"

# Each page, and a text of the seed that it shows to the admin and to the member; None for a page without one.
SHOWN = [
    ("/", None, None),
    ("/team", "Morgan Meyer", None),
    ("/team/%s" % MEMBER, "Morgan Meyer", "Morgan Meyer"),
    ("/meetings", "Sprint planning", "Sprint planning"),
    ("/meetings/%s" % RECORDED, "Bring the migration runbook up to date", "Bring the migration runbook up to date"),
    ("/settings", "Google", "Google"),
]

# Of the pages themselves, with any backend: the overview draws a chart of nothing.
KNOWN = "[DecimalError] Invalid argument: NaN"
# How often a page may send the same request; more is a loop.
MOST_REQUESTS = 4
# Seconds after which a page has sent its own requests.
SETTLED = 5


def install() -> None:
    """Puts Playwright where nothing else is, unless that very version is there."""
    wanted = (HERE / "requirements.txt").read_text()
    mark = TOOL / "installed"
    if mark.is_file() and mark.read_text() == wanted:
        return
    shutil.rmtree(TOOL, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", TOOL, "-r", HERE / "requirements.txt"], check=True)
    mark.write_text(wanted)


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


def person(sub: str) -> str:
    """A person with a token, as identity.js reads them."""
    email, name = PEOPLE[sub]
    command = ["cargo", "seer", "token", "--sub", sub, "--email", email, "--name", name]
    token = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode().strip()
    return json.dumps({"sub": sub, "email": email, "name": name, "token": token})


class Watched:
    """A page of the browser, and what went wrong on it."""

    def __init__(self, browser, sub: str) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.context.add_init_script("localStorage.setItem('person', %s)" % json.dumps(person(sub)))
        # Fonts and the like, which are other services.
        elsewhere = lambda url: not url.startswith((API, PAGES))
        self.context.route(elsewhere, lambda route: route.fulfill(status=200, body=""))
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.sent: Counter[str] = Counter()
        self.page.on("console", self.console)
        self.page.on("pageerror", lambda error: self.wrong.append("exception: %s" % error))
        self.page.on("request", self.request)
        self.page.on("response", self.response)
        self.page.on("requestfailed", lambda one: self.wrong.append("%s %s: %s" % (one.method, one.url, one.failure)))

    def console(self, message) -> None:
        if message.type == "error" and KNOWN not in message.text:
            self.wrong.append("console: %s" % message.text)

    def request(self, request) -> None:
        if request.url.startswith(API):
            self.sent["%s %s" % (request.method, request.url)] += 1

    def response(self, response) -> None:
        if response.url.startswith(API) and response.status >= 400:
            self.wrong.append("%s %s is %d" % (response.request.method, response.url, response.status))

    def open(self, path: str) -> None:
        self.wrong.clear()
        self.sent.clear()
        self.page.goto(PAGES + path)
        self.page.wait_for_timeout(SETTLED * 1000)

    def check(self, what: str) -> list[str]:
        repeated = ["%s was sent %d times" % item for item in self.sent.items() if item[1] > MOST_REQUESTS]
        return ["%s: %s" % (what, fault) for fault in [*self.wrong, *repeated]]


def key_areas(watched: Watched) -> list[str]:
    """Adds a key area of the member, changes it and deletes it, as the admin."""
    page, path = watched.page, "/team/%s" % MEMBER
    watched.open(path)
    page.get_by_role("button", name="Key areas", exact=True).first.click()
    page.get_by_text("Runbooks", exact=True).wait_for()
    page.get_by_role("button", name="Add Key Area").click()
    page.get_by_placeholder("Enter key area name").fill("Writing")
    page.get_by_placeholder("Enter key area description").fill("One page a week")
    add = page.get_by_role("button", name="Add", exact=True)
    add.click()
    # A form shows its text until the answer is there.
    add.wait_for(state="detached")
    page.get_by_text("One page a week", exact=True).wait_for()
    # The newest is first.
    page.get_by_title("Edit key area").first.click()
    page.get_by_placeholder("Enter key area description").fill("Two pages a week")
    save = page.get_by_role("button", name="Save", exact=True)
    save.click()
    save.wait_for(state="detached")
    page.get_by_text("Two pages a week", exact=True).wait_for()
    page.get_by_title("Delete key area").first.click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("Two pages a week", exact=True).wait_for(state="detached")
    return watched.check("key areas")


def drive(pictures: Path | None) -> list[str]:
    """Opens the pages as both people, and returns the faults."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise Wrong("there is no Chromium on the PATH")
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for column, sub in enumerate(PEOPLE, 1):
            watched = Watched(browser, sub)
            for row in SHOWN:
                what = "%s as %s" % (row[0], sub)
                watched.open(row[0])
                found += watched.check(what)
                text = watched.page.inner_text("body")
                if row[column] is not None and row[column] not in text:
                    found.append("%s: it does not show %r but %r" % (what, row[column], text[:300]))
                if pictures is not None:
                    name = "%s-%s.png" % (sub, row[0].strip("/").split("/")[0] or "overview")
                    watched.page.screenshot(path=pictures / (name if row[0].count("/") < 2 else "one-" + name))
                print("%s: %d requests" % (what, sum(watched.sent.values())), flush=True)
            if sub == "dev-admin":
                found += key_areas(watched)
            watched.context.close()
        browser.close()
    return found


def main() -> None:
    if len(sys.argv) < 2:
        print("skipped: give the folder of the pages' source, such as the frontend/ of a clone")
        return
    pictures = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    install()
    sys.path.append(str(TOOL))
    build(Path(sys.argv[1]))
    os.environ["LOG_LEVEL"] = "warn"
    started = []
    try:
        started.append(Started(["cargo", "local", "--origin", PAGES], API + "/api/health"))
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
    print("every page shows its rows to both people, without a fault")


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit("frontend: %s" % wrong)
