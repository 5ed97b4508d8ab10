//! Compares the answers of a round with the rows that exist when every message has arrived.

use std::collections::{BTreeMap, HashMap};

use sqlx::Row as _;
use uuid::Uuid;

use super::direct::Direct;
use super::environment::{Input, Outcome};
use super::plan::{Key, Plan};

/// A finished round.
pub(super) struct Round {
    pub(super) seed: u64,
    pub(super) plan: Plan,
    pub(super) answers: Vec<(Input, Outcome)>,
}

/// The results of the rounds.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) rounds: usize,
    /// Answers, by kind.
    pub(super) answers: BTreeMap<String, usize>,
    pub(super) applied: usize,
    pub(super) violations: Vec<String>,
}

impl Report {
    /// Judges rounds that have no work in progress any more.
    pub(super) async fn judge(&mut self, direct: &mut Direct, rounds: Vec<Round>) {
        let applied = applied(direct, &rounds).await;
        for round in rounds {
            self.rounds += 1;
            let ids = applied.get(&round.answers[0].0.logical).map_or(&[][..], Vec::as_slice);
            self.applied += ids.len();
            for (_, outcome) in &round.answers {
                *self.answers.entry(kind(outcome)).or_default() += 1;
            }
            for violation in violations(&round, ids) {
                self.violations.push(format!(
                    "round with PROTOCOL_SEED={}: {violation}\n  applied: {ids:?}\n  answers: {:?}\n  {:?}",
                    round.seed, round.answers, round.plan
                ));
            }
        }
    }
}

/// Returns the ids that each logical write applied, each with whether there is one receipt for it.
async fn applied(direct: &mut Direct, rounds: &[Round]) -> HashMap<Uuid, Vec<(Uuid, bool)>> {
    let writes: Vec<_> = rounds
        .iter()
        .map(|round| format!("'{}'", round.answers[0].0.logical))
        .collect();
    let sql = format!(
        "SELECT logical, id, (SELECT count(*) = 1 FROM receipts r WHERE r.id = a.id AND r.kind = 'row') AS receipt \
         FROM applied a WHERE logical = ANY (ARRAY[{}]::uuid[])",
        writes.join(",")
    );
    let mut applied = HashMap::<_, Vec<_>>::new();
    for row in direct.rows(&sql).await {
        applied
            .entry(row.get("logical"))
            .or_default()
            .push((row.get("id"), row.get("receipt")));
    }
    applied
}

fn kind(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(_) => "done".to_owned(),
        Outcome::Replayed(_) => "replayed".to_owned(),
        Outcome::KeyReused => "key reused".to_owned(),
        Outcome::Rejected => "rejected".to_owned(),
        Outcome::Refused(error) => match &error.sqlstate {
            Some(sqlstate) => format!("refused: {sqlstate}"),
            None => format!("refused: {:?}", error.kind),
        },
        Outcome::Unknown => "unknown".to_owned(),
        Outcome::Absent => "absent".to_owned(),
    }
}

fn violations(round: &Round, applied: &[(Uuid, bool)]) -> Vec<&'static str> {
    let is_applied = |id: &Uuid| applied.iter().any(|(other, _)| other == id);
    let mut violations = Vec::new();
    if applied.len() > 1 {
        violations.push("applied twice");
    }
    if applied.iter().any(|(_, receipt)| !receipt) {
        violations.push("applied without a receipt");
    }
    let sole = round.answers.len() == 1;
    for (input, outcome) in &round.answers {
        match outcome {
            Outcome::Done(id) if !is_applied(id) => violations.push("acknowledged, and absent"),
            Outcome::Replayed(id) if !is_applied(id) => violations.push("replayed, and absent"),
            Outcome::Absent => violations.push("replayed, and not to be read"),
            Outcome::Done(id) if sole && *id != input.id => violations.push("done, with the id of no request"),
            Outcome::Replayed(_) if sole => violations.push("replayed, and there is no earlier request"),
            Outcome::KeyReused if round.plan.key != Key::Reused => violations.push("another request, of one"),
            Outcome::Rejected | Outcome::Refused(_) if is_applied(&input.id) => {
                violations.push("refused for good, and applied");
            }
            Outcome::KeyReused if is_applied(&input.id) => violations.push("refused for its key, and applied"),
            Outcome::KeyReused if applied.is_empty() => violations.push("refused for a receipt that is not there"),
            Outcome::Done(_)
            | Outcome::Replayed(_)
            | Outcome::KeyReused
            | Outcome::Rejected
            | Outcome::Refused(_)
            | Outcome::Unknown => {}
        }
    }
    violations
}
