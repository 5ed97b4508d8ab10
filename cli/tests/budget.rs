//! Tests `cargo seer budget` as users run it: the real binary with the real template and a real PostgreSQL's limit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use local::postgres::{Cluster, Settings};
use tokio::process::Command;

fn template() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("template.yaml")
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
        command.args(["--param", parameter]);
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
    // 16 routes of 8, twice for the overlap; 3 health checks; one migration.
    for expected in [
        "needed  260\n",
        "usable  818, Aurora of 0.5 to 4",
        "558 to spare",
        "reserves 132 concurrent",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let health: Vec<_> = said
        .lines()
        .find(|line| line.contains("health"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(health[health.len() - 4..health.len() - 1], ["3", "1", "3"], "{said}");
    fits(&budget(&template(), &["UseRdsProxy=true"], None).await);
    let page = fs::read_to_string(template().with_file_name("docs").join("DEPLOYING.md")).unwrap();
    for said in [
        "It fits, with 558 to spare.",
        "132 concurrent executions are reserved in all",
    ] {
        assert!(page.contains(said), "docs/DEPLOYING.md does not say {said:?}");
    }
}

#[tokio::test]
async fn managed_instances_count_their_limits() {
    let folder = tempfile::tempdir().unwrap();
    let patched = folder.path().join("template.yaml");
    fs::copy(template(), &patched).unwrap();
    let patch = template().with_file_name("docs").join("managed-instances.patch");
    let mut apply = Command::new("git");
    apply.args(["apply"]).arg(patch).current_dir(folder.path());
    // The folder is not a checkout.
    apply
        .env("GIT_CEILING_DIRECTORIES", folder.path().parent().unwrap())
        .env_remove("GIT_DIR");
    assert!(apply.status().await.unwrap().success());
    let said = fits(&budget(&patched, &[], None).await);
    // 16 routes of 4 environments with 4 connections, twice for the overlap; health and the migration as before.
    assert!(said.contains("needed  516\n"), "{said}");
    // Without connection_limit an environment can hold as many connections as it serves requests.
    let text = fs::read_to_string(&patched).unwrap();
    fs::write(&patched, text.replace("connection_limit=4&", "")).unwrap();
    let error = does_not_fit(&budget(&patched, &[], None).await);
    assert!(error.contains("2052 connections do not fit into 818"), "{error}");
    for change in advised(&error) {
        fits(&budget(&patched, &[&change], None).await);
    }
}

#[tokio::test]
async fn oversized_fleet_fits_after_advice() {
    let thousand = ["Database=existing", "ReservedConcurrency=1000"];
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
        assert!(error.contains("32004 connections do not fit into 97"), "{error}");
        assert!(error.contains("max_connections to at least 32007 (now 100)"), "{error}");
        // The reservations, and the concurrency that Lambda keeps unreserved.
        assert!(said.contains("to 16104 at least"), "{said}");
        let advised = advised(&error);
        assert_eq!(advised, ["ReservedConcurrency=2"], "{error}");
        fits(&budget(&template(), &["Database=existing", &advised[0]], asked).await);
        // It is the largest value that fits.
        does_not_fit(&budget(&template(), &["Database=existing", "ReservedConcurrency=3"], asked).await);
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
    assert_eq!(advised(&error), ["ReservedConcurrency=2"], "{error}");
    assert!(
        error.contains("raise that server's max_connections to at least 263 (now 100)"),
        "{error}"
    );
    // The server's message is shown, without the line of its own source.
    let wrong = cluster.url().replace(cluster.password(), "not-the-password");
    let error = does_not_fit(&budget(&template(), &[], Some(&wrong)).await);
    assert!(
        error.contains("authentication failed") && !error.contains("at line"),
        "{error}"
    );
}

#[tokio::test]
async fn capacity_between_tiers_counts_lower() {
    let output = budget(&template(), &["AuroraMaxCapacity=3"], None).await;
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(
        said.contains("usable  184, Aurora of 0.5 to 3 capacity units, counted like 1,"),
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
    for given in [
        ["ReservedConcurrency=40", "AuroraMinCapacity=1"],
        ["ReservedConcurrency=60", "AuroraMinCapacity=0.5"],
    ] {
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

/// Connections that functions hold at the same time are added up, so each function needs a bound.
#[tokio::test]
async fn unbounded_function_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("template.yaml");
    let text = fs::read_to_string(template()).unwrap();
    let two = text.replace(
        "seer_app@${Cluster.Endpoint.Address}:5432/seer?",
        "seer_app@${Cluster.Endpoint.Address}:5432/seer?connection_limit=2&",
    );
    fs::write(&changed, &two).unwrap();
    let said = fits(&budget(&changed, &[], None).await);
    assert!(said.contains("needed  516\n"), "{said}");

    fs::write(
        &changed,
        text.replace("    ReservedConcurrentExecutions: !Ref ReservedConcurrency\n", ""),
    )
    .unwrap();
    let error = does_not_fit(&budget(&changed, &[], None).await);
    assert!(
        error.contains("has no bound: set ReservedConcurrentExecutions"),
        "{error}"
    );
}

#[tokio::test]
async fn mistake_is_one_line_without_secret() {
    for (parameters, url, says) in [
        (
            &["Concurrency=3"][..],
            None,
            "the template has no parameter Concurrency",
        ),
        (
            &["ReservedConcurrency=0"],
            None,
            "ReservedConcurrency must be a number, at least 1",
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
            &["Database=existing", "DatabaseUrl=postgres://db/seer?connection_limit=0"],
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
    let url = |limit: &str| format!("DatabaseUrl=postgres://db/seer?sslmode=verify-full&connection_limit={limit}");
    let given = |limit: &str| {
        ["Database=existing", "ReservedConcurrency=2"]
            .map(str::to_owned)
            .into_iter()
            .chain([url(limit)])
    };
    let told = |limit: &str| given(limit).collect::<Vec<_>>();
    let five = told("5");
    let five: Vec<_> = five.iter().map(String::as_str).collect();
    // 16 routes of 2 with 5 each, twice for the overlap; those of health and of the migration.
    let error = does_not_fit(&budget(&template(), &five, None).await);
    assert!(error.contains("340 connections do not fit into 97"), "{error}");
    assert!(
        error.contains("a connection_limit of 1 in DATABASE_URL (now 5)"),
        "{error}"
    );
    let one = told("1");
    fits(&budget(&template(), &one.iter().map(String::as_str).collect::<Vec<_>>(), None).await);
    // If the parameter is 1 already, the advice does not mention it.
    let error = does_not_fit(&budget(&template(), &["Database=existing"], None).await);
    assert!(!error.contains("connection_limit"), "{error}");
}

#[tokio::test]
async fn undecided_template_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("template.yaml");
    let text = fs::read_to_string(template()).unwrap();
    let reserved = "ReservedConcurrentExecutions: !Ref ReservedConcurrency";
    for (template, says) in [
        (String::new(), "no function"),
        ("Resources: {}\n".to_owned(), "no function"),
        (
            text.replace("    Type: Number\n    Default: 8\n", "    Type: Number\n"),
            "is the parameter ReservedConcurrency, which has no default: give --param ReservedConcurrency=",
        ),
        (
            text.replace(reserved, "ReservedConcurrentExecutions: 18446744073709551615"),
            "do not fit into 818",
        ),
    ] {
        assert_ne!(template, text);
        fs::write(&changed, template).unwrap();
        let error = does_not_fit(&budget(&changed, &[], None).await);
        assert!(error.contains(says), "{error}");
    }
}
