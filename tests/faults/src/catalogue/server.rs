//! The server, and other clients' effects on it. Invariants: asserts nothing; each scenario lists its expectations.

use super::*;

/// Returns the scenarios in playing order.
pub(super) fn server(size: Size) -> Vec<Scenario> {
    let after = size.of(8, 80);
    let mut all = vec![
        expecting(
            scenario(
                "terminated-mid-query",
                "The server ends sessions in the middle of a statement, while another session holds the tables locked.",
                everyone(size),
                (1..=size.of(1, 5))
                    .map(|n| together(n * after, vec![Locked, Terminate(Whose::Querying)], Duration::ZERO))
                    .collect(),
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            staged(
                scenario(
                    "siblings-terminated",
                    "An environment serves sixteen requests at once, and all its sessions end together.",
                    Load::Steady {
                        clients: 16,
                        requests: size.of(8, 60),
                        kind: Workload::Get,
                    },
                    (1..=size.of(2, 10))
                        .map(|n| inject(n * size.of(30, 80), Terminate(Whose::All), Duration::ZERO))
                        .collect(),
                ),
                Setup {
                    concurrency: 16,
                    ..Setup::default()
                },
            ),
            &[NothingRefused],
            size.figures(&[Within(ms(700))]),
        ),
        expecting(
            scenario(
                "restarted",
                "An immediate restart: every session ends without a message, and the server recovers.",
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
                vec![inject(after, Stopped(Shutdown::Immediate), size.of(ms(500), s(2)))],
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            scenario(
                "stopped-2s-reads",
                "The same, under reads alone.",
                steady(size, Workload::Get),
                vec![inject(after, Stopped(Shutdown::Immediate), size.of(ms(500), s(2)))],
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            scenario(
                "recovering",
                "All processes of the server are killed, and its recovery takes a while (57P03).",
                everyone(size),
                vec![Injection {
                    met: Some("57P03"),
                    ..inject(after, Recovering, size.of(ms(300), s(2)))
                }],
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
                    vec![inject(after, FailedOver, Duration::ZERO)],
                ),
                Setup {
                    standby: true,
                    ..Setup::default()
                },
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(2))]),
        ),
        expecting(
            staged(
                scenario(
                    "failed-over-untold",
                    "The same, and the name still leads to the old primary: the functions know both hosts.",
                    everyone(size),
                    vec![inject(after, FailedOverUntold, size.of(Duration::ZERO, s(30)))],
                ),
                Setup {
                    standby: true,
                    two_hosts: true,
                    ..Setup::default()
                },
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(ms(1_500))]),
        ),
        expecting(
            staged(
                scenario(
                    "standby-serves",
                    "The name leads to a standby that is 20 s behind for a while, then to the primary again.",
                    steady(size, Workload::GetAndUpdate),
                    vec![inject(after, StandbyServes, size.of(s(2), s(5)))],
                ),
                Setup {
                    standby: true,
                    ..Setup::default()
                },
            ),
            // The load continues for twice as long, so that a connection that is kept for too long is used for a read.
            &[ReadsServed, RecoversWithin(s(4))],
            Vec::new(),
        ),
        expecting(
            scenario(
                "read-only",
                "The server rejects writes for a while (25006).",
                everyone(size),
                vec![inject(after, ReadOnly, size.of(ms(300), s(2)))],
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            scenario(
                "password-rotated",
                "The functions' password is changed and their sessions ended, until it is set back.",
                everyone(size),
                vec![Injection {
                    met: Some("28P01"),
                    ..inject(after, PasswordRotated, size.of(ms(300), s(3)))
                }],
            ),
            // A second attempt can find the old one valid again if it is only invalid for moments.
            &size.of(Vec::new(), vec![SomethingRefused]),
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
                "snapshot-held",
                "Another session holds a snapshot, as a dump does, while meetings are updated.",
                Load::Steady {
                    clients: size.of(3, 8),
                    requests: size.of(8, 12_500),
                    kind: Workload::Update,
                },
                vec![inject(0, SnapshotHeld, size.of(ms(500), s(360)))],
            ),
            &[NothingRefused],
            // Each write would scan every dead row that the snapshot keeps.
            size.figures(&[Within(ms(250))]),
        ),
        expecting(
            scenario(
                "locked",
                "Another session holds every table locked for a while.",
                everyone(size),
                vec![inject(after, Locked, size.of(ms(300), s(3)))],
            ),
            &[NothingRefused],
            Vec::new(),
        ),
    ];
    if size == Size::Full {
        all.push(expecting(
            scenario(
                "read-only-60s",
                "The server rejects writes for a minute.",
                everyone(size),
                vec![inject(after, ReadOnly, s(60))],
            ),
            // One or two per refused write, not thirty: an environment's writes share the state of the outage, and the
            // searches for a writer become rarer.
            &[SomethingRefused, ReadsServed, ConnectionsAtMost(800)],
            vec![RecoversWithin(s(1))],
        ));
        for (name, about, hold) in [
            (
                "stopped-20s",
                "The server is gone for twenty seconds: longer than any client waits.",
                s(20),
            ),
            ("stopped-60s", "The server is gone for a minute.", s(60)),
        ] {
            all.push(expecting(
                scenario(
                    name,
                    about,
                    everyone(size),
                    vec![inject(after, Stopped(Shutdown::Immediate), hold)],
                ),
                &[SomethingRefused],
                vec![RecoversWithin(s(1))],
            ));
        }
        all.push(expecting(
            scenario(
                "locked-20s",
                "Another session holds every table locked for longer than a statement may take.",
                everyone(size),
                vec![inject(after, Locked, s(20))],
            ),
            &[NothingRefused],
            Vec::new(),
        ));
    }
    all
}
