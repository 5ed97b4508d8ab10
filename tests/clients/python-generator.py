"""Uses the client of openapi-generator for Python."""

import datetime
import os
import uuid

from seer_client import ApiClient, ApiException, Configuration, MeetingDraft, MeetingsApi

URL, TOKEN = os.environ["SEER_URL"], os.environ["SEER_TOKEN"]
DRAFT = MeetingDraft(
    title="Made by a client",
    teamMemberId=uuid.UUID("01900000-0000-7000-8000-000000000002"),
    date=datetime.datetime(2031, 3, 4, 9, 30, tzinfo=datetime.UTC),
    duration=30,
)


def api(token: str) -> MeetingsApi:
    return MeetingsApi(ApiClient(Configuration(host=URL, access_token=token)))


made = api(TOKEN).meetings_create(DRAFT)
assert made.title == "Made by a client" and made.status == "scheduled", made

try:
    # The client itself refuses an empty title, so the team member is wrong.
    api(TOKEN).meetings_create(DRAFT.model_copy(update={"team_member_id": uuid.UUID(int=1)}))
    raise AssertionError("it was not refused")
except ApiException as error:
    assert error.status == 422 and error.data.type == "urn:seer:problem:invalid", error
    assert [one.var_field for one in error.data.errors] == ["teamMemberId"], error

try:
    api("none").meetings_create(DRAFT)
    raise AssertionError("it was not refused")
except ApiException as error:
    assert error.status == 401 and error.data.message == "Unauthorized", error
