//! The moment that matters most. May not assert: what is expected is said with each scenario.

use super::*;

/// In the order they are played.
pub(super) fn commits(size: Size) -> Vec<Scenario> {
    let times = size.of(5, 200);
    let mut all: Vec<Scenario> = [
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
        let all = scenario(
            name,
            about,
            load,
            vec![strike(0, Next(WRITES, Effect::Cut(cut)), Duration::ZERO)],
        );
        expecting(all, &[NothingRefused, Cuts(times as u64)], Vec::new())
    })
    .into();
    // The door is closed first, so that nothing can be looked up before what comes next.
    let then = |fault, hold| {
        let faults = vec![Entrance(Door::Refused), LostReply(WRITES), fault];
        vec![together(size.of(8, 40), faults, hold)]
    };
    let updates = || steady(size, Kind::Update);
    all.extend([
        expecting(
            scenario(
                "crashed-at-commit",
                "The reply to a COMMIT is lost, and then all of the server's processes are killed.",
                updates(),
                then(Crashed, Duration::ZERO),
            ),
            &[NothingRefused, Cuts(1)],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            staged(
                scenario(
                    "failed-over-at-commit",
                    "The reply to a COMMIT is lost, the primary is killed and its synchronous standby promoted.",
                    updates(),
                    then(FailedOver, Duration::ZERO),
                ),
                Stage {
                    standby: true,
                    ..Stage::default()
                },
            ),
            &[NothingRefused, Cuts(1)],
            size.figures(&[RecoversWithin(s(2))]),
        ),
        expecting(
            staged(
                scenario(
                    "commit-unknown",
                    "The reply to a COMMIT is lost, and nobody can be asked before the deadline, of 6 s here.",
                    updates(),
                    then(Reset, s(8)),
                ),
                Stage {
                    timeout: s(6),
                    ..Stage::default()
                },
            ),
            &[SomethingUnknown],
            size.figures(&[RecoversWithin(s(1))]),
        ),
    ]);
    all
}
