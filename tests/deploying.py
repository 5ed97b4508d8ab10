#!/usr/bin/env python3
"""Compares the commands of docs/DEPLOYING.md and its chapters with what they call, without a request to AWS.

Usage: deploying.py TOOLS, the folder that aws-sam-cli was installed into.

Of every `aws` command: that its service has the operation, the operation each option, and that none is missing which it
needs; that its query can be read. Of every `sam` command: its options. Parameters, outputs and resources that any of
them names are looked up in the template of its stack, and every output of the database's stack must be a parameter of
the functions'. Whether a command does what the page says, only an account can show.

The page of the alarms must have each alarm of the template, and each alarm's mail must name the page.

The questions of `cargo seer preflight`, and the answers that its tests replay, are compared with the services too.

Going back is run whole, with an `aws` that answers as Lambda would: half of the functions must never be turned back.
"""

import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "docs/DEPLOYING.md", *sorted((ROOT / "docs/deploying").glob("*.md")))
RECORDED = ROOT / "tests/preflight"
# How `sam` is run: the stack and the template of each environment.
CONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())

# The CLI's own, for any operation.
EVERYWHERE = {"query", "output", "cli-read-timeout", "cli-binary-format"}
# What only the CLI has, and not the service; with its options.
CLI_ONLY = {
    ("configure", "export-credentials"): {"format"},
    ("configure", "get"): set(),
    ("ec2-instance-connect", "ssh"): {"instance-id", "connection-type", "local-forwarding"},
    ("logs", "tail"): {"since", "filter-pattern", "log-stream-name-prefix"},
    ("rds", "generate-db-auth-token"): {"hostname", "port", "username"},
}
# What the CLI has in place of options of the service.
IN_PLACE = {("ec2", "run-instances"): {"count": {"min-count", "max-count"}}}

# Knows version 7 of every function but $WITHOUT, and records the versions that it is told to use.
LAMBDA = """#!/bin/sh
case "$*" in
*"list-versions-by-function --function-name $WITHOUT "*) echo null ;;
*list-versions-by-function*) echo '"7"' ;;
*) echo "$*" >>"$TURNED" ;;
esac
"""


