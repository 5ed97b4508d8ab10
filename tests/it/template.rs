//! The templates are compared with everything else that names a function: binaries, router, `openapi.json`, the
//! variables that `shared::config` knows, the metrics that health writes. Finds what otherwise only a deploy would
//! find.

use std::collections::{BTreeMap, BTreeSet};

use functions::config::RecorderSecrets;
use local::template::{Deployment, Function, Stacks, Template, Values};
use serde_json::{Value, json};
use shared::config::{Config, Login, VARIABLES};

use super::backend::{TIMEOUT, WEBHOOK_SECRET, workspace};
use super::names::{NO_ROUTES, files, routes};
use super::schedules;

/// The functions that verify their sender themselves, with a secret.
const WEBHOOKS: [&str; 3] = ["clerk-webhook", "meetings-webhook", "meetings-webhook-alias"];

/// The function that runs `health` for the schedule alone: the only one without a binary of its name.
const SCHEDULED: &str = "HealthSchedule";

/// Everything that the template must agree with.
struct Project {
    binaries: BTreeSet<String>,
    /// Method and path of each function that has one.
    routes: BTreeMap<String, String>,
    /// Functions that take no token.
    public: BTreeSet<String>,
    health: String,
}

impl Project {
    fn read() -> Self {
        let document = std::fs::read_to_string(workspace().join("openapi.json")).unwrap();
        let document: Value = serde_json::from_str(&document).unwrap();
        let paths = document["paths"].as_object().unwrap().values();
        let operations = paths.flat_map(|methods| methods.as_object().unwrap().values());
        let public = operations.filter(|operation| operation["security"] == json!([]));
        Self {
            binaries: files("functions/src/bin", "rs").into_keys().collect(),
            routes: routes(),
            public: public
                .map(|operation| operation["operationId"].as_str().unwrap().to_owned())
                .collect(),
            health: words(&std::fs::read_to_string(workspace().join("shared/src/health.rs")).unwrap()),
        }
    }

    /// Everything in which the templates and the project differ.
    fn differences(&self, stacks: &Stacks) -> Vec<String> {
        let Deployment { functions: values, .. } = stacks.deployment(&BTreeMap::new()).unwrap();
        let template = &stacks.functions;
        let functions = template.functions();
        let mut found = Vec::new();
        let deployed: BTreeSet<_> = functions.iter().filter_map(Function::binary).collect();
        for binary in self.binaries.iter().filter(|name| !deployed.contains(name.as_str())) {
            found.push(format!(
                "no function of the template is for functions/src/bin/{binary}.rs"
            ));
        }
        for function in functions {
            let id = &function.id;
            match function.binary().filter(|binary| self.binaries.contains(*binary)) {
                Some(binary) => {
                    let of_one = self.of_function(template, &values, binary, &function);
                    found.extend(of_one.into_iter().map(|fault| format!("{id}: {fault}")));
                }
                None => {
                    let code = &function.properties["CodeUri"];
                    found.push(format!("{id}: CodeUri {code} is no binary of functions/src/bin"));
                }
            }
        }
        if template.at("/Resources/Api/Properties/Auth/DefaultAuthorizer") != "Jwt" {
            found.push("Api: without a default authorizer every route is open".to_owned());
        }
        for reserved in ["0", "1", "2", "8"] {
            let parameters = BTreeMap::from([("ReservedConcurrency".to_owned(), reserved.to_owned())]);
            found.extend(self.throttles(template, &stacks.deployment(&parameters).unwrap().functions));
        }
        let log = values.of(template.at("/Resources/Log/Properties"));
        // Text, because parameters are.
        if log["RetentionInDays"] != "30" {
            found.push(format!("Log: RetentionInDays is {}", log["RetentionInDays"]));
        }
        schedules_in(&template.document, &mut found);
        schedules_in(&stacks.database.document, &mut found);
        found
    }

