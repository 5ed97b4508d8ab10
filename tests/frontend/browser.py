"""A person's browser: the page, the requests that it sends, and its faults."""

import json
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from readme import ROOT, Wrong

API = "http://localhost:3001"
PAGES = "http://localhost:5173"

# Of the pages themselves, with any backend: the overview draws a chart of nothing.
KNOWN = "[DecimalError] Invalid argument: NaN"
# How often a page may send the same request; more is a loop.
MOST_REQUESTS = 4


class Person:
    """A person with an account at the identity provider, and a token of `cargo local`."""

    def __init__(self, sub: str, email: str, name: str) -> None:
        self.sub, self.email, self.name = sub, email, name
        command = ["cargo", "seer", "token", "--sub", sub, "--email", email, "--name", name]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
        self.token = done.stdout.decode().strip()

    def call(self, method: str, path: str, body: object = None) -> object:
        """Sends a request that the pages do not offer, as their client would."""
        return send(method, path, {"Authorization": "Bearer " + self.token}, body)


def send(method: str, path: str, headers: dict[str, str], body: object = None) -> object:
    """Sends a request and returns the JSON of the answer; text is sent as it is."""
    data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(API + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
    except urllib.error.HTTPError as refused:
        raise Wrong("%s %s is %d: %s" % (method, path, refused.code, refused.read().decode())) from None
    return json.loads(text) if text else None


class Browser:
    """A person's browser, and the faults since `begin`."""

    def __init__(
        self, chromium, person: Person, pictures: Path | None, recordings: dict[str, bytes], signed_in: bool
    ) -> None:
        self.person, self.pictures = person, pictures
        self.context = chromium.new_context(viewport={"width": 1280, "height": 900})
        known = {"sub": person.sub, "email": person.email, "name": person.name, "token": person.token}
        self.context.add_init_script("localStorage.setItem('person', %s)" % json.dumps(json.dumps(known)))
        if signed_in:
            self.context.add_init_script("localStorage.setItem('signedIn', 'yes')")
        # The recordings, and fonts and the like: all of them other services.
        elsewhere = lambda url: not url.startswith((API, PAGES))
        self.context.route(elsewhere, lambda route: self.fulfill(route, recordings.get(route.request.url)))
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.wrong: list[str] = []
        self.sent: Counter[str] = Counter()
        self.page.on("console", self.console)
        self.page.on("pageerror", lambda error: self.wrong.append("exception: %s" % error))
        self.page.on("request", self.request)
        self.page.on("response", self.response)
        self.page.on("requestfailed", lambda one: self.wrong.append("%s %s: %s" % (one.method, one.url, one.failure)))

    @staticmethod
    def fulfill(route, recording: bytes | None) -> None:
        kind = "text/plain" if recording is None else "audio/wav"
        route.fulfill(status=200, content_type=kind, body=recording or b"")

    def console(self, message) -> None:
        if message.type == "error" and KNOWN not in message.text:
            self.wrong.append("console: %s" % message.text)

    def request(self, request) -> None:
        if request.url.startswith(API):
            self.sent["%s %s" % (request.method, request.url)] += 1

    def response(self, response) -> None:
        if response.url.startswith(API) and response.status >= 400:
            self.wrong.append("%s %s is %d" % (response.request.method, response.url, response.status))

    def begin(self) -> None:
        """Forgets earlier requests and faults."""
        self.wrong.clear()
        self.sent.clear()

    def open(self, path: str) -> None:
        """Opens a page of the app. A request that is under way is waited for, because leaving would end it."""
        self.page.wait_for_load_state("networkidle")
        self.page.goto(PAGES + path)

    def shows(self, text: str) -> None:
        """Waits until the page shows a text, which may be a part of a longer one."""
        self.page.get_by_text(text).first.wait_for()

    def hides(self, text: str) -> None:
        """Waits until the page no longer shows this very text."""
        self.page.get_by_text(text, exact=True).first.wait_for(state="detached")

    def press(self, name: str) -> None:
        """Clicks the first button of this very name."""
        self.page.get_by_role("button", name=name, exact=True).first.click()

    def picture(self, name: str) -> None:
        if self.pictures is not None:
            self.page.screenshot(path=self.pictures / (name + ".png"), full_page=True)

    def faults(self, what: str, most: int = MOST_REQUESTS) -> list[str]:
        """Returns what went wrong since `begin`, once the page is quiet."""
        self.page.wait_for_load_state("networkidle")
        repeated = ["%s was sent %d times" % item for item in self.sent.items() if item[1] > most]
        return ["%s: %s" % (what, fault) for fault in [*self.wrong, *repeated]]