def commands(page: str) -> list[str]:
    """Everything that begins with aws or sam: in blocks marked sh, within $(…), and between backticks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.S | re.M)
    inline = re.findall(r"`((?:aws|sam) [a-z][^`]*)`", page)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = []
    for line in [*lines, *(" ".join(text.split()) for text in inline)]:
        for match in re.finditer(r"(?:^|[\s(\"])((?:aws|sam) [a-z].*)", line):
            found.extend(split(match[1]))
    return found


def split(line: str) -> list[str]:
    """A command, and those within its $(…)."""
    inner = [found for text in re.findall(r"\$\(((?:aws|sam) [^()]*)\)", line) for found in split(text)]
    line = re.sub(r"\$\([^()]*\)", "VALUE", line)
    # Up to whatever ends it: the rest is another command's.
    end = re.search(r"\)|\s(?:\||&&|#)\s", re.sub(r"'[^']*'|\"[^\"]*\"", lambda quoted: "_" * len(quoted[0]), line))
    return [line[: end.start()] if end else line, *inner]


def options(words: list[str]) -> dict[str, str]:
    """The options of a command with the word after each."""
    after = [*words[1:], ""]
    return {word[2:]: value for word, value in zip(words, after) if word.startswith("--")}


def of_aws(words: list[str], loader) -> list[str]:
    """The faults of an aws command."""
    import jmespath
    from botocore import xform_name
    from botocore.model import ServiceModel

    service, operation, given = words[1], words[2], options(words)
    if (service, operation) in CLI_ONLY:
        return ["no option --%s" % name for name in given if name not in CLI_ONLY[service, operation]]
    model = ServiceModel(loader.load_service_model(service, "service-2"), service)
    if operation == "wait":
        waiters = loader.load_service_model(service, "waiters-2")["waiters"]
        known = {xform_name(name, "-"): waiter["operation"] for name, waiter in waiters.items()}
    else:
        known = {xform_name(name, "-"): name for name in model.operation_names}
    called = words[3] if operation == "wait" else operation
    if called not in known:
        return ["%s has no %s" % (service, called)]
    shape = model.operation_model(known[called]).input_shape
    members = {xform_name(name, "-"): member for name, member in shape.members.items()}
    flags = {"no-" + name for name, member in members.items() if member.type_name == "boolean"}
    in_place = IN_PLACE.get((service, operation), {})
    replaced = set().union(*in_place.values())
    known_options = {*members, *flags, *EVERYWHERE, *in_place} - replaced
    faults = ["no option --%s" % name for name in given if name not in known_options]
    needed = {xform_name(name, "-") for name in shape.required_members} - replaced
    faults += ["--%s is missing" % name for name in needed - set(given)]
    try:
        jmespath.compile(given.get("query", "@"))
    except jmespath.exceptions.JMESPathError as error:
        faults.append("the query: %s" % error)
    return faults


@functools.cache
def help_of_sam(tools: Path, command: str) -> str:
    """What `sam COMMAND --help` says; nothing of a command that it does not have."""
    environment = {**os.environ, "PYTHONPATH": str(tools), "SAM_CLI_TELEMETRY": "0"}
    asked = [sys.executable, str(tools / "bin/sam"), command, "--help"]
    return subprocess.run(asked, env=environment, capture_output=True, text=True).stdout


def of_sam(words: list[str], tools: Path, templates: dict[str, dict]) -> list[str]:
    """The faults of a sam command."""
    known = help_of_sam(tools, words[1])
    if not known:
        return ["sam has no %s" % words[1]]
    given = options(words)
    faults = ["no option --%s" % name for name in given if "--%s" % name not in known]
    environment = given.get("config-env", "default")
    if environment not in CONFIG:
        return faults + ["samconfig.toml has no %s" % environment]
    template = templates[CONFIG[environment]["global"]["parameters"]["stack_name"]]
    named = {word.split("=")[0] for word in words if re.match(r"[A-Z]\w*=", word)}
    return faults + ["its template has no parameter %s" % name for name in named - set(template["Parameters"])]


def of_stack(words: list[str], templates: dict[str, dict]) -> list[str]:
    """Names in a command that the template of its stack does not have."""
    given = options(words)
    template = templates.get(given.get("stack-name", ""))
    if template is None:
        return ["there is no such stack"] if "stack-name" in given else []
    faults = ["the stack has no output %s" % name for name in re.findall(r"OutputKey=='(\w+)'", given.get("query", ""))
              if name not in template["Outputs"]]
    resource = given.get("logical-resource-id", "$1")
    if resource != "$1" and resource not in template["Resources"]:
        faults.append("the stack has no resource %s" % resource)
    return faults


def unlike(value, shape, at: str) -> list[str]:
    """Where an answer has a member or a type that the service's answer does not have."""
    kinds = {"structure": dict, "map": dict, "list": list, "boolean": bool, "integer": int, "long": int, "string": str}
    if not isinstance(value, kinds.get(shape.type_name, object)):
        return ["%s is no %s" % (at, shape.type_name)]
    if shape.type_name == "structure":
        strange = ["%s has no %s" % (at, name) for name in value if name not in shape.members]
        known = [unlike(one, shape.members[name], name) for name, one in value.items() if name in shape.members]
        return sum(known, strange)
    if shape.type_name == "list":
        return sum((unlike(one, shape.member, at) for one in value), [])
    return []


def recorded(loader) -> list[str]:
    """The faults of the questions of preflight and of the recorded answers."""
    from botocore import xform_name
    from botocore.model import ServiceModel

    faults = []
    for question in (RECORDED / "questions.txt").read_text().splitlines():
        faults += ["%s: %s" % (question, fault) for fault in of_aws(["aws", *question.split()], loader)]
    answers = sorted(RECORDED.glob("*/*.json"))
    for path in answers:
        service, operation = path.name.split(".")[:2]
        model = ServiceModel(loader.load_service_model(service, "service-2"), service)
        names = {xform_name(name, "-"): name for name in model.operation_names}
        shape = model.operation_model(names[operation]).output_shape
        faults += ["%s: %s" % (path.name, fault) for fault in unlike(json.loads(path.read_text()), shape, "the answer")]
    return faults if answers else ["no answers are recorded"]