    /// A route that anyone may call has a throttle of its own, below that of the others, which lets no more through at
    /// once than the function reserves.
    fn throttles(&self, template: &Template, values: &Values) -> Vec<String> {
        let api = values.of(template.at("/Resources/Api/Properties"));
        let number = |limit: &Value| limit.as_u64().or_else(|| limit.as_str()?.parse().ok());
        let limits =
            |settings: &Value| ["ThrottlingRateLimit", "ThrottlingBurstLimit"].map(|name| number(&settings[name]));
        let functions = template.functions();
        let others = limits(&api["DefaultRouteSettings"]);
        let mut own = api["RouteSettings"].as_object().cloned().unwrap_or_default();
        let mut found = Vec::new();
        for name in &self.public {
            let settings = own.remove(&self.routes[name]).unwrap_or_default();
            let limits = limits(&settings);
            if limits
                .iter()
                .zip(&others)
                .any(|(limit, other)| limit.is_none() || limit >= other)
            {
                found.push(format!(
                    "Api: {name}, which anyone may call, has no throttle of its own"
                ));
            }
            let function = functions.iter().find(|function| function.id == camel(name));
            let properties = function.map(|function| values.of(&function.properties));
            // Without a reserve the account's limit decides.
            let reserved = properties.and_then(|properties| number(&properties["ReservedConcurrentExecutions"]));
            let [_, burst] = limits;
            if let Some(reserved) = reserved.filter(|reserved| burst.is_none_or(|burst| burst > *reserved)) {
                found.push(format!(
                    "{name}: reserves {reserved}, less than its throttle lets through at once"
                ));
            }
        }
        found.extend(
            own.into_iter()
                .map(|(route, _)| format!("Api: {route} has a throttle, and takes a token or is none")),
        );
        found
    }

