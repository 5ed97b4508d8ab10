"""One team from its first sign-up to the removal of its member, by clicks.

What the pages do not offer is sent as their client would send it: the bot of a meeting and the results of its
conversation, a new title, and the deletion of a task that was approved. Each step ends with its faults. People and
texts are new in each run, so that a database of earlier runs does no harm.
"""

import uuid
from collections.abc import Callable
from pathlib import Path

from browser import PAGES, Browser, Person
from readme import Wrong
from recorder import FIRST, RECORDINGS, SECOND, SECONDS, deliver_first_version, deliver_second_version, turn

# The page of a sign-up registers again until it is left.
MOST_REGISTRATIONS = 20


class Walk:
    """The team, and the faults so far."""

    def __init__(self, chromium, pictures: Path | None) -> None:
        run = uuid.uuid4().hex[:8]
        admin = Person("walk-admin-" + run, "robin-%s@example.com" % run, "Robin Reed")
        member = Person("walk-member-" + run, "sasha-%s@example.com" % run, "Sasha Stone")
        self.run = run
        self.admin = Browser(chromium, admin, pictures, RECORDINGS, signed_in=False)
        self.member = Browser(chromium, member, pictures, RECORDINGS, signed_in=False)
        self.link = ""
        self.member_id = ""
        self.meetings: dict[str, str] = {}
        self.found: list[str] = []

    def whole(self) -> list[str]:
        """Walks the steps, and returns the faults."""
        steps: list[tuple[Callable[[], None], int]] = [
            (self.sign_up, MOST_REGISTRATIONS),
            (self.invite, 4),
            (self.accept, MOST_REGISTRATIONS),
            (self.create_meetings, 8),
            (self.delete_meeting, 4),
            (self.record, 4),
            (self.transcript, 4),
            (self.suggestions, 4),
            (self.task, 4),
            (self.agenda_and_changes, 4),
            (self.key_areas, 8),
            (self.analysis, 8),
            (self.as_member, 8),
            (self.remove, 4),
            (self.as_former_member, 4),
        ]
        for step, most in steps:
            name = step.__name__.replace("_", " ")
            for browser in (self.admin, self.member):
                browser.begin()
            try:
                step()
            except Exception as error:
                for browser in (self.admin, self.member):
                    browser.picture("fault-%s" % browser.person.name.split()[0].lower())
                self.found += [*self.admin.wrong, *self.member.wrong, "%s: %s" % (name, error)]
                return self.found
            for browser in (self.admin, self.member):
                self.found += browser.faults(name, most)
            print(name, flush=True)
        self.admin.context.close()
        self.member.context.close()
        return self.found

    def sign_up(self) -> None:
        page = self.admin.page
        self.admin.open("/sign-up")
        self.admin.press("Sign up")
        page.wait_for_url(PAGES + "/")
        self.admin.shows("Robin Reed")
        self.admin.shows("Admin Overview")
        self.admin.picture("walk-01-signed-up")

    def invite(self) -> None:
        page = self.admin.page
        self.admin.open("/team")
        self.admin.shows("No team members found.")
        for email in ("nobody-%s@example.com" % self.run, self.member.person.email):
            page.get_by_role("button", name="Invite team member").click()
            page.get_by_placeholder("colleague@example.com").fill(email)
            with page.expect_response("**/api/users/invite") as answer:
                self.admin.press("Send Invitation")
            page.get_by_placeholder("colleague@example.com").wait_for(state="detached")
            # Of a mail, if there was one.
            self.link = "/invite?token=" + answer.value.json()["token"]
        page.get_by_role("button", name="Invitations").click()
        self.admin.shows(self.member.person.email)
        self.admin.picture("walk-02-invited")
        page.locator("tr", has_text="nobody-").get_by_title("Cancel invitation").click()
        page.get_by_placeholder("DELETE").fill("DELETE")
        self.admin.press("Cancel Invitation")
        self.admin.hides("nobody-%s@example.com" % self.run)
        page.get_by_role("button", name="Invite team member (2 left)").wait_for()

    def accept(self) -> None:
        page = self.member.page
        self.member.open(self.link)
        page.wait_for_url(PAGES + "/sign-up")
        with page.expect_response("**/api/users/invite/accept"):
            self.member.press("Sign up")
        page.wait_for_url(lambda url: url in (PAGES + "/", PAGES + "/team"))
        self.member.open("/team")
        self.member.shows("Robin Reed")
        self.member.picture("walk-03-accepted")
        self.admin.open("/team")
        self.admin.page.get_by_role("link", name="Sasha Stone").click()
        self.admin.page.wait_for_url(PAGES + "/team/*")
        self.member_id = self.admin.page.url.rpartition("/")[2]
        # The heading, which appears with the page's own rows.
        self.admin.shows("Team member since")
        self.admin.picture("walk-04-member")

    def create_meetings(self) -> None:
        page = self.admin.page
        self.admin.open("/meetings")
        for title in ("First", "Second", "Unwanted"):
            self.admin.press("New Meeting")
            page.get_by_placeholder("Weekly Team Sync").fill("%s %s" % (title, self.run))
            self.admin.press("Select a team member")
            page.get_by_role("option", name="Sasha Stone").click()
            page.locator("form button", has=page.locator("span.text-gray-900")).first.click()
            # A day that is over cannot be chosen; the last one shown never is.
            page.locator("form .grid-cols-7 button").last.click()
            with page.expect_response("**/api/meetings") as answer:
                self.admin.press("Create Meeting")
            self.meetings[title] = answer.value.json()["id"]
            self.admin.shows("%s %s" % (title, self.run))
        self.admin.picture("walk-05-meetings")

    def delete_meeting(self) -> None:
        page, title = self.admin.page, "Unwanted %s" % self.run
        page.locator("tr", has_text=title).get_by_title("Delete meeting").click()
        page.get_by_placeholder("DELETE").fill("DELETE")
        self.admin.press("Delete Meeting")
        self.admin.hides(title)

    def record(self) -> None:
        first, second = "bot-1-%s" % self.run, "bot-2-%s" % self.run
        admin = self.admin.person
        # Before any meeting has the bot.
        spoken = [
            turn("Robin Reed", 0, 4, "Good morning Sasha"),
            turn("Sasha Stone", 5, 11, "Good morning the release went well"),
        ]
        speakers = ["Robin Reed", "Sasha Stone"]
        recorded = {"bot_id": first, "mp4": FIRST, "speakers": speakers, "transcript": spoken}
        deliver_first_version("complete", recorded)
        areas = ["Presentation skills", "Deadlines"]
        about = {"meetingBaasId": first, "wins": ["Release on time"], "areasForSupport": areas}
        admin.call("PUT", "/api/meetings/%s" % self.meetings["First"], about)
        # By the id of the meeting, which the bot's creator has given it.
        about = {"bot_id": second, "extra": {"meetingId": self.meetings["Second"]}, "event_id": None}
        status = {"code": "in_call_recording", "created_at": "2026-01-02T09:00:00Z"}
        deliver_second_version("bot.status_change", {**about, "status": status})
        self.admin.open("/meetings/%s" % self.meetings["Second"])
        self.admin.shows("Second %s" % self.run)
        spoken_at = "https://recordings.example.com/second.json"
        completed = {**about, "mp4": SECOND, "transcription": spoken_at, "speakers": [{"name": "Robin Reed"}]}
        deliver_second_version("bot.completed", completed)
        self.admin.open("/meetings/%s" % self.meetings["Second"])
        # The transcript is an address, which nothing fetches yet: the page must not say that it is there.
        self.admin.shows("This meeting is currently being processed.")
        self.admin.picture("walk-06-second-version")
        kept = admin.call("GET", "/api/meetings/%s" % self.meetings["Second"])
        if kept["recordingUrl"] != SECOND or kept["status"] != "completed":
            raise Wrong("the second recording is not kept: %s" % kept)

    def transcript(self) -> None:
        for browser, picture in ((self.admin, "walk-07-transcript"), (self.member, "walk-08-transcript-member")):
            browser.open("/meetings/%s" % self.meetings["First"])
            browser.press("Transcript")
            browser.shows("Robin Reed: Good morning Sasha")
            browser.shows("Sasha Stone: Good morning the release went well")
            # By the words' times: six seconds of ten, and four.
            browser.shows("Speaker Timeline")
            browser.shows("60% · 6s")
            browser.shows("40% · 4s")
            browser.shows("00:%02d" % SECONDS)
            browser.picture(picture)

    def tasks(self) -> list[dict]:
        """The tasks as the server has them."""
        return self.admin.person.call("GET", "/api/meetings/%s" % self.meetings["First"])["tasksData"]

    def await_tasks(self, count: int) -> None:
        shown = "count => document.querySelectorAll('.cursor-pointer.shadow-sm').length === count"
        self.admin.page.wait_for_function(shown, arg=count)

    def suggestions(self) -> None:
        page = self.admin.page
        self.admin.open("/meetings/%s" % self.meetings["First"])
        self.admin.press("Suggest Tasks from Areas for Support")
        self.await_tasks(3)
        suggested = self.tasks()
        if {task["status"] for task in suggested} != {"suggested"}:
            raise Wrong("the tasks are not suggested: %s" % suggested)
        self.admin.picture("walk-09-suggested")
        page.get_by_text(suggested[0]["text"], exact=True).click()
        self.admin.shows("AI Suggested")
        self.admin.picture("walk-10-suggestion")
        page.get_by_title("Click to edit").click()
        page.get_by_placeholder("Enter task description...").fill("Talk about slides")
        page.get_by_placeholder("Enter task description...").press("Enter")
        page.locator(".cursor-pointer.shadow-sm", has_text="Talk about slides").wait_for()
        with page.expect_response("**/approve"):
            self.admin.press("Approve")
        self.admin.hides("AI Suggested")
        page.get_by_text(suggested[1]["text"], exact=True).click()
        with page.expect_response("**/tasks/*"):
            self.admin.press("Dismiss")
        self.await_tasks(2)
        self.admin.hides("AI Suggested")

    def task(self) -> None:
        page, address = self.admin.page, "/api/meetings/%s/tasks/" % self.meetings["First"]
        approved = next(task for task in self.tasks() if task["text"] == "Talk about slides")
        if (approved["status"], approved["assignedTo"] is None) != ("incomplete", False):
            raise Wrong("the approved task is not an assigned one: %s" % approved)
        self.admin.open("/meetings/%s" % self.meetings["First"])
        page.get_by_text("Talk about slides").click()
        names = ["Me", "Sasha Stone", "Unassigned", "Sasha Stone"]
        ids = [self.member_id, None, self.member_id]
        for shown, chosen, expected in zip(names, names[1:], ids):
            page.locator("button[aria-haspopup=listbox]", has_text=shown).click()
            with page.expect_response("**%s*" % address):
                page.get_by_role("option", name=chosen).click()
            page.locator("button[aria-haspopup=listbox]", has_text=chosen).wait_for()
            kept = next(task for task in self.tasks() if task["id"] == approved["id"])["assignedTo"]
            if kept != expected:
                raise Wrong("assigned to %s, and the server has %s" % (chosen, kept))
        self.admin.picture("walk-11-assigned")
        page.locator("button[aria-haspopup=listbox]", has_text="In Progress").click()
        with page.expect_response("**%s*" % address):
            page.get_by_role("option", name="Complete").click()
        kept = next(task for task in self.tasks() if task["id"] == approved["id"])
        if kept["status"] != "complete" or kept["completedAt"] is None:
            raise Wrong("the completed task is not complete: %s" % kept)
        self.admin.open("/meetings/%s" % self.meetings["First"])
        self.admin.shows("Talk about slides")
        self.admin.picture("walk-12-completed")
        self.admin.person.call("DELETE", address + approved["id"])
        self.admin.open("/meetings/%s" % self.meetings["First"])
        self.await_tasks(1)
        if "Talk about slides" in page.inner_text("body"):
            raise Wrong("a deleted task is shown")

    def agenda_and_changes(self) -> None:
        path = "/meetings/%s" % self.meetings["First"]
        self.admin.person.call("PUT", "/api" + path, {"title": "Renamed %s" % self.run})
        self.admin.open(path)
        self.admin.press("Agenda")
        self.admin.shows("Meeting Agenda")
        self.admin.picture("walk-13-agenda")
        self.admin.press("Changes History")
        self.admin.shows("First %s" % self.run)
        self.admin.page.locator(".text-green-500", has_text="Renamed %s" % self.run).wait_for()
        self.admin.picture("walk-14-changes")

    def key_areas(self) -> None:
        page = self.admin.page
        self.admin.open("/team/%s" % self.member_id)
        self.admin.press("Key areas")
        self.admin.shows("No key areas defined yet")
        for name in ("Writing", "Speaking"):
            self.admin.press("Add Key Area")
            page.get_by_placeholder("Enter key area name").fill(name)
            page.get_by_placeholder("Enter key area description").fill("One page a week")
            self.admin.press("Add")
            # A form shows its text until the answer is there.
            page.get_by_role("button", name="Add", exact=True).wait_for(state="detached")
            page.get_by_role("heading", name=name).wait_for()
        # The newest is first.
        page.get_by_title("Edit key area").first.click()
        page.get_by_placeholder("Enter key area description").fill("Two talks a month")
        self.admin.press("Save")
        self.admin.shows("Two talks a month")
        page.get_by_title("Delete key area").last.click()
        self.admin.press("Delete")
        page.get_by_role("heading", name="Delete Key Area").wait_for(state="detached")
        self.admin.shows("Two talks a month")
        if page.get_by_role("heading", name="Writing").count():
            raise Wrong("a deleted key area is shown")
        self.admin.picture("walk-15-key-areas")

    def analysis(self) -> None:
        self.admin.press("Refresh Analysis")
        self.admin.page.get_by_role("button", name="Analyzing...").wait_for(state="detached")
        self.admin.press("Details")
        self.admin.shows("Fresh analysis performed at")
        self.admin.shows("Release on time")
        self.admin.shows("Presentation skills")
        self.admin.picture("walk-16-analysis")
        self.admin.press("Meetings")
        self.admin.shows("Renamed %s" % self.run)
        self.admin.press("Activity")
        self.admin.shows("Renamed %s" % self.run)

    def as_member(self) -> None:
        page = self.member.page
        self.member.open("/")
        self.member.shows("Welcome to Seer!")
        self.member.picture("walk-17-overview-member")
        self.member.open("/meetings")
        self.member.shows("Renamed %s" % self.run)
        self.member.open("/team/%s" % self.member_id)
        self.member.shows("Release on time")
        self.member.press("Key areas")
        self.member.shows("Two talks a month")
        if page.get_by_role("button", name="Add Key Area").count():
            raise Wrong("a member is offered to add key areas")
        # Approving assigns, and a member may.
        left = self.tasks()[0]["text"]
        self.member.open("/meetings/%s" % self.meetings["First"])
        page.get_by_text(left, exact=True).click()
        with page.expect_response("**/approve") as answer:
            self.member.press("Approve")
        if answer.value.status != 200 or self.tasks()[0]["assignedTo"] is None:
            raise Wrong("the member's approval is not kept: %s" % self.tasks())
        self.member.hides("AI Suggested")
        self.member.picture("walk-18-approved-by-member")

    def remove(self) -> None:
        page = self.admin.page
        self.admin.open("/team")
        page.locator("tr", has_text="Sasha Stone").get_by_title("Remove team member").click()
        page.get_by_placeholder("DELETE").fill("DELETE")
        self.admin.press("Remove")
        self.admin.hides("Sasha Stone")
        self.admin.open("/team")
        self.admin.shows("No team members found.")
        self.admin.picture("walk-19-removed")
        # The team keeps its meetings.
        self.admin.open("/meetings")
        self.admin.shows("Renamed %s" % self.run)

    def as_former_member(self) -> None:
        self.member.open("/meetings")
        self.member.shows("No meetings found")
        self.member.picture("walk-20-former-member")
        self.member.open("/team")
        self.member.shows("No team members found.")
