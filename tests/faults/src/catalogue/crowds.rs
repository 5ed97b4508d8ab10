//! More environments than slots. Invariants: asserts nothing; each scenario lists its expectations.

use super::*;

/// Returns the scenarios in playing order.
pub(super) fn crowds(size: Size) -> Vec<Scenario> {
    let slots = size.of(13, 103);
    let burst = |environments| Load::Burst {
        environments,
        requests: 3,
    };
    let setup = Setup {
        slots,
        ..Setup::default()
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
                setup.clone(),
            ),
            &[NothingRefused],
            size.figures(&[ColdWithin(s(2))]),
        ),
        expecting(
            staged(
                scenario(
                    "slots-taken",
                    "Others hold every slot for a while, and none is left to the functions (53300).",
                    everyone(size),
                    vec![Injection {
                        met: Some("53300"),
                        ..inject(size.of(8, 80), SlotsTaken, size.of(ms(300), s(2)))
                    }],
                ),
                Setup {
                    slots: size.of(33, 103),
                    ..Setup::default()
                },
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            staged(
                scenario(
                    "environments-lost",
                    "Environments disappear without a shutdown, and the server ends their abandoned sessions.",
                    burst(size.of(10, 300)),
                    vec![inject(0, EnvironmentsLost, Duration::ZERO)],
                ),
                Setup {
                    slots: size.of(53, 503),
                    ..Setup::default()
                },
            ),
            &[NothingRefused],
            Vec::new(),
        ),
    ];
    all.extend([
        expecting(
            staged(
                scenario(
                    "initialised-unasked",
                    "Environments of another function are initialised on a small server, and never asked.",
                    steady(size, Workload::Get),
                    vec![inject(
                        0,
                        EnvironmentsInitialised(size.of(11, 24)),
                        size.of(s(1), s(10)),
                    )],
                ),
                Setup {
                    slots: size.of(13, 20),
                    ..Setup::default()
                },
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            staged(
                scenario(
                    "slow-log-ins",
                    "Environments start at once on a server that logs in a few a second.",
                    Load::Burst {
                        environments: size.of(30, 200),
                        requests: 1,
                    },
                    Vec::new(),
                ),
                Setup {
                    slots: size.of(53, 253),
                    admission: Admission::Queued(size.of(10, 30)),
                    ..Setup::default()
                },
            ),
            &[NothingRefused, WastedLogins(size.of(3, 20))],
            Vec::new(),
        ),
        expecting(
            staged(
                scenario(
                    "log-ins-throttled",
                    "Environments start at once on a server that rejects further log-ins in the same second (53400).",
                    Load::Burst {
                        environments: size.of(12, 200),
                        requests: 1,
                    },
                    Vec::new(),
                ),
                Setup {
                    slots: size.of(33, 253),
                    admission: Admission::Throttled(size.of(4, 30), RATE_EXCEEDED),
                    ..Setup::default()
                },
            ),
            &[NothingRefused],
            Vec::new(),
        ),
    ]);
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
                setup,
            ),
            &[NothingRefused],
            vec![ColdWithin(s(8))],
        ));
    }
    all
}