    fn of_function(&self, template: &Template, values: &Values, binary: &str, function: &Function) -> Vec<String> {
        let mut found = Vec::new();
        let mut expect = |what: &str, is: &Value, should: Value| {
            if *is != should {
                found.push(format!("{what} is {is} and should be {should}"));
            }
        };
        let properties = values.of(&function.properties);
        let id = &function.id;
        let own_name = if id == SCHEDULED { "health-schedule" } else { binary };
        let name = format!("${{AWS::StackName}}-{own_name}");
        expect("its name among the resources", &json!(id), json!(camel(own_name)));
        expect("FunctionName", &properties["FunctionName"], json!(name));
        expect("Handler", &properties["Handler"], json!("bootstrap"));
        // Its own, if there is one.
        let own = format!("{}Role", camel(binary));
        let role = if template.at("/Resources").get(&own).is_some() {
            &own
        } else if WEBHOOKS.contains(&binary) {
            "WebhookRole"
        } else {
            "RouteRole"
        };
        expect("Role", &properties["Role"], json!({"Fn::GetAtt": [role, "Arn"]}));
        expect(
            "LogGroup",
            &properties["LoggingConfig"]["LogGroup"],
            json!({"Ref": "Log"}),
        );
        expect(
            "AutoPublishCodeSha256",
            &properties["AutoPublishCodeSha256"],
            json!({"Ref": "Release"}),
        );
        let http: Vec<_> = properties["Events"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, event)| event)
            .collect();
        let http: Vec<_> = http.into_iter().filter(|event| event["Type"] == "HttpApi").collect();
        let scheduled = properties["Events"].pointer("/EveryMinute/Type") == Some(&json!("ScheduleV2"));
        expect(
            "whether the schedule invokes it",
            &json!(scheduled),
            json!(id == SCHEDULED),
        );
        if let Some(route) = self.routes.get(binary).filter(|_| id != SCHEDULED) {
            expect("how many routes it serves", &json!(http.len()), json!(1));
            let event = http.first().map_or(&Value::Null, |event| &event["Properties"]);
            let served = [&event["Method"], &event["Path"]]
                .map(|part| part.as_str().unwrap_or("?"))
                .join(" ");
            expect("its route", &json!(served), json!(route));
            expect("its API", &event["ApiId"], json!({"Ref": "Api"}));
            let open = self.public.contains(binary);
            let authorizer = if open { json!("NONE") } else { Value::Null };
            expect("its authorizer", &event["Auth"]["Authorizer"], authorizer);
            // INIT's 3 s before it, and the gateway gives up after 30.
            expect(
                "its timeout, with the gateway's of 30 s in mind,",
                &properties["Timeout"],
                json!(TIMEOUT.as_secs()),
            );
        } else {
            expect("how many routes it serves", &json!(http.len()), json!(0));
            let excepted = NO_ROUTES.contains(&binary) || id == SCHEDULED;
            assert!(excepted, "{binary} is neither a route nor excepted");
        }
        // Both ways of logging in, with any parameters: a misspelt variable counts as missing.
        let variables = function
            .properties
            .pointer("/Environment/Variables")
            .and_then(Value::as_object);
        let variables: BTreeSet<_> = variables.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        expect(
            "whether it knows the webhooks' secret",
            &json!(variables.contains("WEBHOOK_SECRET")),
            json!(binary.starts_with("meetings-webhook")),
        );
        expect(
            "whether it knows the identity provider's secret",
            &json!(variables.contains("CLERK_WEBHOOK_SECRET")),
            json!(binary == "clerk-webhook"),
        );
        expect(
            "whether its variables are encrypted with the stack's key",
            &json!(properties["KmsKeyArn"] == json!({"Fn::GetAtt": ["Key", "Arn"]})),
            json!(WEBHOOKS.contains(&binary)),
        );
        for needed in ["DATABASE_URL", "DATABASE_IAM_AUTH", "DATABASE_SECRET_ARN"] {
            expect(
                &format!("whether it has {needed}"),
                &json!(variables.contains(needed)),
                json!(true),
            );
        }
        for number in ["MemorySize", "ReservedConcurrentExecutions"] {
            let text = &properties[number];
            let given = text.is_u64() || text.as_str().is_some_and(|text| text.parse::<u64>().is_ok());
            expect(&format!("whether it has a {number}"), &json!(given), json!(true));
        }
        let known = [VARIABLES, functions::config::VARIABLES].concat();
        let unknown = variables.iter().filter(|name| !known.contains(name));
        found.extend(unknown.map(|name| format!("shared::config knows no variable {name}")));
        found
    }

    /// Each alarm is about a metric that health writes, of the function that writes it, or about one of the access log.
    fn alarms(&self, template: &Template) -> Vec<String> {
        let (mut found, mut watched) = (Vec::new(), BTreeSet::new());
        for (id, alarm) in template.resources("AWS::CloudWatch::Alarm") {
            let properties = &alarm["Properties"];
            if properties["AlarmActions"] != json!([{"Ref": "AlarmTopic"}]) {
                found.push(format!("{id}: nobody is told"));
            }
            if properties["Namespace"] == "Seer" {
                let metric = properties["MetricName"].as_str().unwrap_or_default();
                watched.insert(metric.to_owned());
                if !self.health.contains(&format!("\"{metric}\", Unit::")) {
                    found.push(format!("{id}: health writes no metric {metric}"));
                }
                if properties["Dimensions"] != json!([{"Name": "FunctionName", "Value": {"Ref": "HealthSchedule"}}]) {
                    found.push(format!("{id}: health writes its metrics with another dimension"));
                }
            }
        }
        for metric in [
            "DatabaseUp",
            "ConnectionsUsedPercent",
            "ConnectLatency",
            "OldestTransaction",
            "OldestWaiting",
        ] {
            if !watched.contains(metric) {
                found.push(format!("no alarm is about {metric}"));
            }
        }
        let (filter, alarm) = (
            template.at("/Resources/TooLarge/Properties"),
            template.at("/Resources/DeliveriesTooLarge/Properties"),
        );
        let counted = &filter["MetricTransformations"][0];
        if [&alarm["Namespace"], &alarm["MetricName"]] != [&counted["MetricNamespace"], &counted["MetricName"]] {
            found.push("DeliveriesTooLarge: no filter of the log counts its metric".to_owned());
        }
        let pattern = filter["FilterPattern"].as_str().unwrap_or_default();
        for name in WEBHOOKS.into_iter().filter(|name| name.starts_with("meetings-")) {
            let route = &self.routes[name];
            if !pattern.contains(&format!("$.route = \"{route}\"")) {
                found.push(format!("TooLarge: a delivery to {route} is not counted"));
            }
        }
        found
    }
}

/// A source file without its line breaks.
fn words(source: &str) -> String {
    source.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `meetings-get` is `MeetingsGet` among the resources, whose names are letters and digits.
fn camel(binary: &str) -> String {
    let words = binary.split('-');
    words
        .map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]))
        .collect()
}

