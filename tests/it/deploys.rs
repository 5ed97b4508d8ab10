//! The templates over time and among neighbours: a first deploy that failed, a VPC with others in it; and what each
//! function may do there. `template` tests names and routes.

use std::collections::BTreeMap;

use local::template::{Deployment, Function, Stacks, Template, Values};
use serde_json::{Value, json};

use super::backend::workspace;

fn stacks() -> Stacks {
    Stacks::read(&workspace().join("template.yaml")).unwrap()
}

fn observability() -> Template {
    Template::read(&workspace().join("template/observability.yaml")).unwrap()
}

fn deployment<'a>(stacks: &'a Stacks, parameters: &[(&str, &str)]) -> Deployment<'a> {
    let given = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    stacks.deployment(&given.collect::<BTreeMap<_, _>>()).unwrap()
}

/// If a deploy fails, CloudFormation retains resources that it created and that are to be retained: the next deploy
/// would find the name in use, as it would after the stack was deleted and created again.
#[test]
fn retained_resource_allows_redeploy() {
    let stacks = stacks();
    let resources = [&stacks.database, &stacks.functions].map(|template| template.at("/Resources").as_object());
    let mut kept = 0;
    for (id, resource) in resources.into_iter().flatten().flatten() {
        let policy = &resource["DeletionPolicy"];
        assert_ne!(policy, "Retain", "{id} would outlive the failed deploy that made it");
        if policy == "RetainExceptOnCreate" {
            kept += 1;
            let names = resource["Properties"].as_object().unwrap().iter();
            for (property, name) in names.filter(|(property, _)| property.ends_with("Name")) {
                assert!(
                    name.to_string().contains("AWS::StackId"),
                    "{id}: {property} is the same for another stack of this name"
                );
            }
        }
    }
    assert_eq!(kept, 2, "the key and the vault");
}

/// An endpoint with private DNS takes over its service's name in the whole VPC, and these admit only the project's
/// functions.
#[test]
fn existing_vpc_gets_no_endpoints() {
    let stacks = stacks();
    let yours = deployment(&stacks, &[("VpcId", "vpc-0123"), ("SubnetIds", "subnet-1,subnet-2")]);
    let (own, yours) = (deployment(&stacks, &[]).database.unwrap(), yours.database.unwrap());
    let endpoints = stacks.database.resources("AWS::EC2::VPCEndpoint");
    assert!(!endpoints.is_empty());
    for (id, endpoint) in endpoints {
        let condition = endpoint["Condition"].as_str().unwrap_or_default();
        assert!(
            own.condition(condition),
            "{id} is not made with a VPC of the stack's own"
        );
        assert!(
            !yours.condition(condition),
            "{id} would shut everybody else in the VPC out"
        );
    }
}

/// In a search expression of CloudWatch, text in quotes is the whole value.
#[test]
fn dashboard_matches_function_prefix() {
    let template = observability();
    let body = template.at("/Resources/Dashboard/Properties/DashboardBody/Fn::Sub/0");
    // Text that is JSON only when other alarms, or nothing, are put in.
    let body = body
        .as_str()
        .unwrap()
        .replace("${OfTheCluster}", "")
        .replace("${OfTheVault}", "");
    let body: Value = serde_json::from_str(&body).unwrap();
    let mut searches = Vec::new();
    for widget in body["widgets"].as_array().unwrap() {
        for metric in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            searches.extend(metric[0]["expression"].as_str());
        }
    }
    searches.retain(|search| search.contains("AWS/Lambda"));
    assert_eq!(searches.len(), 2, "{searches:?}");
    for search in searches {
        assert!(search.contains("FunctionName=${Name}"), "{search}");
    }
}