def going_back() -> list[str]:
    """The faults of turning the aliases back, with a version of every function and without one of the last."""
    block = re.search(r"^```sh\n(RELEASE=.*?)^```", (ROOT / "docs/deploying/going-back.md").read_text(), re.S | re.M)[1]
    names = {"seer-" + path.stem for path in (ROOT / "functions/src/bin").glob("*.rs")} | {"seer-health-schedule"}
    faults = []
    for without, turned in (("none", names), (max(names), set())):
        with tempfile.TemporaryDirectory() as folder:
            stub, log = Path(folder) / "aws", Path(folder) / "turned"
            stub.write_text(LAMBDA)
            stub.chmod(0o755)
            path = folder + os.pathsep + os.environ["PATH"]
            environment = {**os.environ, "PATH": path, "WITHOUT": without, "TURNED": str(log)}
            done = subprocess.run(["bash", "-c", block], cwd=ROOT, env=environment, capture_output=True, text=True)
            orders = log.read_text().splitlines() if log.exists() else []
        wanted = "lambda update-alias --function-name %s --name live --function-version 7"
        if sorted(orders) != sorted(wanted % name for name in turned):
            faults.append("going back, with a version of all but %s, orders %s" % (without, orders))
        if (without in done.stdout) == bool(turned):
            faults.append("going back does not say that %s has no version: %s" % (without, done.stdout + done.stderr))
    return faults


def alarms(template: dict) -> list[str]:
    """Where the page of the alarms and the template differ, and alarms whose mail does not name the page."""
    page = "docs/deploying/alarms.md"
    listed = re.findall(r"^\| `(\w+)` \|", (ROOT / page).read_text(), re.M)
    made = {name: resource["Properties"]["AlarmDescription"] for name, resource in template["Resources"].items()
            if resource["Type"] == "AWS::CloudWatch::Alarm"}
    faults = ["%s and template/observability.yaml differ: %s" % (page, name) for name in sorted(made.keys() ^ set(listed))]
    return faults + ["the description of %s does not name %s" % (name, page) for name in made if page not in made[name]]


def main() -> int:
    tools = Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(tools))
    from botocore.loaders import Loader
    from samtranslator.yaml_helper import yaml_parse

    loader = Loader()
    templates = {
        environment["global"]["parameters"]["stack_name"]: yaml_parse(
            (ROOT / environment["deploy"]["parameters"]["template_file"]).read_text()
        )
        for environment in CONFIG.values()
        if isinstance(environment, dict)
    }
    functions, database = templates["seer"], templates["seer-database"]
    parameters = set(functions["Parameters"]) | set(database["Parameters"])
    faults, checked, wrong = [], 0, 0
    for path in PAGES:
        page, found = path.read_text(), []
        for command in commands(page):
            words = shlex.split(command)
            if len(words) < 3 and words[0] == "aws":
                continue
            checked += 1
            if words[0] == "aws":
                of_command = of_aws(words, loader) + of_stack(words, templates)
            else:
                of_command = of_sam(words, tools, templates)
            wrong += bool(of_command)
            found += ["%s: %s" % (command, fault) for fault in of_command]
        # Between backticks: Parameter=value.
        named = set(re.findall(r"`([A-Z]\w*[a-z]\w*)=[^`]*`", page))
        named |= set(re.findall(r"--param\s+(\w*[a-z]\w*)=", page))
        found += ["no template has a parameter %s" % name for name in sorted(named - parameters)]
        resources = set(re.findall(r"\$\(resource (\w+)", page))
        found += ["the database's stack has no resource %s" % name for name in resources - set(database["Resources"])]
        faults += ["%s: %s" % (path.relative_to(ROOT), fault) for fault in found]
    handed = set(database["Outputs"]) - set(functions["Parameters"])
    faults += ["the functions' stack has no parameter for the database's output %s" % name for name in sorted(handed)]
    faults += going_back() + recorded(loader)
    faults += alarms(yaml_parse((ROOT / "template/observability.yaml").read_text()))
    for fault in faults:
        print(fault, file=sys.stderr)
    print("docs/DEPLOYING.md and its chapters: aws and sam accept %d commands of %d" % (checked - wrong, checked))
    return 1 if faults or checked < 25 else 0


if __name__ == "__main__":
    sys.exit(main())
