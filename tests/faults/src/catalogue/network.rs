//! The network path to the server. Invariants: asserts nothing; each scenario lists its expectations.

use super::*;

/// Returns the scenarios in playing order.
pub(super) fn network(size: Size) -> Vec<Scenario> {
    let short = size.of(ms(300), s(2));
    let outage = |name, about, fault| {
        expecting(
            scenario(name, about, everyone(size), vec![inject(size.of(8, 80), fault, short)]),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(1))]),
        )
    };
    vec![
        outage(
            "refused",
            "Nothing listens for a while, and connections are reset.",
            Unreachable(Admission::Refused),
        ),
        outage(
            "reset",
            "New connections are reset for a while, and so are existing ones.",
            Unreachable(Admission::Reset),
        ),
        expecting(
            scenario(
                "syn-swallowed",
                "SYNs are swallowed for longer than an attempt takes, and existing connections reset.",
                everyone(size),
                vec![inject(
                    size.of(8, 80),
                    Unreachable(Admission::Dropped),
                    size.of(ms(300), s(4)),
                )],
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
            Setup {
                name: Some(NAME),
                ..Setup::default()
            },
        ),
        expecting(
            staged(
                scenario(
                    "first-address-dead",
                    "The database's name has two addresses, and the first swallows SYNs.",
                    Load::Burst {
                        environments: size.of(3, 20),
                        requests: 3,
                    },
                    Vec::new(),
                ),
                Setup {
                    name: Some(NAME),
                    dead_address: true,
                    ..Setup::default()
                },
            ),
            &[NothingRefused],
            size.figures(&[ColdWithin(s(2))]),
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
                vec![together(
                    size.of(8, 80),
                    vec![NewConnections(Admission::Slow(size.of(100, 500))), Reset],
                    short,
                )],
            ),
            &[NothingRefused],
            Vec::new(),
        ),
        expecting(
            scenario(
                "latency-and-jitter",
                "Every message takes 20 to 40 ms in each direction.",
                everyone(size),
                vec![inject(size.of(4, 40), Delay(ms(20)), size.of(ms(500), s(5)))],
            ),
            &[NothingRefused],
            Vec::new(),
        ),
    ]
}
