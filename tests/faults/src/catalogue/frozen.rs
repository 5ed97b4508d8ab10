//! Faults while environments are frozen. Invariants: asserts nothing; each scenario lists its expectations.

use super::*;

/// Returns the scenarios in playing order.
pub(super) fn frozen(size: Size) -> Vec<Scenario> {
    let rounds = size.of(3, 20);
    let each = |fault| vec![inject(0, fault, Duration::ZERO)];
    let load = |kind, idle| Load::Rounds {
        rounds,
        kind,
        frozen: Some(idle),
    };
    // The environment's first connection, and one per round.
    let connections = Connections(1 + rounds as u64);
    let mut all = vec![
        expecting(
            scenario(
                "terminated-while-frozen",
                "The server ends the session of a frozen environment; then it is asked.",
                load(Workload::Get, STALE),
                each(Terminate(Whose::Idle)),
            ),
            &[NothingRefused, connections],
            size.figures(&[Within(ms(150))]),
        ),
        expecting(
            scenario(
                "terminated-while-frozen-briefly",
                "The same within the second in which no connection is questioned, before a write.",
                load(Workload::Update, Duration::ZERO),
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
                load(Workload::Get, STALE),
                each(Silence),
            ),
            &[NothingRefused, connections],
            size.figures(&[Within(ms(150))]),
        ),
        expecting(
            scenario(
                "blackholed-while-frozen-writes",
                "The same, before a write.",
                load(Workload::Update, STALE),
                each(Silence),
            ),
            &[NothingRefused],
            size.figures(&[Within(ms(150))]),
        ),
    ];
    for (name, about, seconds) in [
        (
            "clock-ahead-while-frozen",
            "The wall clock is four minutes ahead after a freeze, and the connection silent.",
            240,
        ),
        (
            "clock-back-while-frozen",
            "The wall clock is four minutes behind after a freeze, and the connection silent.",
            -240,
        ),
    ] {
        let injections = vec![together(0, vec![ClockMoved(seconds), Silence], Duration::ZERO)];
        let setup = Setup {
            moved_clock: true,
            ..Setup::default()
        };
        all.push(expecting(
            staged(scenario(name, about, load(Workload::Get, STALE), injections), setup),
            &[NothingRefused, connections],
            Vec::new(),
        ));
    }
    all
}
