//! The page, its first line, the JSON, and `--watch`.

use std::process::Stdio;

use local::postgres::Shutdown;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

use super::{BOUND, UNREACHABLE, WARNINGS, command, execute, ids, json, migrated, run, sound};

#[tokio::test]
async fn page_and_json_agree() {
    let cluster = migrated(sound()).await;
    execute(&cluster.url(), "DROP INDEX tasks_by_assignee").await;
    let report = json(&cluster.url(), &[]).await;
    let (code, page) = run(&cluster.url(), &[]).await;
    assert_eq!(report["exitCode"], code);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(page.lines().next(), report["firstLine"].as_str());
    let page = words(&page);
    for note in report["urlNotes"].as_array().unwrap() {
        assert!(page.contains(&words(note.as_str().unwrap())), "{note}: {page}");
    }
    assert!(page.contains(report["settingsNote"].as_str().unwrap()), "{page}");
    assert!(page.contains(&words(report["cause"].as_str().unwrap())), "{page}");
    for finding in report["findings"].as_array().unwrap() {
        assert!(
            page.contains(&words(finding["what"].as_str().unwrap())),
            "{finding}: {page}"
        );
    }
    for setting in report["settings"].as_array().unwrap() {
        if setting["compared"] == "fine" {
            assert!(setting["lines"].as_array().unwrap().is_empty(), "{setting}");
            continue;
        }
        assert!(page.contains(setting["name"].as_str().unwrap()), "{setting}: {page}");
        for line in setting["lines"].as_array().unwrap() {
            assert!(page.contains(line.as_str().unwrap()), "{setting}: {page}");
        }
    }
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 7);
    assert!(steps.iter().all(|step| step["outcome"] == "ok"), "{steps:#?}");
    assert!(page.contains("scram-sha-256 as seer"), "{page}");
}

#[tokio::test]
async fn first_line_names_worst_and_counts() {
    let cluster = migrated(sound()).await;
    let report = json(&cluster.url(), &["--budget", "500"]).await;
    let settings = report["settings"].as_array().unwrap().iter();
    let differing: Vec<_> = settings.filter(|setting| setting["compared"] == "differs").collect();
    let of = |level: &str| differing.iter().filter(|setting| setting["level"] == level).count();
    let (warn, tune) = (of("warn"), of("advice"));
    assert_eq!(differing[0]["name"], "max_connections", "{report:#}");
    // A setting that functions set for their own sessions is no warning.
    let level = |name: &str| differing.iter().find(|setting| setting["name"] == name).unwrap()["level"].clone();
    assert_eq!(level("idle_session_timeout"), "advice");
    // A server of an unsupported version is a warning too.
    let found = report["findings"].as_array().unwrap().iter();
    let warnings = warn + found.filter(|finding| finding["level"] == "warn").count();
    let counted = format!(
        "{} settings differ from what the fleet needs ({warn} warn, {tune} tune)",
        warn + tune
    );
    let (_, page) = run(&cluster.url(), &["--budget", "500"]).await;
    assert!(page.contains(&counted), "{counted}: {page}");
    assert!(page.contains(&format!("({warnings} warnings in all)")), "{page}");
}

/// A malformed variable is named, and the next step is about it; its value is not shown.
#[tokio::test]
async fn malformed_variable_gets_its_own_step() {
    for (name, value) in [
        ("MAX_RETRY_ATTEMPTS", "secret-9"),
        ("RETRY_DELAY_MS", "-5secret"),
        ("DATABASE_IAM_AUTH", "secret-yes"),
        ("DATABASE_SECRET_ARN", "arn:secret"),
        ("PGOPTIONS", "-c secret=1"),
        ("DATABASE_URL", "postgres://secret"),
    ] {
        let mut doctor = command("postgres://seer:something-long@127.0.0.1:9/seer", &["--json"]);
        let output = doctor.env(name, value).output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(UNREACHABLE), "{said}");
        let report: Value = serde_json::from_str(&said).unwrap();
        assert!(report["cause"].as_str().unwrap().contains(name), "{said}");
        let steps = report["findings"][0]["run"].as_array().unwrap();
        // A new developer has no URL yet: --local is the other one.
        assert_eq!(steps.len(), 1 + usize::from(name == "DATABASE_URL"), "{said}");
        let step = steps[0].as_str().unwrap();
        assert!(
            step.starts_with(&format!("unset {name} ")) || step.starts_with(&format!("export {name}=")),
            "{said}"
        );
        assert!(!said.contains("secret-") && !said.contains("-5"), "{said}");
    }
}

#[tokio::test]
async fn malformed_log_level_is_a_warning() {
    let cluster = migrated(sound()).await;
    let mut doctor = command(&cluster.url(), &["--json"]);
    let output = doctor.env("LOG_LEVEL", "loud").output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["id"] == "variable").unwrap();
    assert!(
        finding["what"].as_str().unwrap().starts_with("LOG_LEVEL: "),
        "{finding}"
    );
    assert_eq!(output.status.code(), Some(WARNINGS));
}

#[tokio::test]
async fn watch_sees_server_stop_and_return() {
    let cluster = migrated(sound()).await;
    let mut watching = command(&cluster.url(), &["--watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    // An examination during the change can see either state.
    let mut until = async |seen: fn(&Value) -> bool| {
        timeout(BOUND, async {
            loop {
                let line = lines.next_line().await.unwrap().unwrap();
                let report: Value = serde_json::from_str(&line).unwrap();
                if seen(&report) {
                    break;
                }
            }
        })
        .await
        .unwrap();
    };
    until(|report| report["exitCode"] == WARNINGS).await;
    cluster.stop(Shutdown::Fast).await.unwrap();
    until(|report| report["exitCode"] == UNREACHABLE && ids(report) == ["refused"]).await;
    cluster.start().await.unwrap();
    until(|report| report["exitCode"] == WARNINGS && report["state"]["connections"].is_object()).await;
    watching.kill().await.unwrap();
}
