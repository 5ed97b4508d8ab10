//! Every fault of the catalogue once, with a small load: the functions' own binaries in a fleet, on a real PostgreSQL
//! behind a proxy that fails. Nothing here asserts a time.
//!
//! `cargo seer faults` plays the same at full size and reports figures. Here each scenario is a test of its name.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use faults::{Artifacts, Expectation, Fault, Injection, Load, Played, Scenario, Setup, Size, Workload};
use faults::{catalogue, missing, play};

/// The random seed: every run sends the same requests.
const SEED: u64 = 1;

async fn played(scenario: &Scenario) -> Option<Played> {
    if let Some(why) = missing(&scenario.setup) {
        println!("{} is skipped: {why}", scenario.name);
        return None;
    }
    Some(play(scenario, &artifacts(), SEED, |_| ()).await.unwrap())
}

fn artifacts() -> Artifacts {
    Artifacts::Product {
        root: Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned(),
        binaries: Path::new(env!("CARGO_BIN_EXE_health")).parent().unwrap().to_owned(),
    }
}

async fn holds(name: &str) {
    let scenario = catalogue(Size::Small)
        .into_iter()
        .find(|scenario| scenario.name == name);
    if let Some(played) = played(&scenario.unwrap()).await {
        assert_eq!(played.verdict.wrong, Vec::<String>::new());
        assert_eq!(
            (played.verdict.lost, played.verdict.duplicated, played.broken()),
            (0, 0, 0)
        );
    }
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                holds(&stringify!($name).replace('_', "-")).await;
            }
        )*

        #[test]
        fn every_scenario_is_tested() {
            let tested: Vec<_> = [$(stringify!($name)),*].map(|name| name.replace('_', "-")).into();
            let all: Vec<_> = catalogue(Size::Small).iter().map(|scenario| scenario.name.to_owned()).collect();
            assert_eq!(tested, all);
        }
    };
}

scenarios! {
    terminated_while_frozen
    terminated_while_frozen_briefly
    blackholed_while_frozen
    blackholed_while_frozen_writes
    clock_ahead_while_frozen
    clock_back_while_frozen
    hung_while_frozen
    hung_while_frozen_writes
    hung_at_a_read
    hung_at_a_write
    hung_at_a_refusal
    refused
    reset
    syn_swallowed
    name_gone
    first_address_dead
    connections_reset
    blackholed_in_use
    slow_to_connect
    latency_and_jitter
    terminated_mid_query
    siblings_terminated
    restarted
    restarted_in_order
    stopped_2s
    stopped_2s_reads
    recovering
    failed_over
    failed_over_untold
    standby_serves
    read_only
    password_rotated
    migrated
    snapshot_held
    locked
    write_cut
    write_late
    write_doubled
    one_key_twice
    commit_unreplicated
    crashed_at_reply
    failed_over_at_reply
    write_unknown
    cold_150
    slots_taken
    environments_lost
    initialised_unasked
    slow_log_ins
    log_ins_throttled
    waking_aurora
    waking_neon
    waking_dsql
    down_at_cold_start
    many_at_once
    restored_from_snapshot
    environments_retired
    behind_pgbouncer
    behind_pgbouncer_named
    clock_jumps
}

/// The seed determines the requests, independent of the faults.
#[tokio::test(flavor = "multi_thread")]
async fn same_seed_asks_the_same() {
    let asked = async |seed, injections| {
        let scenario = Scenario {
            name: "seeded",
            about: "",
            setup: Setup::default(),
            cold: false,
            load: Load::Rounds {
                rounds: 12,
                kind: Workload::Everything,
                frozen: None,
            },
            injections,
            expectations: vec![Expectation::NothingRefused],
        };
        let played = play(&scenario, &artifacts(), seed, |_| ()).await.unwrap();
        assert_eq!(played.verdict.wrong, Vec::<String>::new());
        let functions = played.entries.into_iter().map(|entry| entry.function);
        functions.collect::<Vec<_>>()
    };
    let reset = Injection {
        after: 0,
        faults: vec![Fault::Reset],
        hold: Duration::ZERO,
        met: None,
    };
    let first = asked(1, Vec::new()).await;
    assert_eq!(first, asked(1, vec![reset]).await);
    assert_ne!(first, asked(2, Vec::new()).await);
}

/// A server that acknowledges commits without writing them, and then crashes, loses acknowledged writes. The oracle has
/// to detect it, because everything above relies on it.
#[tokio::test(flavor = "multi_thread")]
async fn real_loss_is_detected() {
    let inject = |after, fault| Injection {
        after,
        faults: vec![fault],
        hold: Duration::ZERO,
        met: None,
    };
    let scenario = Scenario {
        name: "lying",
        about: "",
        setup: Setup::default(),
        cold: false,
        load: Load::Steady {
            clients: 2,
            requests: 10,
            kind: Workload::Writes,
        },
        injections: vec![inject(0, Fault::CommitsUnflushed), inject(15, Fault::Crashed)],
        expectations: vec![Expectation::NothingRefused],
    };
    let played = played(&scenario).await.unwrap();
    assert!(played.verdict.lost > 0, "{:?}", played.verdict);
}
