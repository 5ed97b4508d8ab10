#!/usr/bin/env python3
"""Lints template.yaml as it stands and as SAM expands it, with nothing asked of AWS.

Usage: template.py TOOLS, the folder that aws-sam-cli and cfn-lint were installed into.

On the template as it stands a linter does not see what SAM's own resources become: it misses a timeout that Lambda does
not allow, an unknown runtime and a reference that leads nowhere. So SAM's translator expands it, as CloudFormation would,
and that is linted too; and each of those three mistakes is made in a copy, to see that it is found. The
variant for Lambda Managed Instances, which is a patch, is linted expanded only: the linter does not know what attributes
SAM's own resource for them has. Nor does it look at what the rules refuse: that is asked here, of both.
"""

import copy
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "template.yaml"
PATCH = ROOT / "docs/managed-instances.patch"
REGION = "us-east-1"

# What has no default. SAM looks at some parameters itself.
PARAMETERS = {
    "Release": "1790000000",
    "JwtIssuer": "https://issuer.example.com",
    "JwtAudience": "one,two",
    "WebhookSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:webhook-AbCdEf",
}

# Each with the rule that must find it in the expanded template.
MISTAKES = [
    ("a timeout that Lambda does not allow", "E3717", lambda health: health.update(Timeout=901)),
    ("an unknown runtime", "E3030", lambda health: health.update(Runtime="provided.al2042")),
    ("a reference that leads nowhere", "E1010", lambda health: health.update(Role={"Fn::GetAtt": ["Nobody", "Arn"]})),
]

# What somebody may give, and what the rules say to it before anything is made; the second of the variant.
SECRETS = dict.fromkeys(["DatabaseSecretArn", "MigrationsSecretArn"], PARAMETERS["WebhookSecretArn"])
EXISTING = {"Database": "existing", **SECRETS}
SUBNETS, GROUPS = {"SubnetIds": "subnet-0a,subnet-0b"}, {"SecurityGroupIds": "sg-0a"}
GIVEN = [
    ({}, [], []),
    ({"VpcId": "vpc-0a", **SUBNETS}, [], []),
    ({"VpcId": "vpc-0a"}, ["VpcId needs SubnetIds"], ["VpcId needs SubnetIds"]),
    (SUBNETS, ["Database=aurora with SubnetIds needs VpcId"], ["Database=aurora with SubnetIds needs VpcId"]),
    ({**EXISTING, **SUBNETS, **GROUPS}, [], []),
    ({"LetDatabaseSleep": "true"}, [], []),
    (
        {"LetDatabaseSleep": "true", "UseRdsProxy": "true"},
        ["LetDatabaseSleep=true needs UseRdsProxy=false"],
        ["LetDatabaseSleep=true needs UseRdsProxy=false"],
    ),
    (EXISTING, [], ["Database=existing needs SubnetIds", "Database=existing needs SecurityGroupIds"]),
    (
        {**EXISTING, **SUBNETS},
        ["Database=existing with SubnetIds needs SecurityGroupIds"],
        ["Database=existing needs SecurityGroupIds"],
    ),
    (
        {"Database": "existing", **SUBNETS, **GROUPS},
        ["Database=existing needs DatabaseSecretArn", "Database=existing needs MigrationsSecretArn"],
        ["Database=existing needs DatabaseSecretArn", "Database=existing needs MigrationsSecretArn"],
    ),
]


def patched(folder: Path) -> Path:
    """The variant for Managed Instances."""
    copied = folder / "managed-instances.yaml"
    (folder / "template.yaml").write_text(TEMPLATE.read_text())
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    subprocess.run(["git", "apply", str(PATCH)], cwd=folder, env=environment, check=True)
    (folder / "template.yaml").rename(copied)
    return copied


def expanded(template: dict) -> dict:
    """The template without SAM's resources, as CloudFormation would have it. What reads files is replaced."""
    import boto3
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # What `sam deploy` makes of it.
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    # A session without credentials, which tells the region: nothing is sent.
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    plain = translator.translate(template, PARAMETERS)
    # SAM puts in the value of what it looks at itself; whether each is used is seen in the template as it stands.
    plain["Metadata"]["cfn-lint"]["config"]["ignore_checks"].append("W2001")
    return plain


