//! The life cycle of environments, and their surroundings. Invariants: asserts nothing; each scenario lists its
//! expectations.

use super::*;

/// Returns the scenarios in playing order.
pub(super) fn lives(size: Size) -> Vec<Scenario> {
    let after = size.of(8, 80);
    let behind_pooler = vec![
        inject(after, Stopped(Shutdown::Immediate), size.of(ms(300), s(2))),
        inject(2 * after, Reset, Duration::ZERO),
        inject(3 * after, Migrated, Duration::ZERO),
    ];
    let down = |hold| inject(0, Unreachable(Admission::Refused), hold);
    let cold = scenario(
        "down-at-cold-start",
        "Environments start with the database down: longer than the budget, then it returns.",
        Load::Steady {
            clients: size.of(2, 4),
            requests: 4,
            kind: Workload::Get,
        },
        vec![down(size.of(s(1), s(12)))],
    );
    vec![
        expecting(
            Scenario { cold: true, ..cold },
            &size.of(vec![NothingRefused], vec![SomethingRefused]),
            size.figures(&[Within(s(9)), RecoversWithin(s(1))]),
        ),
        expecting(
            staged(
                scenario(
                    "many-at-once",
                    "Environments serve eight requests at once, over a restart and a reset.",
                    everyone(size),
                    vec![
                        inject(after, Stopped(Shutdown::Immediate), size.of(ms(300), s(2))),
                        inject(2 * after, Reset, Duration::ZERO),
                    ],
                ),
                Setup {
                    concurrency: 8,
                    ..Setup::default()
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
                Setup {
                    snap_start: true,
                    ..Setup::default()
                },
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            scenario(
                "environments-retired",
                "Every environment is shut down with SIGTERM, and new ones take over.",
                // The service may lose requests in flight: with one client there are none.
                Load::Rounds {
                    rounds: size.of(3, 10),
                    kind: Workload::Everything,
                    frozen: Some(Duration::ZERO),
                },
                vec![inject(0, EnvironmentsRetired, Duration::ZERO)],
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
                    behind_pooler.clone(),
                ),
                Setup {
                    pooler: true,
                    ..Setup::default()
                },
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            staged(
                scenario(
                    "behind-pgbouncer-named",
                    "The same, and the pooler keeps the functions' prepared statements.",
                    everyone(size),
                    behind_pooler,
                ),
                Setup {
                    pooler: true,
                    keeps_statements: true,
                    ..Setup::default()
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
                        together(after, vec![ClockMoved(240), Reset], size.of(ms(300), s(2))),
                        together(2 * after, vec![ClockMoved(-240), Reset], size.of(ms(300), s(2))),
                    ],
                ),
                Setup {
                    moved_clock: true,
                    ..Setup::default()
                },
            ),
            // Time that passed on either clock counts: a request in flight may be refused because of its deadline.
            &[],
            size.figures(&[RecoversWithin(s(1))]),
        ),
    ]
}
