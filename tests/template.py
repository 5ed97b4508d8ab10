#!/usr/bin/env python3
"""Lints the templates as they stand, and as SAM and CloudFormation make them, with nothing asked of AWS.

Usage: template.py TOOLS, the folder with the folders that SAM with cfn-lint, checkov and parliament were installed into.

On a template as it stands a linter does not see what SAM's own resources become, nor what a parameter is when it is not
the default. So SAM's translator expands template.yaml, and all three templates are linted for parameters that are
resolved: every value that is allowed, every bound, and every way to log in, in many combinations. parliament looks at
the policies of each, checkov at one with everything in it, with the exceptions that the templates have as comments.
Mistakes are made in copies, to see that they are found. What the rules and the patterns refuse is checked here, because no
linter evaluates them.
"""

import copy
import itertools
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

# No cache files beside the imported ones.
sys.dont_write_bytecode = True

import matrix
from resolved import Resolver

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "template.yaml"
DATABASE = ROOT / "template/database.yaml"
OBSERVABILITY = ROOT / "template/observability.yaml"
REGION = "us-east-1"

# Parameters without a default. SAM looks at some itself.
PARAMETERS = {
    "Release": "1790000000",
    "JwtIssuer": "https://issuer.example.com",
    "JwtAudience": "one,two",
    "WebhookSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:webhook-AbCdEf",
    "DatabaseAddress": "db.example.com:5432/seer?sslmode=verify-full",
    "MigrationsSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:owner-AbCdEf",
}

NO_GROUP = {"SubnetIds": ["subnet-0a1b2c3d"], "SecurityGroupIds": [{"Ref": "AlarmEmail"}]}

# Each with the rule that must find it in the expanded template.
MISTAKES = [
    ("a timeout that Lambda does not allow", "E3717", lambda health: health.update(Timeout=901)),
    ("an unknown runtime", "E3030", lambda health: health.update(Runtime="provided.al2042")),
    ("a reference that leads nowhere", "E1010", lambda health: health.update(Role={"Fn::GetAtt": ["Nobody", "Arn"]})),
    # Only a template whose parameters are resolved shows it.
    ("an address where a security group belongs", "E1150", lambda health: health.update(VpcConfig=NO_GROUP)),
]

# Parameters, and the rules of each template that refuse them.
SUBNETS, GROUPS = {"SubnetIds": "subnet-0a1b2c3d,subnet-1a2b3c4d"}, {"SecurityGroupIds": "sg-0a1b2c3d"}
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
        ({"VpcId": "vpc-0a1b2c3d", **SUBNETS}, []),
        ({"VpcId": "vpc-0a1b2c3d"}, ["VpcId needs SubnetIds"]),
        (SUBNETS, ["SubnetIds needs VpcId"]),
        ({"LetDatabaseSleep": "true"}, []),
        ({"LetDatabaseSleep": "true", "UseRdsProxy": "true"}, ["LetDatabaseSleep=true needs UseRdsProxy=false"]),
        ({"AWS::Region": "il-central-1"}, ["The functions do not have the authority that signs this region's databases"]),
    ],
}


