//! Paths that acknowledge and deliver nothing: a hung proxy, a load balancer, a stopped server process. Expectations stand
//! with each scenario.

use super::*;

/// In the order they are played.
pub(super) fn hung(size: Size) -> Vec<Scenario> {
    let idle = |kind| Load::Rounds {
        rounds: size.of(3, 20),
        kind,
        frozen: Some(STALE),
    };
    let each = vec![strike(0, Hung, Duration::ZERO)];
    vec![
        expecting(
            scenario(
                "hung-while-frozen",
                "The connection of a frozen environment hangs and is still acknowledged; then a read is sent.",
                idle(Kind::Get),
                each.clone(),
            ),
            &[NothingRefused],
            size.figures(&[Within(ms(600))]),
        ),
        expecting(
            scenario(
                "hung-while-frozen-writes",
                "The same, before a write.",
                idle(Kind::Update),
                each,
            ),
            &[NothingRefused],
            size.figures(&[Within(ms(600))]),
        ),
    ]
}
