//! The moment that matters most. May not assert: what is expected is said with each scenario.

use super::*;

/// In the order they are played.
pub(super) fn commits(size: Size) -> Vec<Scenario> {
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
