#!/usr/bin/env python3
"""Credentials, held against software that is not ours.

Usage: credentials.py [--write]

1. Tokens for RDS: those in shared/src/db/credentials/tokens.json are botocore's, for the same clock and keys; a unit test
   compares ours with them. Here they are made anew and compared; --write writes them.
2. A rotation: the test `credentials` of the package functions, with a Secrets Manager of moto's at AWS_ENDPOINT_URL and a
   PostgreSQL whose password really changes.

Needs pip, which puts the pinned packages into target/tools/credentials, and cargo. Nothing of AWS is reached.
"""

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

# No cache files beside the imported one.
sys.dont_write_bytecode = True

import packages

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "target/tools/credentials"
TOKENS = ROOT / "shared/src/db/credentials/tokens.json"

NOON = "2031-03-04T12:00:00Z"
KEY = {"id": "AKIDEXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session": None}
CASES = [
    {"host": "seer.cluster-c0.eu-west-1.rds.amazonaws.com", "port": 5432, "user": "seer_app", "region": "eu-west-1"},
    {"host": "seer.proxy-c0.us-east-1.rds.amazonaws.com", "port": 6543, "user": "a b+c/d@e:f=g&h%i~", "region": "us-east-1"},
    {"host": "seer.c0.cn-north-1.rds.amazonaws.com.cn", "port": 5432, "user": "jürgen", "region": "cn-north-1"},
]
SESSION = "IQoJb3JpZ2luX2VjE//8aCWV1LXdlc3Q+tMSJHMEUCIQ=="


def tokens() -> str:
    """The cases with botocore's tokens, as the file holds them."""
    import botocore.auth
    import botocore.session

    made = []
    for session in [None, SESSION]:
        for case in CASES:
            at = datetime.datetime.fromisoformat(NOON.replace("Z", "+00:00"))
            botocore.auth.get_current_datetime = lambda at=at: at.replace(tzinfo=None)
            key = {**KEY, "session": session}
            client = botocore.session.Session().create_client(
                "rds",
                region_name=case["region"],
                aws_access_key_id=key["id"],
                aws_secret_access_key=key["secret"],
                aws_session_token=session,
            )
            token = client.generate_db_auth_token(case["host"], case["port"], case["user"], case["region"])
            made.append({**case, "time": int(at.timestamp()), "key": key, "token": token})
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def compare(write: bool) -> None:
    """The file against botocore."""
    made = tokens()
    if write:
        TOKENS.write_text(made)
    if TOKENS.read_text() != made:
        sys.exit("%s is not what botocore makes: run tests/credentials.py --write" % TOKENS.relative_to(ROOT))
    print("tokens: %d are botocore's" % (len(CASES) * 2))


def rotate() -> int:
    """The Rust test, with moto's server beside it."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        environment = {**os.environ, "AWS_ENDPOINT_URL": "http://%s:%d" % server.get_host_and_port()}
        test = ["cargo", "test", "--locked", "--package", "functions", "--test", "credentials"]
        return subprocess.run(test, cwd=ROOT, env=environment).returncode
    finally:
        server.stop()


def main() -> int:
    packages.install(ROOT / "tests/credentials/requirements.txt", TOOLS)
    sys.path.insert(0, str(TOOLS))
    compare("--write" in sys.argv[1:])
    return rotate()


if __name__ == "__main__":
    sys.exit(main())
