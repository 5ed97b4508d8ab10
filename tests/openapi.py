#!/usr/bin/env python3
"""Asks a running backend whether openapi.json is true: schemathesis drives `cargo local`, as an admin and as a member.

First every example in the document must fit its own schema. Then, from the same seed every time, each operation gets
its examples, values at and over the bounds of each field, random good and bad requests, and chains of requests that use
what earlier ones made. No answer may be 5xx, of an undocumented status, type or header, or unlike its schema; good
requests must be accepted and bad ones refused. tests/openapi has the settings, with what they leave out and why.

The data in target/local is deleted first, because an event of readme.py takes the seed's member off the team.
Schemathesis comes from PyPI into target/tools. Linux only, as readme.py, which starts `cargo local`.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

# Nothing is left beside what is imported.
sys.dont_write_bytecode = True

import packages
from readme import ROOT, Started, Wrong

PORT = 3002
URL = "http://127.0.0.1:%d" % PORT
TOOL = ROOT / "target/tools/schemathesis"
HERE = ROOT / "tests/openapi"

# The development secret of `cargo local`.
WEBHOOK_SECRET = "whsec_c2VlcidzIGRldmVsb3BtZW50IHdlYmhvb2sgc2VjcmV0"
MEMBER = "01900000-0000-7000-8000-000000000002"
# Values are looked at before it is who asks: the member gets what depends on who that is, and
# comes first, because the admin may delete what both see.
PEOPLE = {
    "dev-member": ("member@example.com", "Morgan Meyer", "examples,fuzzing"),
    "dev-admin": ("admin@example.com", "Avery Adams", "examples,coverage,fuzzing,stateful"),
}

# Seconds for one of them; half a minute is usual.
ENDS_WITHIN = 10 * 60


def token(sub: str) -> str:
    """A token for somebody of the seed."""
    email, name, _ = PEOPLE[sub]
    command = ["cargo", "seer", "token", "--sub", sub, "--email", email, "--name", name]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode().strip()


def check_examples(document: dict[str, Any]) -> int:
    """Compares every example with the schema beside it."""
    import jsonschema_rs

    count = 0

    def compare(schema: Any, example: Any, place: str) -> None:
        nonlocal count
        whole = {**schema, "components": document["components"]}
        errors = list(jsonschema_rs.Draft202012Validator(whole, validate_formats=True).iter_errors(example))
        if errors:
            raise Wrong("the example at %s breaks its schema: %s" % (place, errors[0].message))
        count += 1

    def walk(node: Any, place: str) -> None:
        if isinstance(node, dict):
            if "schema" in node and "example" in node:
                compare(node["schema"], node["example"], place)
            if "schema" in node:
                for name, example in node.get("examples", {}).items():
                    compare(node["schema"], example["value"], "%s/examples/%s" % (place, name))
            for name, inner in node.items():
                walk(inner, "%s/%s" % (place, name))
        elif isinstance(node, list):
            for index, inner in enumerate(node):
                walk(inner, "%s/%d" % (place, index))

    walk(document, "")
    return count


def drive(sub: str, by: str, phases: str) -> None:
    """Runs these phases of schemathesis as somebody."""
    given = {
        "PYTHONPATH": str(TOOL),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
        "SEER_URL": URL,
        "SEER_TOKEN": by,
        "SEER_MEMBER": MEMBER,
        "SEER_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml", "run"]
    began = time.monotonic()
    command += ["--phases", phases]
    if sub != "dev-admin":
        # A member who leaves is missing in every later request; an admin is refused.
        command += ["--exclude-operation-id", "users-leave"]
    command += [ROOT / "openapi.json"]
    done = subprocess.run(command, env={**os.environ, **given}, cwd=ROOT / "target", timeout=ENDS_WITHIN)
    print("%s: %d s" % (sub, time.monotonic() - began), flush=True)
    if done.returncode:
        raise Wrong("as %s the backend and the document differ: see above" % sub)


def main() -> None:
    packages.install(HERE / "requirements.txt", TOOL)
    sys.path.append(str(TOOL))
    document = json.loads((ROOT / "openapi.json").read_text())
    print("%d examples fit their schemas" % check_examples(document))
    # A line for each of two thousand requests hides the others.
    os.environ["LOG_LEVEL"] = "warn"
    backend = Started(["cargo", "local", "--reset", "--port", str(PORT)], URL + "/api/health")
    try:
        backend.wait()
        for sub, (_, _, phases) in PEOPLE.items():
            drive(sub, token(sub), phases)
        backend.stop()
    finally:
        backend.kill()


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit("openapi.json: %s" % wrong)
