#!/usr/bin/env python3
"""Lints the templates as they stand, and template.yaml as SAM expands it too, with nothing asked of AWS.

Usage: template.py TOOLS, the folder that aws-sam-cli and cfn-lint were installed into.

On the template as it stands a linter does not see what SAM's own resources become: it misses a timeout that Lambda does
not allow, an unknown runtime and a reference that leads nowhere. So SAM's translator expands it, as CloudFormation would,
and that is linted too; and each of those three mistakes is made in a copy, to see that it is found. What the rules of
the templates refuse is checked here, because the linter does not evaluate them.
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
DATABASE = ROOT / "template/database.yaml"
OBSERVABILITY = ROOT / "template/observability.yaml"
REGION = "us-east-1"

# What has no default. SAM looks at some parameters itself.
PARAMETERS = {
    "Release": "1790000000",
    "JwtIssuer": "https://issuer.example.com",
    "JwtAudience": "one,two",
    "WebhookSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:webhook-AbCdEf",
    "DatabaseAddress": "db.example.com:5432/seer?sslmode=verify-full",
    "MigrationsSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:owner-AbCdEf",
}

# Each with the rule that must find it in the expanded template.
MISTAKES = [
    ("a timeout that Lambda does not allow", "E3717", lambda health: health.update(Timeout=901)),
    ("an unknown runtime", "E3030", lambda health: health.update(Runtime="provided.al2042")),
    ("a reference that leads nowhere", "E1010", lambda health: health.update(Role={"Fn::GetAtt": ["Nobody", "Arn"]})),
]

# Parameters, and the rules of each template that refuse them.
SUBNETS, GROUPS = {"SubnetIds": "subnet-0a,subnet-0b"}, {"SecurityGroupIds": "sg-0a"}
SECRET = {"DatabaseSecretArn": PARAMETERS["WebhookSecretArn"]}
IAM = {"DatabaseUsersArn": "arn:aws:rds-db:us-east-1:123456789012:dbuser:cluster-C0FFEE"}
GIVEN = {
    TEMPLATE: [
        ({}, ["DatabaseUsersArn or DatabaseSecretArn is needed"]),
        (SECRET, []),
        (IAM, []),
        ({**IAM, **SUBNETS, **GROUPS}, []),
        ({**IAM, **SUBNETS}, ["SubnetIds needs SecurityGroupIds"]),
        ({**IAM, **GROUPS}, ["SecurityGroupIds needs SubnetIds"]),
    ],
    DATABASE: [
        ({}, []),
        ({"VpcId": "vpc-0a", **SUBNETS}, []),
        ({"VpcId": "vpc-0a"}, ["VpcId needs SubnetIds"]),
        (SUBNETS, ["SubnetIds needs VpcId"]),
        ({"LetDatabaseSleep": "true"}, []),
        ({"LetDatabaseSleep": "true", "UseRdsProxy": "true"}, ["LetDatabaseSleep=true needs UseRdsProxy=false"]),
    ],
}


# The condition of a rule that has none.
ALWAYS = {"Fn::Equals": ["", ""]}


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
        if resource["Type"] == "AWS::CloudFormation::Stack":
            resource["Properties"]["TemplateURL"] = "https://s3.amazonaws.com/bucket/key"
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
    # Else API Gateway drops an authorizer whose issuer it cannot reach, and its routes, and the deploy is green.
    if plain["Resources"]["Api"]["Properties"].get("FailOnWarnings") is not True:
        found.append("the API is deployed whatever API Gateway warns of")
    # Where a list of origins is an intrinsic function, SAM takes it for all there is to say about CORS.
    cors = plain["Resources"]["Api"]["Properties"]["Body"].get("x-amazon-apigateway-cors", {})
    branches = cors.get("Fn::If", [None, {}, {}])
    wanted = {"allowOrigins", "allowCredentials", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge"}
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

    rules = [rule for rule in template["Rules"].values() if holds(rule.get("RuleCondition", ALWAYS))]
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

    for source, cases in GIVEN.items():
        for given, expected in cases:
            found = refused(yaml_parse(source.read_text()), given)
            if found != expected:
                print("%s says %s to %s" % (source.name, found, given), file=sys.stderr)
                return 1
    template = yaml_parse(TEMPLATE.read_text())
    made = expanded(template)
    faults = mistaken(made)
    if faults:
        print("template.yaml: %s" % "; ".join(faults), file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = folder / "expanded.json"
        plain.write_text(json.dumps(made, indent=1))
        clean, found = lint(tools, TEMPLATE, DATABASE, OBSERVABILITY, plain)
        print(found, end="")
        if not clean:
            return 1
        print("the templates are clean as they stand, and template.yaml is clean expanded")
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
