//! Faults while a COMMIT is in progress. Invariants: asserts nothing; each scenario lists its expectations.

use super::*;

/// Returns the scenarios in playing order.
pub(super) fn commits(size: Size) -> Vec<Scenario> {
    let times = size.of(8, 400);
    let twice = size.of(8, 2_000);
    let rounds = |kind, rounds| Load::Rounds {
        rounds,
        kind,
        frozen: None,
    };
    let cuts = [
        Cut::BeforeServer,
        Cut::BeforeSync,
        Cut::AfterServer,
        Cut::BeforeAcknowledgement,
    ];
    let each = |effects: &[Effect]| -> Vec<Injection> {
        let next = |effect: &Effect| inject(0, Next(WRITES, *effect), Duration::ZERO);
        effects.iter().map(next).collect()
    };
    let cut = each(&cuts.map(Effect::Cut));
    let late = size.of(ms(300), s(3));
    let mut all = vec![
        expecting(
            scenario(
                "write-cut",
                "A write is cut before the server, before its Sync, after the server, or at its reply, in turn.",
                rounds(Workload::Writes, times),
                cut.clone(),
            ),
            &[NothingRefused, Cuts(times as u64)],
            Vec::new(),
        ),
        expecting(
            scenario(
                "write-late",
                "A write reaches the server late, also after it was sent again; or its reply is late.",
                rounds(Workload::Writes, times),
                each(&[Effect::LateRequest(late), Effect::LateReply(late)]),
            ),
            &[NothingRefused, Cuts(times as u64)],
            size.figures(&[Within(ms(1_500))]),
        ),
        expecting(
            scenario(
                "write-doubled",
                "A write reaches the server twice, and is answered once.",
                rounds(Workload::Writes, times),
                each(&[Effect::Twice]),
            ),
            &[NothingRefused, Cuts(times as u64)],
            Vec::new(),
        ),
        expecting(
            scenario(
                "one-key-twice",
                "Two environments are asked for one write under one key at once, and one of them is cut.",
                rounds(Workload::Twins, twice),
                cut,
            ),
            &[NothingRefused, Cuts(twice as u64)],
            Vec::new(),
        ),
        expecting(
            staged(
                scenario(
                    "commit-unreplicated",
                    "The server ends a session whose COMMIT waits for a standby; then the primary is lost.",
                    steady(size, Workload::Writes),
                    vec![inject(size.of(8, 80), Unreplicated, size.of(ms(500), s(2)))],
                ),
                Setup {
                    standby: true,
                    ..Setup::default()
                },
            ),
            &[NothingRefused],
            size.figures(&[RecoversWithin(s(2))]),
        ),
    ];
    // New connections are refused first, so that nothing can be looked up before the next fault.
    let then = |fault, hold| {
        let faults = vec![NewConnections(Admission::Refused), LostReply(WRITES), fault];
        vec![together(size.of(8, 40), faults, hold)]
    };
    let writes = || steady(size, Workload::Writes);
    all.extend([
        expecting(
            scenario(
                "crashed-at-reply",
                "The reply to a write is lost, and then all of the server's processes are killed.",
                writes(),
                then(Crashed, Duration::ZERO),
            ),
            &[NothingRefused, Cuts(1)],
            size.figures(&[RecoversWithin(s(1))]),
        ),
        expecting(
            staged(
                scenario(
                    "failed-over-at-reply",
                    "The reply to a write is lost, the primary is killed and its synchronous standby promoted.",
                    writes(),
                    then(FailedOver, Duration::ZERO),
                ),
                Setup {
                    standby: true,
                    ..Setup::default()
                },
            ),
            &[NothingRefused, Cuts(1)],
            size.figures(&[RecoversWithin(s(2))]),
        ),
        expecting(
            staged(
                scenario(
                    "write-unknown",
                    "The reply to a write is lost, and no server can be reached before the deadline, of 6 s here.",
                    writes(),
                    then(Reset, s(8)),
                ),
                Setup {
                    timeout: s(6),
                    ..Setup::default()
                },
            ),
            &[SomethingUnknown],
            size.figures(&[RecoversWithin(s(1))]),
        ),
    ]);
    all
}
