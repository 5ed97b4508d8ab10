"""Uses the client of openapi-python-client."""

import datetime
import os
import uuid

from generated.python_client import AuthenticatedClient
from generated.python_client.api.meetings import meetings_create
from generated.python_client.models import Failure, Meeting, MeetingDraft, Problem

URL, TOKEN = os.environ["SEER_URL"], os.environ["SEER_TOKEN"]


def create(token: str, title: str) -> Failure | Meeting | Problem | None:
    draft = MeetingDraft(
        title=title,
        team_member_id=uuid.UUID("01900000-0000-7000-8000-000000000002"),
        date=datetime.datetime(2031, 3, 4, 9, 30, tzinfo=datetime.UTC),
        duration=30,
    )
    return meetings_create.sync(client=AuthenticatedClient(base_url=URL, token=token), body=draft)


made = create(TOKEN, "Made by a client")
assert isinstance(made, Meeting) and made.title == "Made by a client" and made.status == "scheduled", made

refused = create(TOKEN, "")
assert isinstance(refused, Problem) and refused.type_ == "urn:seer:problem:invalid", refused
assert [error.field for error in refused.errors] == ["title"], refused

stranger = create("none", "Made by a client")
assert isinstance(stranger, Failure) and stranger.message == "Unauthorized", stranger