# Values that each AllowedPattern takes, and values that it refuses. No linter evaluates one.
SECRET_ARNS = (
    ["arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf", "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:a/b-AbCdEf"],
    ["seer/webhook", "arn:aws:ssm:us-east-1:123456789012:parameter/a", "arn:aws:secretsmanager:us-east-1:1234:secret:a", "arn:aws:secretsmanager:us-east-1:123456789012:secret:"],
)
ADDRESSES = (
    ["db.example.com:5432/seer?sslmode=verify-full", "db.example.com/seer", "/?sslmode=verify-full", "a:5432,b:5432/seer", "db.example.com/seer?pgbouncer=true&sslmode=verify-full"],
    ["db.example.com:5432/seer?sslmode=require", "db.example.com/seer?sslmode=disable", "db.example.com/seer?sslmode=verify-ca",
     "db.example.com/seer?sslmode=verify-full&sslmode=prefer", "db.example.com/seer?sslmode=", "seer_app:secret@db.example.com/seer", "db.example.com", "db.example.com/seer x"],
)
SUBNET_LISTS = (["subnet-0a1b2c3d", "subnet-0a,subnet-1b"], ["vpc-0a", "subnet-0a,", "subnet-0a, subnet-1b", "subnet-0A", "subnet-0a subnet-1b"])
PATTERNS = {
    TEMPLATE: {
        "JwtIssuer": (["https://issuer.example.com", "https://example.com/pool/"], ["", "http://issuer.example.com", "issuer.example.com", "https://a b"]),
        "JwtAudience": (["seer", "one,two"], ["", "one,", ",one", "one, two"]),
        "AllowedOrigins": (["", "https://app.example.com", "https://a.example,http://localhost:5173"], ["*", "app.example.com", "https://a.example,", "https://a.example, https://b.example"]),
        "WebhookSecretArn": (SECRET_ARNS[0], ["", *SECRET_ARNS[1]]),
        "WebhookSecretVersionId": (["", "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"], ["a b", "a:b", "AWS_CURRENT"]),
        "ClerkWebhookSecretArn": (["", *SECRET_ARNS[0]], SECRET_ARNS[1]),
        "DatabaseAddress": (ADDRESSES[0], ["", *ADDRESSES[1]]),
        "MigrationsAddress": (["", *ADDRESSES[0]], ADDRESSES[1]),
        "MigrationsSecretArn": (SECRET_ARNS[0], ["", *SECRET_ARNS[1]]),
        "DatabaseUsersArn": (
            ["", "arn:aws:rds-db:us-east-1:123456789012:dbuser:cluster-C0FFEE"],
            ["arn:aws:rds:us-east-1:123456789012:cluster:seer", "arn:aws:rds-db:us-east-1:123456789012:dbuser:cluster-C0FFEE/seer_app", "arn:aws:rds-db:us-east-1:123456789012:dbuser:*"],
        ),
        "DatabaseSecretArn": (["", *SECRET_ARNS[0]], SECRET_ARNS[1]),
        "MonitoringSecretArn": (["", *SECRET_ARNS[0]], SECRET_ARNS[1]),
        "SecretsKeyArn": (["", "arn:aws:kms:us-east-1:123456789012:key/0a"], ["alias/seer", "*", "arn:aws:s3:::seer"]),
        "SubnetIds": (["", *SUBNET_LISTS[0]], SUBNET_LISTS[1]),
        "SecurityGroupIds": (["", "sg-0a1b2c3d", "sg-0a,sg-1b"], ["subnet-0a", "sg-0a,", "sg-0a, sg-1b", "sg-0A"]),
        "Release": (["1790000000", "abcdefABCD"], ["", "179000000", "17900000000", "v1.0.0-rc1"]),
        "AlarmEmail": (["", "you@example.com"], ["you", "you@", "@example.com", "you@a@b", "you @example.com"]),
    },
    DATABASE: {
        "AuroraVersion": (["18.4", "18.10"], ["", "18", "17.6", "118.4", "18x4", "18.4.1"]),
        "VpcCidr": (["10.42.0.0/16", "192.168.7.0/24"], ["", "10.42.0.0", "10.42.0.0/8", "10.42.0.0/15", "10.42.0.0/25", "10.42.0/16"]),
        "AvailabilityZones": (["", "us-east-1a,us-east-1c"], ["us-east-1a", "us-east-1a, us-east-1c", "us-east-1a,us-east-1b,us-east-1c"]),
        "VpcId": (["", "vpc-0a1b2c3d"], ["subnet-0a", "vpc-", "vpc-0A", "vpc-0a,vpc-1b"]),
        "SubnetIds": (["", *SUBNET_LISTS[0]], SUBNET_LISTS[1]),
    },
}

# Everything that a condition makes is there.
WHOLE = {
    **PARAMETERS, **IAM, **SUBNETS, **GROUPS, "ClerkWebhookSecretArn": PARAMETERS["WebhookSecretArn"],
    "AllowedOrigins": "https://app.example.com", "AlarmEmail": "you@example.com",
    "SecretsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/0a",
}
# Findings of parliament that are meant.
ACCEPTED = [
    # Lambda adds this key to the requests of a function's code; parliament's list does not have it.
    "Unknown condition lambda:SourceFunctionArn",
    # Lambda asks for the network's actions on every resource.
    "RESOURCE_STAR - ['ec2:AssignPrivateIpAddresses', ",
]
CAPACITY = "AuroraMinCapacity must not be above AuroraMaxCapacity"
ROOTS = ROOT / "shared/src/config/database_url/rds-roots.pem"