fn schedules_in(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value.as_str().filter(|_| key == "ScheduleExpression") {
                    Some(expression) => found.extend(schedules::fault(expression)),
                    None => schedules_in(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| schedules_in(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn stacks() -> Stacks {
    Stacks::read(&workspace().join("template.yaml")).unwrap()
}

fn observability() -> Template {
    Template::read(&workspace().join("template/observability.yaml")).unwrap()
}

#[test]
fn template_agrees_with_the_code() {
    let differences = Project::read().differences(&stacks());
    assert!(differences.is_empty(), "{differences:#?}");
    let differences = Project::read().alarms(&observability());
    assert!(differences.is_empty(), "{differences:#?}");
}

/// What a page may do on a developer's machine it may do when deployed.
#[test]
fn cors_is_that_of_cargo_local() {
    use local::gateway::cors::{EXPOSED_HEADERS, MAX_AGE, METHODS, REQUEST_HEADERS};
    let stacks = stacks();
    let cors = stacks
        .functions
        .at("/Resources/Api/Properties/CorsConfiguration/Fn::If/1");
    for (name, expected) in [
        ("AllowCredentials", json!(true)),
        ("AllowMethods", json!(METHODS)),
        ("AllowHeaders", json!(REQUEST_HEADERS)),
        ("ExposeHeaders", json!(EXPOSED_HEADERS)),
        ("MaxAge", json!(MAX_AGE)),
    ] {
        assert_eq!(cors[name], expected, "{name}");
    }
}

/// The nested stack names its parameters as the outer one names what they stand for.
#[test]
fn observability_gets_its_parameters() {
    let template = stacks().functions;
    let given = template.at("/Resources/Observability/Properties/Parameters");
    let mut declared: Vec<_> = observability()
        .at("/Parameters")
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    declared.sort_unstable();
    let mut names: Vec<_> = given.as_object().unwrap().keys().cloned().collect();
    names.sort_unstable();
    assert_eq!(names, declared);
    for (name, value) in given.as_object().unwrap() {
        let expected = match name.as_str() {
            "Name" => json!({"Ref": "AWS::StackName"}),
            "KeyArn" => json!({"Fn::GetAtt": ["Key", "Arn"]}),
            name => json!({ "Ref": name }),
        };
        assert_eq!(*value, expected, "{name}");
    }
}

/// Returns the variables of a function as it is deployed; values that only AWS knows are invented.
fn variables(values: &Values, function: &Function) -> BTreeMap<String, String> {
    let properties = values.of(&function.properties);
    let variables = properties["Environment"]["Variables"].as_object().unwrap();
    let text = |value: &Value| match value.as_str() {
        Some(text) => text
            .replace(
                "${Cluster.Endpoint.Address}",
                "seer.cluster-c0ffee.us-east-1.rds.amazonaws.com",
            )
            .replace(
                "${DatabaseProxy.Endpoint}",
                "seer.proxy-c0ffee.us-east-1.rds.amazonaws.com",
            )
            .replace(
                "${Cluster.MasterUserSecret.SecretArn}",
                "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!cluster-c0ffee-AbCdEf",
            )
            .replace(
                "{{resolve:secretsmanager:${WebhookSecretArn}:SecretString}}",
                WEBHOOK_SECRET,
            ),
        None => panic!("{value} is no text"),
    };
    let variables = variables.iter().map(|(name, value)| (name.clone(), text(value)));
    variables
        .chain([("AWS_REGION".to_owned(), "us-east-1".to_owned())])
        .collect()
}

#[test]
fn functions_parse_their_variables() {
    let stacks = stacks();
    let secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:seer-AbCdEf";
    let users = "arn:aws:rds-db:us-east-1:123456789012:dbuser:db-C0FFEE";
    let address = |address| ("DatabaseAddress", address);
    let elsewhere = address("db.example.com:5432/seer?sslmode=verify-full");
    let secrets = [("DatabaseSecretArn", secret), ("MigrationsSecretArn", secret)];
    let iam = [elsewhere, ("DatabaseUsersArn", users), ("MigrationsSecretArn", secret)];
    for parameters in [
        &[][..],
        &[("UseRdsProxy", "true")],
        &[&secrets[..], &[address("/?sslmode=verify-full")]].concat(),
        &[&secrets[..], &[elsewhere]].concat(),
        &iam,
    ] {
        let given = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let values = stacks.deployment(&given.collect()).unwrap().functions;
        for function in stacks.functions.functions() {
            let (id, variables) = (&function.id, variables(&values, &function));
            assert!(
                !variables.values().any(|value| value.contains('$')),
                "{id}: {variables:?}"
            );
            let config = Config::from_lookup(|name| variables.get(name).cloned());
            let database = config
                .database
                .unwrap_or_else(|error| panic!("{id} with {parameters:?}: {error}"));
            assert!(config.roles.is_ok(), "{id}");
            let webhook = RecorderSecrets::parse(variables.get("WEBHOOK_SECRET").cloned(), false);
            assert_eq!(webhook.is_ok(), id.starts_with("MeetingsWebhook"), "{id}");
            let proxied = parameters.contains(&("UseRdsProxy", "true")) && id != "MigrationsRun";
            assert_eq!(database.url.is_pooled(), proxied, "{id}");
            let secret = matches!(database.url.login(), Login::Secret(_));
            let by_secret = parameters.contains(&secrets[0]);
            assert_eq!(
                secret,
                by_secret || id == "MigrationsRun",
                "{id} with {parameters:?} logs in in another way"
            );
        }
    }
}

/// A change to the template, and the expected message.
type Mutation = (&'static str, fn(&mut Value), &'static str);

#[test]
fn template_difference_is_located() {
    let mutations: [Mutation; 21] = [
        (
            "schedule on the function that anyone may call",
            |t| {
                let events = t["Resources"]["HealthSchedule"]["Properties"]["Events"].clone();
                t["Resources"]["Health"]["Properties"]["Events"]["EveryMinute"] = events["EveryMinute"].clone();
            },
            "Health: whether the schedule invokes it is true",
        ),
        (
            "webhook without a throttle",
            |t| {
                let settings = &mut t["Resources"]["Api"]["Properties"]["RouteSettings"];
                settings.as_object_mut().unwrap().remove("POST /api/meetings/webhook");
            },
            "Api: meetings-webhook, which anyone may call, has no throttle of its own",
        ),
        (
            "burst over the reserve",
            |t| {
                let settings = &mut t["Resources"]["Api"]["Properties"]["RouteSettings"];
                settings["GET /api/health"]["ThrottlingBurstLimit"] = json!(3);
            },
            "health: reserves 2",
        ),
        (
            "burst over the reserve of one",
            |t| {
                let settings = &mut t["Resources"]["Api"]["Properties"]["RouteSettings"];
                settings["POST /api/webhooks/clerk"]["ThrottlingBurstLimit"] = json!(2);
            },
            "clerk-webhook: reserves 1",
        ),
        (
            "burst over the reserve that a parameter gives",
            |t| {
                let settings = &mut t["Resources"]["Api"]["Properties"]["RouteSettings"];
                settings["POST /api/meetings/webhook"]["ThrottlingBurstLimit"] = json!(40);
            },
            "meetings-webhook: reserves 8",
        ),
        (
            "renamed binary",
            |t| t["Resources"]["MeetingsGet"]["Properties"]["CodeUri"] = json!("target/lambda/meeting-get/"),
            "MeetingsGet: CodeUri \"target/lambda/meeting-get/\" is no binary",
        ),
        (
            "lost function",
            |t| {
                t["Resources"].as_object_mut().unwrap().remove("TasksAll");
            },
            "for functions/src/bin/tasks-all.rs",
        ),
        (
            "another path",
            |t| {
                t["Resources"]["TasksAll"]["Properties"]["Events"]["Route"]["Properties"]["Path"] =
                    json!("/api/tasks/all")
            },
            "TasksAll: its route is \"GET /api/tasks/all\"",
        ),
        (
            "another method",
            |t| t["Resources"]["TasksUpdate"]["Properties"]["Events"]["Route"]["Properties"]["Method"] = json!("PUT"),
            "TasksUpdate: its route is \"PUT /api/meetings/{id}/tasks/{taskId}\"",
        ),
        (
            "no route",
            |t| {
                t["Resources"]["UsersMe"]["Properties"]
                    .as_object_mut()
                    .unwrap()
                    .remove("Events");
            },
            "UsersMe: how many routes it serves is 0",
        ),
        (
            "open route",
            |t| {
                t["Resources"]["MeetingsList"]["Properties"]["Events"]["Route"]["Properties"]["Auth"] =
                    json!({"Authorizer": "NONE"})
            },
            "MeetingsList: its authorizer is \"NONE\"",
        ),
        (
            "closed health",
            |t| {
                t["Resources"]["Health"]["Properties"]["Events"]["Route"]["Properties"]
                    .as_object_mut()
                    .unwrap()
                    .remove("Auth");
            },
            "Health: its authorizer is null",
        ),
        (
            "open API",
            |t| {
                t["Resources"]["Api"]["Properties"]["Auth"]
                    .as_object_mut()
                    .unwrap()
                    .remove("DefaultAuthorizer");
            },
            "every route is open",
        ),
        (
            "long timeout",
            |t| t["Resources"]["MeetingsCreate"]["Properties"]["Timeout"] = json!(31),
            "MeetingsCreate: its timeout, with the gateway's of 30 s in mind, is 31",
        ),
        (
            "long timeout of all",
            |t| t["Globals"]["Function"]["Timeout"] = json!(30),
            "TasksCreate: its timeout, with the gateway's of 30 s in mind, is 30",
        ),
        (
            "unknown variable",
            |t| t["Globals"]["Function"]["Environment"]["Variables"]["MAX_RETRIES"] = json!("3"),
            "shared::config knows no variable MAX_RETRIES",
        ),
        (
            "a secret too many",
            |t| t["Resources"]["UsersMe"]["Properties"]["Environment"] = json!({"Variables": {"WEBHOOK_SECRET": "x"}}),
            "UsersMe: whether it knows the webhooks' secret is true",
        ),
        (
            "another's role",
            |t| t["Resources"]["UsersMe"]["Properties"]["Role"] = json!({"Fn::GetAtt": ["HealthRole", "Arn"]}),
            "UsersMe: Role is",
        ),
        (
            "no limit",
            |t| {
                t["Globals"]["Function"]
                    .as_object_mut()
                    .unwrap()
                    .remove("ReservedConcurrentExecutions");
            },
            "UsersMe: whether it has a ReservedConcurrentExecutions is false",
        ),
        (
            "bad schedule",
            |t| {
                t["Resources"]["Health"]["Properties"]["Events"]["EveryMinute"]["Properties"]["ScheduleExpression"] =
                    json!("rate(1 minutes)")
            },
            "rate(1 minutes): \"minutes\" is no unit for 1",
        ),
        (
            "plain secret",
            |t| {
                t["Resources"]["MeetingsWebhook"]["Properties"]
                    .as_object_mut()
                    .unwrap()
                    .remove("KmsKeyArn");
            },
            "MeetingsWebhook: whether its variables are encrypted with the stack's key is false",
        ),
    ];
    let (project, stacks) = (Project::read(), stacks());
    for (name, change, says) in mutations {
        let mut changed = stacks.clone();
        change(&mut changed.functions.document);
        assert_ne!(
            changed.functions.document, stacks.functions.document,
            "{name} changes nothing"
        );
        let differences = project.differences(&changed);
        assert!(
            differences.iter().any(|said| said.contains(says)),
            "{name}: {differences:#?}"
        );
    }
    let alarms: [Mutation; 4] = [
        (
            "uncounted metric",
            |t| t["Resources"]["DeliveriesTooLarge"]["Properties"]["Namespace"] = json!("AWS/Logs"),
            "DeliveriesTooLarge: no filter of the log counts its metric",
        ),
        (
            "uncounted route",
            |t| t["Resources"]["TooLarge"]["Properties"]["FilterPattern"] = json!("{ $.status = \"413\" }"),
            "TooLarge: a delivery to POST /api/meetings/webhook is not counted",
        ),
        (
            "unwritten metric",
            |t| t["Resources"]["DatabaseDown"]["Properties"]["MetricName"] = json!("DatabaseDown"),
            "DatabaseDown: health writes no metric DatabaseDown",
        ),
        (
            "silent alarm",
            |t| {
                t["Resources"]["ApiFails"]["Properties"]
                    .as_object_mut()
                    .unwrap()
                    .remove("AlarmActions");
            },
            "ApiFails: nobody is told",
        ),
    ];
    for (name, change, says) in alarms {
        let mut changed = observability();
        change(&mut changed.document);
        let differences = project.alarms(&changed);
        assert!(
            differences.iter().any(|said| said.contains(says)),
            "{name}: {differences:#?}"
        );
    }
    // Changes outside the template.
    let mut project = project;
    project
        .routes
        .insert("tasks-list".to_owned(), "GET /api/tasks".to_owned());
    project.binaries.insert("users-count".to_owned());
    let differences = project.differences(&stacks);
    for says in [
        "TasksList: its route is \"GET /api/meetings/{id}/tasks\" and should be \"GET /api/tasks\"",
        "no function of the template is for functions/src/bin/users-count.rs",
    ] {
        assert!(
            differences.iter().any(|said| said.contains(says)),
            "{says}: {differences:#?}"
        );
    }
}
