"""Combinations of parameters of the three templates, which a deploy may have.

Of each parameter every allowed value, or both bounds, and the default occur. Parameters that belong together change
together. The same combinations at each run.
"""

import random
from pathlib import Path

# The combinations of each template: at least as many as a parameter has values.
EACH = 20

ACCOUNT = "us-east-1:123456789012"
SECRETS = {
    "DatabaseSecretArn": "arn:aws:secretsmanager:%s:secret:application-AbCdEf" % ACCOUNT,
    "DatabaseAddress": "/?sslmode=verify-full",
}
USERS = {"DatabaseUsersArn": "arn:aws:rds-db:%s:dbuser:cluster-C0FFEE" % ACCOUNT}
CLERK = "arn:aws:secretsmanager:%s:secret:clerk-AbCdEf" % ACCOUNT
SUBNETS = "subnet-0a1b2c3d,subnet-1a2b3c4d"

# Parameters that are given together, by template.
TOGETHER = {
    "template.yaml": [
        # How the functions log in.
        [
            {**USERS, "ClusterName": "seer-database-1", "BackupVaultName": "seer-database-c0ffee"},
            {"DatabaseUsersArn": "arn:aws:rds-db:%s:dbuser:db-C0FFEE" % ACCOUNT},
            SECRETS,
            {**SECRETS, "MonitoringSecretArn": "arn:aws:secretsmanager:%s:secret:monitor-AbCdEf" % ACCOUNT},
            {**SECRETS, "SecretsKeyArn": "arn:aws:kms:%s:key/0a" % ACCOUNT},
        ],
        [{}, {"SubnetIds": SUBNETS, "SecurityGroupIds": "sg-0a1b2c3d"}, {"SubnetIds": SUBNETS, "SecurityGroupIds": "sg-0a1b2c3d,sg-1a2b3c4d"}],
        [{}, {"ClerkWebhookSecretArn": CLERK}],
        [{}, {"WebhookSecretVersionId": "0a-b"}],
        [{}, {"AllowedOrigins": "https://app.example.com"}, {"AllowedOrigins": "https://a.example,http://localhost:5173"}],
        [{}, {"MigrationsAddress": "direct.example.com:5432/seer?sslmode=verify-full"}],
        [{}, {"AlarmEmail": "you@example.com"}],
        [{}, {"ReservedConcurrency": "1"}],
    ],
    "template/database.yaml": [
        [{}, {"VpcId": "vpc-0a1b2c3d", "SubnetIds": SUBNETS}, {"AvailabilityZones": "us-east-1a,us-east-1c"}],
        [{}, {"VpcCidr": "10.0.0.0/16"}, {"VpcCidr": "192.168.7.0/24"}],
        [{}, {"RestoreFromSnapshot": "seer-as-it-was", "ClusterNumber": "2"}],
        # A database that sleeps has no proxy.
        [{}, {"LetDatabaseSleep": "true"}, {"UseRdsProxy": "true"}],
    ],
    "template/observability.yaml": [
        [{}, {"ClusterName": "seer-database-1"}],
        [{}, {"BackupVaultName": "seer-database-c0ffee"}],
        [{}, {"AlarmEmail": "you@example.com"}],
        [{"LetDatabaseSleep": "false"}, {"LetDatabaseSleep": "true"}],
    ],
}
# The nested stack's, which have no default.
NESTED = {
    "Name": "seer", "Api": "a1b2c3", "ApiLog": "/aws/vendedlogs/seer/api", "Health": "seer-health", "HealthSchedule": "seer-health-schedule",
    "ClusterName": "", "BackupVaultName": "", "AlarmEmail": "",
    "LetDatabaseSleep": "false", "KeyArn": "arn:aws:kms:%s:key/0a" % ACCOUNT,
}


def values(parameter: dict) -> list[str]:
    """The values of a parameter: each allowed one, or its bounds and its default."""
    ends = [parameter[name] for name in ("MinValue", "MaxValue", "Default") if name in parameter]
    return [str(value) for value in parameter.get("AllowedValues", ends if "MinValue" in parameter else [])]


def combinations(root: Path, needed: dict[str, str]) -> list[tuple[Path, dict[str, str]]]:
    """The templates, each with parameters; `needed` has no default in template.yaml."""
    from samtranslator.yaml_helper import yaml_parse

    made = []
    for name, together in TOGETHER.items():
        template = yaml_parse((root / name).read_text())
        each = 4 if name.endswith("observability.yaml") else EACH
        taken = {parameter for bundles in together for bundle in bundles for parameter in bundle}
        alone = {key: values(one) for key, one in template["Parameters"].items() if key not in taken}
        choices = together + [[{key: one} for one in given] for key, given in alone.items() if given]
        chance = random.Random(name)
        columns = []
        for choice in choices:
            assert len(choice) <= each, choice
            column = (choice * each)[:each]
            chance.shuffle(column)
            columns.append(column)
        base = {"template.yaml": needed, "template/observability.yaml": NESTED}.get(name, {})
        for row in zip(*columns):
            given = dict(base)
            for bundle in row:
                given.update(bundle)
            # No range: the largest takes the place of the default.
            if float(given.get("AuroraMinCapacity", 0)) > float(given.get("AuroraMaxCapacity", 1)):
                given["AuroraMaxCapacity"] = "256"
            made.append((root / name, given))
    return made


def with_arns(value, plain: dict):
    """A policy with ARNs in place of attributes."""
    arns = {"AWS::KMS::Key": "arn:aws:kms:%s:key/0a", "AWS::Logs::LogGroup": "arn:aws:logs:%s:log-group:/seer/log:*"}
    if isinstance(value, list):
        return [with_arns(one, plain) for one in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Fn::GetAtt"}:
        return arns[plain["Resources"][value["Fn::GetAtt"][0]]["Type"]] % ACCOUNT
    if set(value) == {"Fn::Sub"}:
        return value["Fn::Sub"][0].replace("${Id}", "cluster-C0FFEE")
    return {key: with_arns(one, plain) for key, one in value.items()}
