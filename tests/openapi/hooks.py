"""What no schema says: who and what there is, where a page may begin, that a key is used once, how a webhook is signed.

Loaded by schemathesis. Only what is meant to be good is changed: what is wrong stays wrong, and is all that is.
"""

import base64
import hashlib
import hmac
import json
import os
import time
import uuid

import requests
import schemathesis

# Of the seed: a meeting that both may see, and a task of it.
THERE = {"id": "01900000-0000-7000-8000-000000000102", "taskId": "01900000-0000-7000-8000-000000000201"}
MEMBER = os.environ["SEER_MEMBER"]
# No person: a removed member, or a deleted account, is missing in every later request.
ABSENT = str(uuid.UUID(int=1))
SECRET = base64.b64decode(os.environ["SEER_WEBHOOK_SECRET"].removeprefix("whsec_"))

# A place in a list: now, in microseconds, and the lowest id.
CURSOR = base64.urlsafe_b64encode(int(time.time() * 1e6).to_bytes(8, "big") + bytes(16)).decode()


class Signature(requests.auth.AuthBase):
    """Signs the request, as the recording service and the identity provider do."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        delivery, sent = "msg_%s" % uuid.uuid4(), str(int(time.time()))
        signed = hmac.new(SECRET, b"%s.%s.%s" % (delivery.encode(), sent.encode(), body), hashlib.sha256).digest()
        request.headers["webhook-id"] = delivery
        request.headers["webhook-timestamp"] = sent
        request.headers["webhook-signature"] = "v1,%s" % base64.b64encode(signed).decode()
        return request


def good(case: schemathesis.Case, part: str) -> bool:
    """Whether this part of the request is meant to be good: all are where the whole is."""
    if case.meta is None or case.meta.generation.mode.is_positive:
        return True
    return all(info.mode.is_positive for one, info in case.meta.components.items() if one.value == part)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict) -> None:
    phase = None if case.meta is None else str(case.meta.phase.name)
    # In a chain of requests the ids come from earlier ones, and only there is anything deleted.
    if good(case, "path") and phase in ("coverage", "fuzzing") and case.method != "DELETE":
        for name in THERE.keys() & (case.path_parameters or {}).keys():
            case.path_parameters[name] = THERE[name]
    operation = case.operation.definition.raw["operationId"]
    if operation == "team-remove" and good(case, "path"):
        case.path_parameters["id"] = ABSENT
    if good(case, "query") and case.query and "cursor" in case.query:
        case.query["cursor"] = CURSOR
    if good(case, "header"):
        if "webhook" in operation:
            kwargs["auth"] = Signature()
        # The same key is the same request: another one has another.
        if case.headers and "Idempotency-Key" in case.headers:
            case.headers["Idempotency-Key"] = str(uuid.uuid4())
        # The empty text is sent for want of one that fits the pattern, and fits it no better.
        if case.headers and case.headers.get("If-Match") == "":
            case.headers["If-Match"] = "*"
    # Deliveries are read leniently, so a bad one may remove its person too.
    data = case.body.get("data") if operation == "clerk-webhook" and isinstance(case.body, dict) else None
    if isinstance(data, dict) and isinstance(data.get("id"), str):
        data["id"] = ABSENT
    if good(case, "body") and isinstance(case.body, dict):
        for field in ("teamMemberId", "assignedTo"):
            if case.body.get(field) is not None:
                case.body[field] = MEMBER


@schemathesis.check
def problem_is_described(context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """A problem is whole, of its status, and of a type that the operation has an example of; `Failure` allows more."""
    if response.status_code < 400:
        return
    answer = json.loads(response.content)
    if response.headers["content-type"][0] != "application/problem+json":
        assert list(answer) == ["message"], "not a gateway's answer: %s" % answer
        return
    described = case.operation.definition.raw["responses"][str(response.status_code)]
    if "$ref" in described:
        described = case.operation.schema.raw_schema["components"]["responses"][described["$ref"].rpartition("/")[2]]
    examples = described["content"]["application/problem+json"]["examples"].values()
    missing = {"type", "title", "status", "detail", "error", "requestId"} - answer.keys()
    assert not missing, "a problem without %s" % sorted(missing)
    assert answer["status"] == response.status_code, "status %s in a %s" % (answer["status"], response.status_code)
    types = {example["value"]["type"] for example in examples}
    assert answer["type"] in types, "%s is none of %s" % (answer["type"], sorted(types))