/// A key of yours may have encrypted anything.
#[test]
fn existing_key_decrypts_only_secrets() {
    fn statements<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(entries) if entries.get("Resource") == Some(&json!({"Ref": "SecretsKeyArn"})) => {
                found.push(value);
            }
            Value::Object(entries) => entries.values().for_each(|value| statements(value, found)),
            Value::Array(items) => items.iter().for_each(|value| statements(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let stacks = stacks();
    let mut found = Vec::new();
    statements(&stacks.functions.document, &mut found);
    assert_eq!(found.len(), 1, "in the policy of every function");
    for statement in found {
        assert_eq!(
            statement["Condition"],
            json!({"StringLike": {"kms:ViaService": "secretsmanager.*.amazonaws.com*"}}),
            "{statement}"
        );
    }
}

/// Returns the resources for which a function's role allows an action.
fn allowed(template: &Template, values: &Values, function: &Function, action: &str) -> Vec<Value> {
    let resource = |id: &Value| values.of(template.at(&format!("/Resources/{}/Properties", id.as_str().unwrap())));
    let role = resource(&function.properties["Role"]["Fn::GetAtt"][0]);
    let own = role["Policies"].as_array().into_iter().flatten();
    let own = own.map(|policy| policy["PolicyDocument"].clone());
    let shared = role["ManagedPolicyArns"].as_array().into_iter().flatten();
    let shared = shared.map(|policy| resource(&policy["Ref"])["PolicyDocument"].clone());
    let mut found = Vec::new();
    for document in own.chain(shared) {
        for statement in document["Statement"].as_array().unwrap() {
            let actions = &statement["Action"];
            let names = actions.as_array().map_or(std::slice::from_ref(actions), Vec::as_slice);
            if statement["Effect"] != "Allow" {
                continue;
            }
            assert!(
                !names.iter().any(|name| name.as_str().unwrap().contains('*')),
                "{}: {statement} allows more than it says",
                function.id
            );
            if names.iter().any(|name| name == action) {
                found.push(statement["Resource"].clone());
            }
        }
    }
    found
}

/// As its own database user with IAM, or with its own secret.
#[test]
fn function_has_only_its_own_login() {
    let arn = |name: &str| format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-AbCdEf");
    let (application, monitoring, owner) = (arn("application"), arn("monitoring"), arn("owner"));
    let existing = [
        ("DatabaseAddress", "db.example.com:5432/seer?sslmode=verify-full"),
        ("DatabaseSecretArn", application.as_str()),
        ("MonitoringSecretArn", monitoring.as_str()),
        ("MigrationsSecretArn", owner.as_str()),
    ];
    let stacks = stacks();
    let template = &stacks.functions;
    for (parameters, server) in [
        (&[][..], "Cluster"),
        (&[("UseRdsProxy", "true")], "DatabaseProxy"),
        (&existing, ""),
    ] {
        let Deployment {
            functions: values,
            database,
        } = deployment(&stacks, parameters);
        if let Some(database) = database {
            let id = database.of(stacks.database.at("/Outputs/DatabaseUsersArn/Value/Fn::Sub/1/Id"));
            assert!(id.to_string().contains(&format!("[\"{server}\",")), "{id}");
        }
        for function in template.functions() {
            let id = &function.id;
            let variables = values.of(&function.properties["Environment"]["Variables"]);
            let users = allowed(template, &values, &function, "rds-db:connect");
            let secrets = allowed(template, &values, &function, "secretsmanager:GetSecretValue");
            if variables["DATABASE_IAM_AUTH"] != "true" {
                assert_eq!(users, [""; 0], "{id}");
                assert_eq!(secrets, [variables["DATABASE_SECRET_ARN"].clone()], "{id}");
                continue;
            }
            assert_eq!(secrets, [""; 0], "{id}");
            let (_, url) = variables["DATABASE_URL"].as_str().unwrap().split_once("://").unwrap();
            let (user, host) = url.split_once('@').unwrap();
            assert!(host.starts_with(&format!("${{{server}.")), "{id}: {url}");
            let arn = values.parameter("DatabaseUsersArn").unwrap();
            assert_eq!(users, [format!("{arn}/{user}")], "{id}");
        }
    }
}

/// The alarms on the database live on it, and one of them goes off where it does not come.
#[test]
fn schedule_stops_if_database_may_sleep() {
    let (stacks, observability) = (stacks(), observability());
    for (sleeps, state, missing) in [("false", "ENABLED", "breaching"), ("true", "DISABLED", "notBreaching")] {
        let values = deployment(&stacks, &[("LetDatabaseSleep", sleeps)]).functions;
        let schedule = values.of(stacks
            .functions
            .at("/Resources/HealthSchedule/Properties/Events/EveryMinute"));
        assert_eq!(schedule["Type"], "ScheduleV2");
        assert_eq!(schedule["Properties"]["ScheduleExpression"], "rate(1 minute)");
        assert_eq!(schedule["Properties"]["State"], state);
        let given = BTreeMap::from([("LetDatabaseSleep".to_owned(), sleeps.to_owned())]);
        let values = Values::new(&observability, &given).unwrap();
        let alarm = values.of(observability.at("/Resources/DatabaseDown/Properties"));
        assert_eq!(
            (&alarm["Period"], &alarm["TreatMissingData"]),
            (&json!(60), &json!(missing))
        );
        assert_eq!(
            (&alarm["EvaluationPeriods"], &alarm["DatapointsToAlarm"]),
            (&json!(3), &json!(2))
        );
    }
}

/// A request that wakes the cluster waits for it, and still answers in time.
#[test]
fn pool_timeout_covers_a_waking() {
    let stacks = stacks();
    for (sleeps, seconds) in [("true", Some(24)), ("false", None)] {
        let values = deployment(&stacks, &[("LetDatabaseSleep", sleeps)]).functions;
        let function = values.of(stacks.functions.at("/Globals/Function"));
        let url = function["Environment"]["Variables"]["DATABASE_URL"].as_str().unwrap();
        let given = url
            .split_once("pool_timeout=")
            .map(|(_, seconds)| seconds.parse().unwrap());
        assert_eq!(given, seconds, "{url}");
        let migrations = values.of(stacks
            .functions
            .at("/Resources/MigrationsRun/Properties/Environment/Variables"));
        let url = migrations["DATABASE_URL"].as_str().unwrap();
        assert!(url.ends_with("pool_timeout=60"), "{url}");
        let timeout = function["Timeout"].as_i64().unwrap();
        assert!(seconds.is_none_or(|seconds: i64| (15..timeout - 1).contains(&seconds)));
    }
}