# The condition of a rule that has none.
ALWAYS = {"Fn::Equals": ["", ""]}


def expanded(template: dict, parameters: dict[str, str] = PARAMETERS) -> dict:
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
    plain = translator.translate(template, parameters)
    # SAM puts in the value of what it looks at itself; whether each is used is seen in the template as it stands.
    plain["Metadata"]["cfn-lint"]["config"]["ignore_checks"].append("W2001")
    return plain


def mistaken(plain: dict) -> list[str]:
    """Faults of the expanded template that no linter looks for."""
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
    """The descriptions of the rules that refuse these parameters."""
    needed = {name: "given" for name, parameter in template["Parameters"].items() if "Default" not in parameter}
    resolver = Resolver(template, {**needed, **given})
    rules = [rule for rule in template["Rules"].values() if resolver.holds(rule.get("RuleCondition", ALWAYS))]
    assertions = [assertion for rule in rules for assertion in rule["Assertions"]]
    return [assertion["AssertDescription"] for assertion in assertions if not resolver.holds(assertion["Assert"])]


def rules() -> list[str]:
    """Where the rules of a template say something else than expected."""
    from samtranslator.yaml_helper import yaml_parse

    faults = []
    for source, cases in GIVEN.items():
        template = yaml_parse(source.read_text())
        for given, expected in cases:
            found = refused(template, given)
            if found != expected:
                faults.append("%s says %s to %s" % (source.name, found, given))
    database = yaml_parse(DATABASE.read_text())
    least_and_most = [matrix.values(database["Parameters"]["Aurora%sCapacity" % end]) for end in ("Min", "Max")]
    for least, most in itertools.product(*least_and_most):
        expected = [CAPACITY] if float(least) > float(most) else []
        if refused(database, {"AuroraMinCapacity": least, "AuroraMaxCapacity": most}) != expected:
            faults.append("database.yaml takes from %s to %s capacity units otherwise than expected" % (least, most))
    for region in re.findall(r"^Amazon RDS (\S+) ", ROOTS.read_text(), re.M):
        if refused(database, {"AWS::Region": region}):
            faults.append("database.yaml refuses %s, whose authority the functions have" % region)
    return faults


def patterns() -> list[str]:
    """Where the pattern of a parameter takes or refuses another value than expected."""
    from samtranslator.yaml_helper import yaml_parse

    faults = []
    for source, cases in PATTERNS.items():
        declared = yaml_parse(source.read_text())["Parameters"]
        patterns = {name: one["AllowedPattern"] for name, one in declared.items() if "AllowedPattern" in one}
        if set(patterns) != set(cases):
            faults.append("%s has other patterns than expected: %s" % (source.name, set(patterns) ^ set(cases)))
        for name, pattern in patterns.items():
            taken, refused = cases.get(name, ([], []))
            for value in taken + refused:
                if bool(re.fullmatch(pattern, value)) != (value in taken):
                    faults.append("%s: %s %s %r" % (source.name, name, "takes" if value in refused else "refuses", value))
    return faults


def without_most_routes(template: dict) -> dict:
    """The template with one of the routes that are alike, and one of the rare ones."""
    text = TEMPLATE.read_text()
    generated = re.findall(r"^  (\w+):$", text[text.index("# routes: begin") : text.index("# routes: end")], re.M)
    rare = [name for name in generated if "ReservedConcurrentExecutions" in template["Resources"][name]["Properties"]]
    usual = [name for name in generated if name not in rare]
    assert rare and usual
    kept = {name: one for name, one in template["Resources"].items() if name not in (*rare[1:], *usual[1:])}
    return {**template, "Resources": kept}


