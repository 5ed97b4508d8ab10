//! Tests `cargo seer budget` as users run it: the real binary with the real template and a real PostgreSQL's limit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use local::gateway::Routes;
use local::postgres::{Cluster, Pooler, Settings};
use tokio::process::Command;

/// A database that is not of these templates.
const OWN: &str = "DatabaseAddress=db.example.com/seer?sslmode=verify-full";

/// The property that bounds the environments of each route.
const RESERVED: &str = "ReservedConcurrentExecutions: !If [Reserves, !Ref ReservedConcurrency, !Ref AWS::NoValue]";

/// The same of each rare route.
const RARE: &str = "ReservedConcurrentExecutions: !If [Reserves, !If [ReservesOne, 1, 2], !Ref AWS::NoValue]";

fn template() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("template.yaml")
}

/// Both templates, changed, in a folder of their own.
struct Changed {
    _folder: tempfile::TempDir,
    template: PathBuf,
}

impl Changed {
    fn of(change: impl Fn(String) -> String, change_database: impl Fn(String) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("template")).unwrap();
        let read = |name: &str| fs::read_to_string(template().with_file_name(name)).unwrap();
        let write = |name: &str, text| fs::write(folder.path().join(name), text).unwrap();
        write("template.yaml", change(read("template.yaml")));
        write(
            "template/database.yaml",
            change_database(read("template/database.yaml")),
        );
        Self {
            template: folder.path().join("template.yaml"),
            _folder: folder,
        }
    }
}

/// With a parameter for the connections of an environment in the functions' URL.
fn with_connection_limit(limit: u32) -> impl Fn(String) -> String {
    move |database| {
        let added = database.replace("/seer?sslmode", &format!("/seer?connection_limit={limit}&sslmode"));
        assert_ne!(added, database);
        added
    }
}

/// All routes but `health`.
fn routes() -> usize {
    let manifest = template().with_file_name("Cargo.toml");
    Routes::from_manifest(&manifest).unwrap().functions().len() - 1
}

/// The concurrency that these routes reserve: what `ReservedConcurrency` says, and the rare ones 2 at most.
fn reserved(each: usize) -> usize {
    let rare = fs::read_to_string(template()).unwrap().matches(RARE).count();
    (routes() - rare) * each + rare * each.min(2)
}

/// The connections needed if these routes hold so many: again for the overlap, and 3 of health and one of the migration.
fn needed(held: usize) -> usize {
    2 * held + 4
}

/// The largest `ReservedConcurrency` that needs at most so many connections; 0 if there is none.
fn most(usable: usize) -> usize {
    (1..).take_while(|each| needed(reserved(*each)) <= usable).count()
}

/// The advice to set it.
fn fewer_environments(usable: usize) -> Vec<String> {
    let most = Some(most(usable)).filter(|most| *most > 0);
    most.map(|most| format!("ReservedConcurrency={most}"))
        .into_iter()
        .collect()
}

/// The template without reserves of the routes.
fn unreserved(template: &str) -> String {
    template
        .replace(&format!("    {RESERVED}\n"), "")
        .replace(&format!("      {RARE}\n"), "")
        .replace(&format!("      {RARE},\n"), "")
}

async fn budget(template: &Path, parameters: &[&str], database_url: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seer"));
    command
        .arg("budget")
        .arg("--template")
        .arg(template)
        .env_remove("DATABASE_URL")
        .kill_on_drop(true);
    for parameter in parameters {
        if parameter.starts_with("--") {
            command.arg(parameter);
        } else {
            command.args(["--param", parameter]);
        }
    }
    if let Some(url) = database_url {
        command.env("DATABASE_URL", url);
    }
    command.output().await.unwrap()
}

fn fits(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(said.contains("It fits"), "{said}");
    said
}

/// Returns the one line of an error.
fn does_not_fit(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
    said
}

/// Returns the parameter changes that the line names.
fn advised(error: &str) -> Vec<String> {
    let words = error.split([' ', ',']).filter(|word| word.contains('='));
    words.map(str::trim).map(str::to_owned).collect()
}

