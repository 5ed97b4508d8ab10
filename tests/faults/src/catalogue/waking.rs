//! Databases that are paused and resume on a connect, with each provider's messages. Each scenario lists its
//! expectations.

use super::*;

/// Returns the scenarios in playing order.
pub(super) fn waking(size: Size) -> Vec<Scenario> {
    let providers = [
        (
            "waking-aurora",
            "waking-aurora-20s",
            "seer.cluster-cabc123.eu-central-1.rds.amazonaws.com",
            Refusal {
                sqlstate: "28000",
                message: "no pg_hba.conf entry for host \"10.0.0.1\", user \"fleet\", database \"seer\", SSL encryption",
            },
        ),
        (
            "waking-neon",
            "waking-neon-20s",
            "ep-cool-name-123456.eu-central-1.aws.neon.tech",
            Refusal {
                sqlstate: "XX000",
                message: "Couldn't connect to compute node",
            },
        ),
        (
            "waking-dsql",
            "waking-dsql-20s",
            "abcdefghij.dsql.eu-central-1.on.aws",
            RATE_EXCEEDED,
        ),
    ];
    let mut all = Vec::new();
    for (name, long, host, refusal) in providers {
        let asleep = |name, about, hold, parameters| {
            let faults = vec![NewConnections(Admission::Refusing(refusal)), Reset];
            let injections = vec![Injection {
                met: Some(refusal.sqlstate),
                ..together(size.of(8, 80), faults, hold)
            }];
            let setup = Setup {
                name: Some(host),
                parameters,
                ..Setup::default()
            };
            expecting(
                staged(scenario(name, about, everyone(size), injections), setup),
                &[NothingRefused],
                size.figures(&[RecoversWithin(s(2))]),
            )
        };
        let brief = "A database rejects log-ins while it resumes, with its provider's message.";
        all.push(asleep(name, brief, size.of(s(1), s(4)), ""));
        if size == Size::Full {
            let about = "The same for twenty seconds, with a pool_timeout that covers it.";
            all.push(asleep(long, about, s(20), "&pool_timeout=24"));
        }
    }
    all
}