def lint(tools: Path, *files: Path) -> tuple[bool, str]:
    """Whether there is no finding, and the findings."""
    command = [sys.executable, str(tools / "sam/bin/cfn-lint"), "--format", "parseable", "--regions", REGION, "--", *map(str, files)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tools / "sam")}, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def examined(job: tuple[str, str, dict[str, str]]) -> list[str]:
    """The findings of the linters in a template with these parameters. Runs in a process of its own."""
    tools, source, given = job
    sys.path.insert(0, str(Path(tools) / "sam"))
    logging.disable(logging.WARNING)
    from cfnlint.api import lint as lint_text
    from cfnlint.config import ManualArgs
    from samtranslator.yaml_helper import yaml_parse

    template = yaml_parse(Path(source).read_text())
    found = refused(template, given) if "Rules" in template else []
    ours = set(template["Resources"])
    if Path(source) == TEMPLATE:
        template = expanded(without_most_routes(template), given)
    plain = Resolver(template, given).whole()
    config = ManualArgs(regions=[REGION], ignore_checks=["W3010"])
    found += [str(match) for match in lint_text(json.dumps(plain), config=config)]
    found += policies(Path(tools), plain, ours)
    return ["%s: %s; with %s" % (Path(source).name, one, given) for one in found]


def policies(tools: Path, plain: dict, names: set[str]) -> list[str]:
    """The findings of parliament in the policies of these resources; the others are of SAM."""
    sys.path.insert(0, str(tools / "parliament"))
    import parliament

    found = []
    for name, resource in plain["Resources"].items():
        if name not in names:
            continue
        properties = resource.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            documents.append(properties["PolicyDocument"])
        for document in documents:
            open_keys = [one for one in document["Statement"] if "kms:" in str(one["Action"]) and "Condition" not in one]
            found += ["%s: a key may be used for anything: %s" % (name, one) for one in open_keys]
            analyzed = parliament.analyze_policy_string(json.dumps(matrix.with_arns(document, plain)))
            findings = [str(finding) for finding in analyzed.findings]
            found += ["%s: %s" % (name, one) for one in findings if not any(known in one for known in ACCEPTED)]
    return found


def checked(tools: Path, folder: Path, template: dict) -> tuple[bool, str]:
    """The findings of checkov in template.yaml as it is deployed. The comments with exceptions become metadata."""
    text = TEMPLATE.read_text()
    plain = Resolver(expanded(template, WHOLE), WHOLE).whole()
    for name, body in re.findall(r"^  (\w+):\n((?:    .*\n|\n)+)", text[text.index("\nResources:") :], re.M):
        skips = re.findall(r"checkov:skip=(\w+):(.+)", body)
        if skips and name in plain["Resources"]:
            plain["Resources"][name].setdefault("Metadata", {})["checkov"] = {
                "skip": [{"id": check, "comment": comment} for check, comment in skips]
            }
    path = folder / "whole.json"
    path.write_text(json.dumps(plain, indent=1))
    command = [sys.executable, str(tools / "checkov/bin/checkov"), "--config-file", str(ROOT / "template/checkov.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(tools / "checkov")}
    done = subprocess.run([*command, "--file", str(path)], env=environment, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def main() -> int:
    tools = Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(tools / "sam"))
    # The translator warns of metrics about itself that it has not sent.
    logging.disable(logging.WARNING)
    from samtranslator.yaml_helper import yaml_parse

    faults = rules() + patterns()
    template = yaml_parse(TEMPLATE.read_text())
    made = expanded(template)
    faults += ["template.yaml: %s" % fault for fault in mistaken(made)]
    jobs = [(str(tools), str(source), given) for source, given in matrix.combinations(ROOT, PARAMETERS)]
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(max_workers=os.cpu_count()) as workers:
        folder = Path(name)
        found = workers.map(examined, jobs)
        plain = folder / "expanded.json"
        plain.write_text(json.dumps(made, indent=1))
        clean, said = lint(tools, DATABASE, OBSERVABILITY, plain)
        faults += [] if clean else [said]
        clean, said = checked(tools, folder, template)
        faults += [] if clean else [said]
        for what, rule, make in MISTAKES:
            wrong = without_most_routes(copy.deepcopy(template))
            make(wrong["Resources"]["Health"]["Properties"])
            path = folder / "mistake.json"
            path.write_text(json.dumps(Resolver(expanded(wrong), WHOLE).whole(), indent=1))
            _, said = lint(tools, path)
            if ":%s:" % rule not in said:
                faults.append("%s is not found: %s" % (what, said or "nothing is"))
        faults += [fault for one in found for fault in one]
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 1
    print("the templates are clean as they stand, and in %d combinations of parameters; " % len(jobs), end="")
    print("%d mistakes are found" % len(MISTAKES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