#[tokio::test]
async fn default_parameters_fit() {
    let said = fits(&budget(&template(), &[], None).await);
    for expected in [
        &format!("needed  {}\n", needed(reserved(8))),
        "usable  818, Aurora of 0.5 to 4",
        &format!("{} to spare", 818 - needed(reserved(8))),
        &format!("reserves {} concurrent", reserved(8) + 4),
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    // The schedule's reserve is its own.
    for (function, row) in [("health ", ["2", "1", "2"]), ("health-schedule ", ["1", "1", "1"])] {
        let line = said.lines().find(|line| line.contains(function)).unwrap();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(cells[cells.len() - 4..cells.len() - 1], row, "{said}");
    }
    fits(&budget(&template(), &["UseRdsProxy=true"], None).await);
}

#[tokio::test]
async fn managed_instances_count_their_limits() {
    // As docs/deploying/variants.md says it is done.
    let on_instances = |template: String| {
        let globals = format!("    {RESERVED}\n");
        let instances = "    CapacityProviderConfig: {PerExecutionEnvironmentMaxConcurrency: 16}\n    \
                         FunctionScalingConfig: {MaxExecutionEnvironments: !Ref ReservedConcurrency}\n";
        assert!(template.contains(&globals));
        let mut changed = unreserved(&template.replace(&globals, instances));
        for id in ["Health", "HealthSchedule", "MigrationsRun"] {
            changed = changed.replace(
                &format!("\n  {id}:\n"),
                &format!("\n  {id}:\n    IgnoreGlobals: [CapacityProviderConfig, FunctionScalingConfig]\n"),
            );
        }
        changed
    };
    let changed = Changed::of(on_instances, with_connection_limit(2));
    let said = fits(&budget(&changed.template, &["ReservedConcurrency=2"], None).await);
    // 2 environments of each route with 2 connections.
    assert!(
        said.contains(&format!("needed  {}\n", needed(2 * 2 * routes()))),
        "{said}"
    );
    // Without connection_limit an environment may hold as many as it serves requests.
    let changed = Changed::of(on_instances, |database| database);
    let error = does_not_fit(&budget(&changed.template, &["ReservedConcurrency=4"], None).await);
    let expected = format!("{} connections do not fit into 818", needed(4 * 16 * routes()));
    assert!(error.contains(&expected), "{error}");
    for change in advised(&error) {
        let environments = change.starts_with("ReservedConcurrency=");
        let kept = (!environments).then_some("ReservedConcurrency=4");
        let given: Vec<_> = kept.into_iter().chain([change.as_str()]).collect();
        fits(&budget(&changed.template, &given, None).await);
    }
}

#[tokio::test]
async fn oversized_fleet_fits_after_advice() {
    let thousand = [OWN, "ReservedConcurrency=1000"];
    let cluster = Cluster::throwaway(Settings {
        max_connections: 100,
        ..Settings::default()
    })
    .await
    .unwrap();
    let url = cluster.url();
    for (asked, source) in [
        (None, "PostgreSQL's default"),
        (Some(url.as_str()), "asked from 127.0.0.1"),
    ] {
        let output = budget(&template(), &thousand, asked).await;
        let said = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(
            said.contains(source) && said.contains("max_connections 100, 3 of them"),
            "{said}"
        );
        let error = does_not_fit(&output);
        let needed = needed(reserved(1000));
        for expected in [
            format!("{needed} connections do not fit into 97"),
            format!("max_connections to at least {} (now 100)", needed + 3),
        ] {
            assert!(error.contains(&expected), "{expected}: {error}");
        }
        // The reservations, and the concurrency that Lambda keeps unreserved.
        let quota = format!("to {} at least", reserved(1000) + 4 + 100);
        assert!(said.contains(&quota), "{said}");
        let advised = advised(&error);
        assert_eq!(advised, fewer_environments(97), "{error}");
        for advised in advised {
            fits(&budget(&template(), &[OWN, &advised], asked).await);
        }
        let too_many = format!("ReservedConcurrency={}", most(97) + 1);
        does_not_fit(&budget(&template(), &[OWN, &too_many], asked).await);
    }
}

#[tokio::test]
async fn live_server_gets_no_cluster_advice() {
    let cluster = Cluster::throwaway(Settings {
        max_connections: 100,
        ..Settings::default()
    })
    .await
    .unwrap();
    let output = budget(&template(), &[], Some(&cluster.url())).await;
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(said.starts_with("DATABASE_URL is set"), "{said}");
    let error = does_not_fit(&output);
    assert_eq!(advised(&error), fewer_environments(97), "{error}");
    let raise = format!(
        "raise that server's max_connections to at least {} (now 100)",
        needed(reserved(8)) + 3
    );
    assert!(error.contains(&raise), "{error}");
    // The server's message is shown, without the line of its own source.
    let wrong = cluster.url().replace(cluster.password(), "not-the-password");
    let error = does_not_fit(&budget(&template(), &[], Some(&wrong)).await);
    assert!(
        error.contains("authentication failed") && !error.contains("at line"),
        "{error}"
    );
}

/// Clients of a pooler take none of the server's slots: its own limit decides.
#[tokio::test]
async fn pooler_limit_decides() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let unknown = format!("{}?pgbouncer=true", cluster.url());
    let error = does_not_fit(&budget(&template(), &[], Some(&unknown)).await);
    assert!(error.contains("stats_users = seer"), "{error}");
    assert!(error.contains("max_client_conn must be"), "{error}");
    assert!(!error.contains("max_connections"), "{error}");
    if Pooler::find().is_none() {
        return eprintln!("not tested: a pooler, because pgbouncer is not installed");
    }
    let pooler = Pooler::start(&cluster, "seer", cluster.password(), 5).await.unwrap();
    let server = format!("127.0.0.1:{}", cluster.port());
    let url = cluster.url().replace(&server, &pooler.address().to_string());
    let pooled = format!("{url}?pgbouncer=true");
    let said = fits(&budget(&template(), &[], Some(&pooled)).await);
    assert!(said.contains("max_client_conn 2000"), "{said}");
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let options = options.extra_float_digits(None).database("pgbouncer");
    #[expect(clippy::disallowed_methods, reason = "the pooler's console, not a database")]
    let mut console = <sqlx::PgConnection as sqlx::Connection>::connect_with(&options)
        .await
        .unwrap();
    sqlx::raw_sql("SET max_client_conn = 20")
        .execute(&mut console)
        .await
        .unwrap();
    let error = does_not_fit(&budget(&template(), &[], Some(&pooled)).await);
    assert!(
        error.contains("max_client_conn = ") && error.contains("(now 20)"),
        "{error}"
    );
    assert!(!error.contains("max_connections"), "{error}");
}

