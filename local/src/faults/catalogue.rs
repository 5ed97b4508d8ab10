//! The catalogue: every fault the product promises something about, as a scenario, in two sizes.
//!
//! The small size is for `cargo test`: each fault once, a few requests, short outages. The full one is what
//! `docs/RELIABILITY.md` reports. Both assert the same of every answer and every row; figures in seconds are only
//! compared in the full size.

use std::time::Duration;

use super::fault::{Fault, Whose};
use super::operations::Kind;
use super::scenario::{Expectation, Load, Scenario, Strike};
use super::scene::Stage;
use crate::postgres::Shutdown;
use crate::proxy::{Cut, Door};

use Expectation::{Connections, Cuts, NothingRefused, RecoversWithin, SomethingRefused, Within};
use Fault::{
    ClockMoved, Crashed, CutCommit, Delay, Entrance, EnvironmentsLost, EnvironmentsRetired, FailedOver, Locked,
    Migrated, PasswordRotated, ReadOnly, Reset, Silence, SlotsTaken, Stopped, Terminate, Unreachable, Unresolvable,
};

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// For `cargo test`.
    Small,
    /// For `cargo seer faults`.
    Full,
}

impl Size {
    fn of<T>(self, small: T, full: T) -> T {
        match self {
            Self::Small => small,
            Self::Full => full,
        }
    }

