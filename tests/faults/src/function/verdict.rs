//! The verdict on a function after the load: every request was answered, every environment recovered, and every write is
//! present as often as its client must expect.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use local::proxy::Effect;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{AnyFunction, Client, ID};
use crate::fault::{Fault, SESSIONS};
use crate::history::{Entry, Seen};
use crate::operations::{Workload, joined};
use crate::oracle::{self, LEFT_BEHIND, Verdict};
use crate::scenario::Scenario;
use crate::team::WriteOutcome;
use crate::testbed::Testbed;

/// The time for every environment to serve again after the last fault, in addition to the function's timeout.
const RECOVERY: Duration = Duration::from_secs(10);

/// Judges the function. `cuts` is the number of statements that the proxy has cut or held back.
///
/// # Errors
/// The server cannot be queried, or a fault found no statement to apply to.
pub(crate) async fn judge(
    function: &AnyFunction,
    scenario: &Scenario,
    testbed: &Testbed,
    clients: &mut [Client],
    entries: &[Entry],
    cuts: u64,
) -> Result<Verdict> {
    let faults = || scenario.injections.iter().flat_map(|injection| &injection.faults);
    ensure!(
        cuts > 0 || !faults().any(|fault| matches!(fault, Fault::Next(..))),
        "the fault applied to no statement: is `statement` in the contract right?"
    );
    let mut verdict = Verdict {
        wrong: broken(entries),
        ..Verdict::default()
    };
    let client = clients.first_mut().context("a client")?;
    verdict.wrong.extend(not_recovered(function, testbed, client).await?);
    let Some(write) = &function.contract.write else {
        return Ok(verdict);
    };
    // Statements that still run after that have no acknowledged client.
    oracle::under_way(testbed, false).await?;
    if faults().any(|fault| matches!(fault, Fault::Next(_, Effect::LateRequest(_)))) {
        testbed.lambda.shutdown().await;
        let ended = testbed.falls_to(0, SESSIONS, LEFT_BEHIND).await;
        ended.context("statements that were held back")?;
    }
    for written in clients.iter().flat_map(|client| &client.written) {
        let found = testbed.number(&write.count.replace(ID, &written.id)).await?;
        verdict.count(&written.id, written.outcome, found);
    }
    Ok(verdict)
}

impl Verdict {
    fn count(&mut self, id: &str, outcome: WriteOutcome, found: i64) {
        let told = match outcome {
            WriteOutcome::Done => "acknowledged",
            WriteOutcome::Absent => "refused",
            WriteOutcome::Unknown => "left unknown",
        };
        match (outcome, found) {
            (_, 2..) => self.duplicated += 1,
            (WriteOutcome::Done, 0) => self.lost += 1,
            (WriteOutcome::Absent, 1) => {}
            (WriteOutcome::Done | WriteOutcome::Absent | WriteOutcome::Unknown, _) => return,
        }
        self.wrong
            .push(format!("a write that was {told} is there {found} times: {id}"));
    }
}

/// Describes the invalid answers, one line per kind.
fn broken(entries: &[Entry]) -> Vec<String> {
    let mut kinds: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for entry in entries {
        if let Seen::Broken(what) = &entry.seen {
            let kind = what.split([';', '{']).next().unwrap_or_default();
            kinds.entry(kind).or_insert((0, what)).0 += 1;
        }
    }
    let line = |(count, first): &(usize, &str)| format!("{count} of {} requests: {first}", entries.len());
    kinds.values().map(line).collect()
}

/// Sends a request to all environments at once until all of them serve. Returns why they did not in time.
async fn not_recovered(function: &AnyFunction, testbed: &Testbed, client: &mut Client) -> Result<Option<String>> {
    let (since, bound) = (Instant::now(), function.contract.timeout() + RECOVERY);
    loop {
        let mut asking = JoinSet::new();
        for _ in 0..testbed.lambda.environments(&function.name()).len().max(1) {
            let mut one = client.fork();
            asking.spawn(async move { one.request(Workload::Get, false).await.map(|seen| (one, seen)) });
        }
        let (mut failed, mut asked) = (0, 0);
        for (one, seen) in joined(asking).await? {
            client.written.extend(one.written);
            failed += usize::from(!matches!(seen, Seen::Served(_)));
            asked += 1;
        }
        if failed == 0 {
            return Ok(None);
        }
        if since.elapsed() > bound {
            return Ok(Some(format!(
                "not recovered: {failed} of {asked} requests still fail {} s after the last fault",
                bound.as_secs()
            )));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_is_there_as_often_as_told() {
        for (outcome, found, lost, duplicated, wrong) in [
            (WriteOutcome::Done, 1, 0, 0, 0),
            (WriteOutcome::Done, 0, 1, 0, 1),
            (WriteOutcome::Done, 2, 0, 1, 1),
            (WriteOutcome::Absent, 0, 0, 0, 0),
            (WriteOutcome::Absent, 1, 0, 0, 1),
            (WriteOutcome::Unknown, 0, 0, 0, 0),
            (WriteOutcome::Unknown, 1, 0, 0, 0),
            (WriteOutcome::Unknown, 2, 0, 1, 1),
        ] {
            let mut verdict = Verdict::default();
            verdict.count("id", outcome, found);
            let counted = (verdict.lost, verdict.duplicated, verdict.wrong.len());
            assert_eq!(counted, (lost, duplicated, wrong), "{outcome:?} {found}");
        }
    }
}