#[tokio::test]
async fn capacity_between_tiers_counts_lower() {
    let output = budget(&template(), &["AuroraMaxCapacity=2"], None).await;
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        said.contains("usable  184, Aurora of 0.5 to 2 capacity units, counted like 1,"),
        "{said}"
    );
    for documented in ["1", "4", "32", "64"] {
        let output = budget(&template(), &[&format!("AuroraMaxCapacity={documented}")], None).await;
        let said = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(!said.contains("counted like"), "{said}");
    }
}

#[tokio::test]
async fn new_cluster_fits_after_any_advice() {
    // More than 818 connections, and less than the 2000 of a small AuroraMinCapacity.
    let many = format!("ReservedConcurrency={}", most(818) + 1);
    for given in [[&*many, "AuroraMinCapacity=1"], [&*many, "AuroraMinCapacity=0.5"]] {
        let advised = advised(&does_not_fit(&budget(&template(), &given, None).await));
        let names: Vec<_> = advised.iter().filter_map(|change| change.split('=').next()).collect();
        assert_eq!(names, ["ReservedConcurrency", "AuroraMaxCapacity", "UseRdsProxy"]);
        for change in advised {
            let kept = given
                .into_iter()
                .filter(|given| given.split('=').next() != change.split('=').next());
            fits(&budget(&template(), &kept.chain([change.as_str()]).collect::<Vec<_>>(), None).await);
        }
    }
}

