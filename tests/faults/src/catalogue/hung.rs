//! Paths that acknowledge and deliver nothing: a hung proxy, a load balancer, a stopped server process. Each scenario
//! lists its expectations.

use super::*;

/// Returns the scenarios in playing order.
pub(super) fn hung(size: Size) -> Vec<Scenario> {
    let idle = |kind| Load::Rounds {
        rounds: size.of(3, 20),
        kind,
        frozen: Some(STALE),
    };
    let each = vec![inject(0, Hung, Duration::ZERO)];
    vec![
        expecting(
            scenario(
                "hung-while-frozen",
                "The connection of a frozen environment hangs and is still acknowledged; then a read is sent.",
                idle(Workload::Get),
                each.clone(),
            ),
            &[NothingRefused],
            size.figures(&[Within(ms(600))]),
        ),
        expecting(
            scenario(
                "hung-while-frozen-writes",
                "The same, before a write.",
                idle(Workload::Update),
                each,
            ),
            &[NothingRefused],
            size.figures(&[Within(ms(600))]),
        ),
        expecting(
            scenario(
                "hung-at-a-read",
                "The path hangs before a read, after it, or at its reply, and is still acknowledged.",
                asked(size.of(3, 30), Workload::Get),
                places(READS),
            ),
            &[NothingRefused, Cuts(size.of(3, 30))],
            size.figures(&[Within(ms(1_500))]),
        ),
        expecting(
            scenario(
                "hung-at-a-write",
                "The same at a write, and before the end of its request: then the server holds its locks.",
                asked(size.of(8, 80), Workload::Writes),
                places(WRITES),
            ),
            &[NothingRefused, Cuts(size.of(8, 80))],
            size.figures(&[Within(ms(1_500))]),
        ),
        expecting(
            scenario(
                "hung-at-a-refusal",
                "The same at a write that is refused: it stays refused, and nothing is applied.",
                asked(size.of(4, 40), Workload::Refusals),
                places(WRITES),
            ),
            &[NothingRefused, Cuts(size.of(4, 40))],
            size.figures(&[Within(ms(1_500))]),
        ),
    ]
}

fn asked(rounds: u64, kind: Workload) -> Load {
    Load::Rounds {
        rounds: usize::try_from(rounds).unwrap_or(usize::MAX),
        kind,
        frozen: None,
    }
}

/// A hang at each place in turn.
fn places(statements: Statements) -> Vec<Injection> {
    let mut places = vec![Cut::BeforeServer, Cut::AfterServer, Cut::BeforeAcknowledgement];
    if statements == WRITES {
        places.push(Cut::BeforeSync);
    }
    let hang = |place| inject(0, Next(statements, Effect::Hang(place)), Duration::ZERO);
    places.into_iter().map(hang).collect()
}
