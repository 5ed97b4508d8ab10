"""What no schema says: which ids there are, that a key is used once, how a webhook is signed.

Loaded by schemathesis. Only requests that are meant to be good are changed; what is wrong in the others stays wrong.
"""

import base64
import hashlib
import hmac
import os
import time
import uuid

import requests
import schemathesis

MEETING = os.environ["SEER_MEETING"]
TASK = os.environ["SEER_TASK"]
MEMBER = os.environ["SEER_MEMBER"]
SECRET = base64.b64decode(os.environ["SEER_WEBHOOK_SECRET"].removeprefix("whsec_"))

# A place in a list: now, in microseconds, and the lowest id.
CURSOR = base64.urlsafe_b64encode(int(time.time() * 1e6).to_bytes(8, "big") + bytes(16)).decode()


class Signature(requests.auth.AuthBase):
    """Signs what is sent, as the recording service does."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        delivery, sent = "msg_%s" % uuid.uuid4(), str(int(time.time()))
        signed = hmac.new(SECRET, b"%s.%s.%s" % (delivery.encode(), sent.encode(), body), hashlib.sha256).digest()
        request.headers["webhook-id"] = delivery
        request.headers["webhook-timestamp"] = sent
        request.headers["webhook-signature"] = "v1,%s" % base64.b64encode(signed).decode()
        return request


def good(case: schemathesis.Case) -> bool:
    return case.meta is None or case.meta.generation.mode.is_positive


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict) -> None:
    if not good(case):
        return
    if case.operation.definition.raw["operationId"] == "meetings-webhook":
        kwargs["auth"] = Signature()
    # The same key is the same request: another one has another.
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if case.query and "cursor" in case.query:
        case.query["cursor"] = CURSOR
    if isinstance(case.body, dict):
        for field in ("teamMemberId", "assignedTo"):
            if case.body.get(field) is not None:
                case.body[field] = MEMBER