/// The account's limit bounds the functions without one of their own, all together.
#[tokio::test]
async fn unreserved_functions_share_the_account() {
    let changed = Changed::of(|template| template, with_connection_limit(2));
    let said = fits(&budget(&changed.template, &["ReservedConcurrency=2"], None).await);
    assert!(
        said.contains(&format!("needed  {}\n", needed(2 * reserved(2)))),
        "{said}"
    );

    let changed = Changed::of(|template| unreserved(&template), |database| database);
    // 1,000 less health's 3 and the migration's 1, again for the overlap; these 4.
    let error = does_not_fit(&budget(&changed.template, &[], None).await);
    assert!(error.contains("1996 connections do not fit into 818"), "{error}");

    let nothing = ["ReservedConcurrency=0", "--account=10"];
    let said = fits(&budget(&template(), &nothing, None).await);
    assert!(said.contains("needed  20\n") && !said.contains("reserves"), "{said}");
    // An account that cannot reserve so much.
    let said = fits(&budget(&template(), &nothing[1..], None).await);
    assert!(
        said.contains("The account has 10") && said.contains(&format!("to {} at least", reserved(8) + 4 + 100)),
        "{said}"
    );
}

#[tokio::test]
async fn mistake_is_one_line_without_secret() {
    for (parameters, url, says) in [
        (&["Concurrency=3"][..], None, "no template has a parameter Concurrency"),
        (
            &["ReservedConcurrency=-1"],
            None,
            "ReservedConcurrency must be a number, at least 0",
        ),
        (
            &["ReservedConcurrency=1.5"],
            None,
            "ReservedConcurrentExecutions is \"1.5\" and must be a whole number",
        ),
        (
            &["AuroraMinCapacity=8", "AuroraMaxCapacity=4"],
            None,
            "AuroraMinCapacity, 8, is above AuroraMaxCapacity, 4",
        ),
        (
            &["DatabaseAddress=db/seer?connection_limit=0"],
            None,
            "connection_limit must be a whole number, 1 at least",
        ),
        (
            &[],
            Some("postgres://seer:nobody-knows@127.0.0.1:1/seer?pool_timeout=1"),
            "cannot ask the database",
        ),
        (
            &[],
            Some("postgres://seer:nobody-knows@127.0.0.1:1/seer?schemer=1"),
            "schemer",
        ),
    ] {
        let error = does_not_fit(&budget(&template(), parameters, url).await);
        assert!(error.contains(says) && !error.contains("nobody-knows"), "{error}");
    }
}

#[tokio::test]
async fn advice_covers_connection_limit() {
    let holding = async |limit: usize| {
        let limit = u32::try_from(limit).unwrap();
        let changed = Changed::of(|template| template, with_connection_limit(limit));
        budget(&changed.template, &["ReservedConcurrency=1"], None).await
    };
    // Those of health and of the migration have no pool.
    let limit = (818 - 4) / needed(reserved(1)).saturating_sub(4);
    let error = does_not_fit(&holding(limit + 1).await);
    let expected = format!("{} connections do not fit into 818", needed((limit + 1) * reserved(1)));
    assert!(error.contains(&expected), "{error}");
    let expected = format!("a connection_limit of {limit} in DATABASE_URL (now {})", limit + 1);
    assert!(error.contains(&expected), "{error}");
    fits(&holding(limit).await);
    // Where it is 1 already, nothing is said of it.
    let error = does_not_fit(&budget(&template(), &[OWN], None).await);
    assert!(!error.contains("connection_limit"), "{error}");
}

#[tokio::test]
async fn undecided_template_does_not_fit() {
    let text = fs::read_to_string(template()).unwrap();
    // With its parameters, which the database's outputs become.
    let bare = &text[..text.find("\nConditions:").unwrap() + 1];
    for (template, says) in [
        (bare.to_owned(), "no function"),
        (format!("{bare}Resources: {{}}\n"), "no function"),
        (
            text.replace("{Type: Number, Default: 8,", "{Type: Number,"),
            "is the parameter ReservedConcurrency, which has no default: give --param ReservedConcurrency=",
        ),
        (
            text.replace(RESERVED, "ReservedConcurrentExecutions: 18446744073709551615"),
            "do not fit into 818",
        ),
    ] {
        assert_ne!(template, text);
        let changed = Changed::of(|_| template.clone(), |database| database);
        let error = does_not_fit(&budget(&changed.template, &[], None).await);
        assert!(error.contains(says), "{error}");
    }
}
