"""The recorder: signs its deliveries, and serves its recordings."""

import base64
import hashlib
import hmac
import io
import json
import time
import uuid
import wave

from browser import send

SIGNING = base64.b64encode(b"frontend test signing secret").decode()
API_KEY = "frontend-test-api-key-of-the-recorder"
# The functions' WEBHOOK_SECRET.
SECRETS = "whsec_%s api-key:%s" % (SIGNING, API_KEY)

FIRST = "https://recordings.example.com/first.wav"
SECOND = "https://recordings.example.com/second.wav"
SECONDS = 12


def recording() -> bytes:
    """A recording of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(b"\x80" * 8000 * SECONDS)
    return file.getvalue()


RECORDINGS = {FIRST: recording(), SECOND: recording()}


def deliver_first_version(event: str, data: dict) -> None:
    """Delivers as the first API version does, to the bot's own address and with the account's key."""
    body = {"event": event, "data": data}
    send("POST", "/api/meetingbaas/webhooks", {"x-meeting-baas-api-key": API_KEY}, body)


def deliver_second_version(event: str, data: dict) -> None:
    """Delivers as the second API version does, to the account's address and signed."""
    body = json.dumps({"event": event, "data": data})
    delivery, now = "msg_%s" % uuid.uuid4(), int(time.time())
    signed = "%s.%d.%s" % (delivery, now, body)
    digest = hmac.digest(base64.b64decode(SIGNING), signed.encode(), hashlib.sha256)
    signature = "v1,%s" % base64.b64encode(digest).decode()
    headers = {"svix-id": delivery, "svix-timestamp": str(now), "svix-signature": signature}
    send("POST", "/api/meetings/webhook", headers, body)


def turn(speaker: str, start: int, end: int, text: str) -> dict:
    """A turn of one speaker, whose words are equally long."""
    words = text.split()
    each = (end - start) / len(words)
    times = [(start + each * place, start + each * (place + 1)) for place in range(len(words))]
    timed = [{"start": first, "end": last, "word": word + " "} for (first, last), word in zip(times, words)]
    return {"speaker": speaker, "words": timed}
