"""Every page, as the admin and as the member of the seed."""

from browser import Browser, Person

PEOPLE = [("dev-admin", "admin@example.com", "Avery Adams"), ("dev-member", "member@example.com", "Morgan Meyer")]
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

# Seconds after which a page has sent its own requests, and one that repeats them in a loop has shown it.
SETTLED = 5


def every_page(chromium, pictures) -> list[str]:
    """Opens the pages as both people, and returns the faults."""
    found = []
    for column, (sub, email, name) in enumerate(PEOPLE, 1):
        browser = Browser(chromium, Person(sub, email, name), pictures, {}, signed_in=True)
        for row in SHOWN:
            what = "%s as %s" % (row[0], sub)
            browser.begin()
            browser.open(row[0])
            browser.page.wait_for_timeout(SETTLED * 1000)
            found += browser.faults(what)
            text = browser.page.inner_text("body")
            if row[column] is not None and row[column] not in text:
                found.append("%s: it does not show %r but %r" % (what, row[column], text[:300]))
            parts = row[0].strip("/").split("/")
            browser.picture("%s-%s%s" % (sub, parts[0] or "overview", "-one" if len(parts) > 1 else ""))
            print("%s: %d requests" % (what, sum(browser.sent.values())), flush=True)
        browser.context.close()
    return found