def mistaken(plain: dict) -> list[str]:
    """What SAM makes of the template that no linter looks at, where it is not what was meant."""
    found = []
    for name, resource in plain["Resources"].items():
        # Lambda publishes no version of a function in which nothing has changed, and the deploy fails. Going back looks
        # for the release there too.
        if resource["Type"] != "AWS::Lambda::Function":
            continue
        if resource["Properties"].get("Description") != PARAMETERS["Release"]:
            found.append("%s does not change with the release" % name)
    # Where a list of origins is an intrinsic function, SAM takes it for all there is to say about CORS.
    cors = plain["Resources"]["Api"]["Properties"]["Body"].get("x-amazon-apigateway-cors", {})
    branches = cors.get("Fn::If", [None, {}, {}])
    wanted = {"allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge"}
    if set(branches[1]) != wanted or branches[2] != {"Ref": "AWS::NoValue"}:
        found.append("the API's CORS is %s" % json.dumps(cors))
    return found


def refused(template: dict, given: dict[str, str]) -> list[str]:
    """What the rules say to these parameters. What CloudFormation does not let a rule call is not known here either."""
    parameters = {name: str(parameter.get("Default", "given")) for name, parameter in template["Parameters"].items()}
    parameters.update(given)

    def holds(condition: dict) -> bool:
        ((function, argument),) = condition.items()
        if function == "Fn::Equals":
            one, other = (parameters[side["Ref"]] if isinstance(side, dict) else side for side in argument)
            return one == other
        of_each = [holds(one) for one in argument]
        return {"Fn::Not": not of_each[0], "Fn::And": all(of_each), "Fn::Or": any(of_each)}[function]

    rules = [rule for rule in template["Rules"].values() if holds(rule["RuleCondition"])]
    assertions = [assertion for rule in rules for assertion in rule["Assertions"]]
    return [assertion["AssertDescription"] for assertion in assertions if not holds(assertion["Assert"])]


def lint(tools: Path, *files: Path) -> tuple[bool, str]:
    """Whether nothing was found, and what was."""
    command = [sys.executable, str(tools / "bin/cfn-lint"), "--format", "parseable", "--regions", REGION, "--", *map(str, files)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tools)}, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def main() -> int:
    tools = Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(tools))
    # The translator warns of metrics about itself that it has not sent.
    logging.disable(logging.WARNING)
    from samtranslator.yaml_helper import yaml_parse

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [TEMPLATE]
        for variant, source in enumerate((TEMPLATE, patched(folder))):
            template = yaml_parse(source.read_text())
            for given, *said in GIVEN:
                if refused(template, given) != said[variant]:
                    print("%s says %s to %s" % (source.name, refused(template, given), given), file=sys.stderr)
                    return 1
            plain = folder / (source.stem + ".expanded.json")
            made = expanded(template)
            plain.write_text(json.dumps(made, indent=1))
            files.append(plain)
            faults = mistaken(made)
            if faults:
                print("%s: %s" % (source.name, "; ".join(faults)), file=sys.stderr)
                return 1
        clean, found = lint(tools, *files)
        print(found, end="")
        if not clean:
            return 1
        print("template.yaml is clean as it stands, and expanded, and so is its variant for Managed Instances")
        template = yaml_parse(TEMPLATE.read_text())
        broken = []
        for number, (_, _, make) in enumerate(MISTAKES):
            wrong = copy.deepcopy(template)
            make(wrong["Resources"]["Health"]["Properties"])
            broken.append(folder / ("mistake-%d.json" % number))
            broken[-1].write_text(json.dumps(expanded(wrong), indent=1))
        _, found = lint(tools, *broken)
        for path, (what, rule, _) in zip(broken, MISTAKES):
            if not any(path.name in line and ":%s:" % rule in line for line in found.splitlines()):
                print("%s is not found: %s" % (what, found or "nothing is"), file=sys.stderr)
                return 1
            print("%s is found (%s)" % (what, rule))
    return 0


if __name__ == "__main__":
    sys.exit(main())