    /// Figures that hold on an idle machine, in release builds.
    fn figures(self, expectations: &[Expectation]) -> Vec<Expectation> {
        self.of(Vec::new(), expectations.to_vec())
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Idle for longer than a connection is trusted without a question.
const STALE: Duration = ms(1_100);

/// Every scenario, in the order they are played.
pub fn catalogue(size: Size) -> Vec<Scenario> {
    [
        frozen(size),
        network(size),
        server(size),
        commits(size),
        crowds(size),
        lives(size),
    ]
    .concat()
}

/// What other designs play too: reads, and few rounds of what costs most of them a timeout each.
pub fn for_peers() -> Vec<Scenario> {
    let names = [
        "terminated-while-frozen",
        "blackholed-while-frozen",
        "stopped-2s-reads",
        "cold-150",
    ];
    let mut all = catalogue(Size::Full);
    all.retain(|scenario| names.contains(&scenario.name));
    for scenario in &mut all {
        if let Load::Rounds { rounds, .. } = &mut scenario.load
            && scenario.name == "blackholed-while-frozen"
        {
            *rounds = 4;
        }
    }
    all
}

/// A scenario on the default stage.
fn scenario(name: &'static str, about: &'static str, load: Load, strikes: Vec<Strike>) -> Scenario {
    Scenario {
        name,
        about,
        stage: Stage::default(),
        cold: false,
        load,
        strikes,
        expectations: Vec::new(),
    }
}

fn expecting(mut scenario: Scenario, always: &[Expectation], figures: Vec<Expectation>) -> Scenario {
    scenario.expectations = [always, &figures].concat();
    scenario
}

fn staged(mut scenario: Scenario, stage: Stage) -> Scenario {
    scenario.stage = stage;
    scenario
}

fn strike(after: usize, fault: Fault, hold: Duration) -> Strike {
    Strike {
        after,
        faults: vec![fault],
        hold,
    }
}

/// One instant fault after another, each `every` answers further on.
fn volley(fault: Fault, times: usize, every: usize) -> Vec<Strike> {
    (1..=times).map(|n| strike(n * every, fault, Duration::ZERO)).collect()
}

fn steady(size: Size, kind: Kind) -> Load {
    Load::Steady {
        clients: size.of(3, 8),
        requests: size.of(8, 60),
        kind,
    }
}

fn everyone(size: Size) -> Load {
    steady(size, Kind::Everything)
}

/// What happens while nobody looks.
fn frozen(size: Size) -> Vec<Scenario> {
    let rounds = size.of(3, 20);
    let each = |fault| vec![strike(0, fault, Duration::ZERO)];
    let load = |kind, idle| Load::Rounds {
        rounds,
        kind,
        frozen: Some(idle),
    };
    // The environment's first, and one a round.
    let connections = Connections(1 + rounds as u64);
    vec![
        expecting(
            scenario(
                "terminated-while-frozen",
                "The server ends the session of a frozen environment; then it is asked.",
                load(Kind::Get, STALE),
                each(Terminate(Whose::Idle)),
            ),
            &[NothingRefused, connections],
            size.figures(&[Within(ms(150))]),
        ),
        expecting(
            scenario(
                "terminated-while-frozen-briefly",
                "The same within the second in which no connection is questioned, before a write.",
                load(Kind::Update, Duration::ZERO),
                each(Terminate(Whose::Idle)),
            ),
            // The PUT's own environment starts in the round before the first.
            &[NothingRefused],
            size.figures(&[Within(ms(250))]),
        ),
        expecting(
            scenario(
                "blackholed-while-frozen",
                "The connection of a frozen environment falls silent for good; then it is asked.",
                load(Kind::Get, STALE),
                each(Silence),
            ),
            &[NothingRefused, connections],
            size.figures(&[Within(ms(150))]),
        ),
        expecting(
            scenario(
                "blackholed-while-frozen-writes",
                "The same, before a write.",
                load(Kind::Update, STALE),
                each(Silence),
            ),
            &[NothingRefused],
            size.figures(&[Within(ms(150))]),
        ),
    ]
}

/// The way to the server.
fn network(size: Size) -> Vec<Scenario> {
    let short = size.of(ms(300), s(2));
    let outage = |name, about, fault| {
        expecting(
            scenario(name, about, everyone(size), vec![strike(size.of(8, 80), fault, short)]),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        )
    };
    vec![
        outage(
            "refused",
            "Nothing listens for a while, and connections are reset.",
            Unreachable(Door::Refused),
        ),
        outage(
            "reset",
            "New connections are reset for a while, and so are existing ones.",
            Unreachable(Door::Reset),
        ),
        expecting(
            scenario(
                "syn-swallowed",
                "SYNs are swallowed for a while, and existing connections reset.",
                everyone(size),
                vec![strike(size.of(8, 80), Unreachable(Door::Swallowed), short)],
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        staged(
            outage(
                "name-gone",
                "The database's name does not resolve for a while.",
                Unresolvable,
            ),
            Stage {
                by_name: true,
                ..Stage::default()
            },
        ),
        expecting(
            scenario(
                "connections-reset",
                "Every connection is reset, again and again.",
                everyone(size),
                volley(Reset, size.of(2, 10), size.of(8, 40)),
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            scenario(
                "blackholed-in-use",
                "Every connection falls silent in the middle of its work, again and again.",
                everyone(size),
                volley(Silence, size.of(1, 4), size.of(10, 100)),
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            scenario(
                "slow-to-connect",
                "New connections take half a second, and existing ones are reset.",
                everyone(size),
                vec![Strike {
                    after: size.of(8, 80),
                    faults: vec![Entrance(Door::Slow(size.of(100, 500))), Reset],
                    hold: short,
                }],
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            scenario(
                "latency-and-jitter",
                "Every message takes 20 to 40 ms in each direction.",
                everyone(size),
                vec![strike(size.of(4, 40), Delay(ms(20)), size.of(ms(500), s(5)))],
            ),
            &[NothingRefused],
            Vec::new(),
        ),
    ]
}

/// The server, and what others do to it.
fn server(size: Size) -> Vec<Scenario> {
    let after = size.of(8, 80);
    let mut all = vec![
        expecting(
            scenario(
                "terminated-mid-query",
                "The server ends sessions in the middle of a statement, while somebody holds the tables locked.",
                everyone(size),
                (1..=size.of(1, 5))
                    .map(|n| Strike {
                        after: n * after,
                        faults: vec![Locked, Terminate(Whose::Querying)],
                        hold: Duration::ZERO,
                    })
                    .collect(),
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            scenario(
                "terminated-in-transaction",
                "The server ends sessions between two statements of a transaction.",
                steady(size, Kind::Writes),
                (1..=size.of(2, 20))
                    .map(|n| Strike {
                        after: n * size.of(5, 20),
                        // On a slow line, so that there is time between two statements.
                        faults: vec![Delay(ms(5)), Terminate(Whose::InTransaction)],
                        hold: Duration::ZERO,
                    })
                    .collect(),
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            scenario(
                "restarted",
                "An immediate restart: every session ends without a word, and the server recovers.",
                everyone(size),
                volley(Stopped(Shutdown::Immediate), size.of(1, 3), after),
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            scenario(
                "restarted-in-order",
                "A fast restart, as an operator's.",
                everyone(size),
                volley(Stopped(Shutdown::Fast), size.of(1, 3), after),
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            scenario(
                "stopped-2s",
                "The server is gone for two seconds.",
                everyone(size),
                vec![strike(after, Stopped(Shutdown::Immediate), size.of(ms(500), s(2)))],
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            scenario(
                "stopped-2s-reads",
                "The same, under reads alone.",
                steady(size, Kind::Get),
                vec![strike(after, Stopped(Shutdown::Immediate), size.of(ms(500), s(2)))],
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            scenario(
                "crashed",
                "All processes of the server are killed, and it recovers (57P03 meanwhile).",
                everyone(size),
                volley(Crashed, size.of(1, 3), after),
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            staged(
                scenario(
                    "failed-over",
                    "The primary is killed and its synchronous standby promoted.",
                    everyone(size),
                    vec![strike(after, FailedOver, Duration::ZERO)],
                ),
                Stage {
                    standby: true,
                    ..Stage::default()
                },
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(2))]),
        ),
        expecting(
            scenario(
                "read-only",
                "The server takes no writes for a while (25006).",
                everyone(size),
                vec![strike(after, ReadOnly, size.of(ms(300), s(2)))],
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            scenario(
                "password-rotated",
                "The functions' password is changed and their sessions ended, until it is set back.",
                everyone(size),
                vec![strike(after, PasswordRotated, size.of(ms(300), s(3)))],
            ),
            &[SomethingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            scenario(
                "migrated",
                "A migration adds and drops columns of every table under the load.",
                everyone(size),
                volley(Migrated, size.of(1, 3), after),
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            scenario(
                "locked",
                "Somebody holds every table locked for a while.",
                everyone(size),
                vec![strike(after, Locked, size.of(ms(300), s(3)))],
            ),
            &[NothingRefused],
            Vec::new(),
        ),
    ];
    if size == Size::Full {
        for (name, about, hold) in [
            (
                "stopped-20s",
                "The server is gone for twenty seconds: longer than anybody waits.",
                s(20),
            ),
            ("stopped-60s", "The server is gone for a minute.", s(60)),
        ] {
            all.push(expecting(
                scenario(
                    name,
                    about,
                    everyone(size),
                    vec![strike(after, Stopped(Shutdown::Immediate), hold)],
                ),
                &[SomethingRefused],
                vec![RecoversWithin(s(1))],
            ));
        }
        all.push(expecting(
            scenario(
                "locked-20s",
                "Somebody holds every table locked for longer than a statement may take.",
                everyone(size),
                vec![strike(after, Locked, s(20))],
            ),
            &[],
            Vec::new(),
        ));
    }
    all
}

/// The moment that matters most.
fn commits(size: Size) -> Vec<Scenario> {
    let times = size.of(5, 200);
    [
        (
            "commit-cut-before",
            "COMMIT never reaches the server.",
            Cut::BeforeServer,
        ),
        (
            "commit-cut-after",
            "COMMIT reaches the server, and the line is cut at once.",
            Cut::AfterServer,
        ),
        (
            "commit-reply-cut",
            "The server has committed, and its reply is lost.",
            Cut::BeforeAcknowledgement,
        ),
    ]
    .map(|(name, about, cut)| {
        let load = Load::Rounds {
            rounds: times,
            kind: Kind::Writes,
            frozen: None,
        };
        let all = scenario(name, about, load, vec![strike(0, CutCommit(cut), Duration::ZERO)]);
        expecting(all, &[NothingRefused, Cuts(times as u64)], Vec::new())
    })
    .into()
}

/// More environments than slots.
fn crowds(size: Size) -> Vec<Scenario> {
    let slots = size.of(13, 103);
    let burst = |environments| Load::Burst {
        environments,
        requests: 3,
    };
    let stage = Stage {
        slots,
        ..Stage::default()
    };
    let mut all = vec![
        expecting(
            staged(
                scenario(
                    "cold-150",
                    "A hundred and fifty environments start at once on a hundred slots, then serve on side by side.",
                    burst(size.of(20, 150)),
                    Vec::new(),
                ),
                stage.clone(),
            ),
            &[NothingRefused],
            size.figures(&[Within(s(2))]),
        ),
        expecting(
            staged(
                scenario(
                    "slots-taken",
                    "Others hold every slot for a while, and connections are reset.",
                    everyone(size),
                    vec![Strike {
                        after: size.of(8, 80),
                        faults: vec![Reset, SlotsTaken],
                        hold: size.of(ms(300), s(2)),
                    }],
                ),
                Stage {
                    slots: size.of(33, 103),
                    ..Stage::default()
                },
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            staged(
                scenario(
                    "environments-lost",
                    "Environments vanish with no goodbye, and the server ends the sessions they leave behind.",
                    burst(size.of(10, 300)),
                    vec![strike(0, EnvironmentsLost, Duration::ZERO)],
                ),
                Stage {
                    slots: size.of(53, 503),
                    ..Stage::default()
                },
            ),
            &[NothingRefused],
            Vec::new(),
        ),
    ];
    if size == Size::Full {
        all.push(expecting(
            staged(
                scenario(
                    "cold-1000",
                    "A thousand environments start at once on a hundred slots: one scaling step of one function.",
                    Load::Burst {
                        environments: 1_000,
                        requests: 0,
                    },
                    Vec::new(),
                ),
                stage,
            ),
            &[NothingRefused],
            vec![Within(s(8))],
        ));
    }
    all
}

/// The lives of environments, and what stands around them.
fn lives(size: Size) -> Vec<Scenario> {
    let after = size.of(8, 80);
    let down = |hold| strike(0, Unreachable(Door::Refused), hold);
    let cold = scenario(
        "down-at-cold-start",
        "Environments start with the database down: longer than the budget, then it returns.",
        Load::Steady {
            clients: size.of(2, 4),
            requests: 4,
            kind: Kind::Get,
        },
        vec![down(size.of(s(1), s(12)))],
    );
    vec![
        expecting(
            Scenario { cold: true, ..cold },
            &size.of(vec![NothingRefused], vec![SomethingRefused]),
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            staged(
                scenario(
                    "many-at-once",
                    "Environments serve eight requests at once, over a restart and a reset.",
                    everyone(size),
                    vec![
                        strike(after, Stopped(Shutdown::Immediate), size.of(ms(300), s(2))),
                        strike(2 * after, Reset, Duration::ZERO),
                    ],
                ),
                Stage {
                    concurrency: 8,
                    ..Stage::default()
                },
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            staged(
                scenario(
                    "restored-from-snapshot",
                    "Environments come from snapshots, over a restart.",
                    everyone(size),
                    volley(Stopped(Shutdown::Immediate), 1, after),
                ),
                Stage {
                    snap_start: true,
                    ..Stage::default()
                },
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            scenario(
                "environments-retired",
                "Every environment is shut down with SIGTERM while it may be at work.",
                // Requests in flight are the service's to lose: one client, and none is.
                Load::Rounds {
                    rounds: size.of(3, 10),
                    kind: Kind::Everything,
                    frozen: Some(Duration::ZERO),
                },
                vec![strike(0, EnvironmentsRetired, Duration::ZERO)],
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            staged(
                scenario(
                    "behind-pgbouncer",
                    "A transaction pooler stands in front of a server that is restarted, and connections are reset.",
                    everyone(size),
                    vec![
                        strike(after, Stopped(Shutdown::Immediate), size.of(ms(300), s(2))),
                        strike(2 * after, Reset, Duration::ZERO),
                        strike(3 * after, Migrated, Duration::ZERO),
                    ],
                ),
                Stage {
                    pooler: true,
                    ..Stage::default()
                },
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            staged(
                scenario(
                    "clock-jumps",
                    "The functions' wall clock jumps four minutes ahead, then as many back, over resets: as far as a webhook's signature goes.",
                    everyone(size),
                    vec![
                        Strike {
                            after,
                            faults: vec![ClockMoved(240), Reset],
                            hold: size.of(ms(300), s(2)),
                        },
                        Strike {
                            after: 2 * after,
                            faults: vec![ClockMoved(-240), Reset],
                            hold: size.of(ms(300), s(2)),
                        },
                    ],
                ),
                Stage {
                    moved_clock: true,
                    ..Stage::default()
                },
            ),
            // Time that passed on either clock is time that passed: a request in flight may be refused for its deadline.
            &[],
            Vec::new(),
        ),
    ]
}
