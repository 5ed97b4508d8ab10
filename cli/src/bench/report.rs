//! Computes medians, spread and ratios, and formats them as JSON and as Markdown tables.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use super::measure::{Measure, Samples};
use super::subject::{Role, Subject};
use crate::machine::Machine;

/// The result of a whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// Whether the run had a tenth of the rounds.
    quick: bool,
    /// The floor, the project's functions, and the peers that could be built.
    pub(super) subjects: Vec<String>,
    pub(super) results: Vec<Summary>,
    /// Subjects and measures that are missing, with the reason.
    left_out: Vec<String>,
    #[serde(skip)]
    roles: Vec<Role>,
}

/// One measure of one subject.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    pub(super) subject: String,
    pub(super) measure: &'static str,
    pub(super) unit: &'static str,
    pub(super) samples: usize,
    pub(super) median: f64,
    pub(super) p95: f64,
    /// The median divided by the floor's; `None` if the floor was not measured.
    pub(super) over_floor: Option<f64>,
    #[serde(skip)]
    pub(super) key: (Measure, usize),
}

impl Report {
    pub(super) fn new(
        machine: Machine,
        quick: bool,
        subjects: &[Subject],
        samples: &Samples,
        left_out: Vec<String>,
    ) -> Self {
        let floor = |measure| {
            let place = subjects.iter().position(|subject| subject.role == Role::Floor)?;
            samples.get(&(measure, place)).map(|values| percentile(values, 50))
        };
        let results = samples.iter().filter_map(|(key, values)| {
            let (measure, place) = *key;
            let median = percentile(values, 50);
            Some(Summary {
                subject: subjects.get(place)?.name.clone(),
                measure: measure.title(),
                unit: measure.unit(),
                samples: values.len(),
                median,
                p95: percentile(values, 95),
                over_floor: floor(measure).map(|floor| median / floor),
                key: *key,
            })
        });
        Self {
            machine,
            quick,
            subjects: subjects.iter().map(|subject| subject.name.clone()).collect(),
            results: results.collect(),
            left_out,
            roles: subjects.iter().map(|subject| subject.role).collect(),
        }
    }

    /// Returns one measure of the subject at the given position of the list.
    pub(super) fn of(&self, measure: Measure, place: usize) -> Option<&Summary> {
        self.results.iter().find(|result| result.key == (measure, place))
    }

    /// Returns the measures that were taken, in order.
    fn measures(&self) -> Vec<Measure> {
        let mut measures: Vec<_> = self.results.iter().map(|result| result.key.0).collect();
        measures.dedup();
        measures
    }

    fn places(&self, role: Role) -> impl Iterator<Item = usize> + '_ {
        let roles = self.roles.iter().enumerate();
        roles.filter(move |(_, found)| **found == role).map(|(place, _)| place)
    }

    /// Formats two tables: the project's functions beside the floor, and the peers.
    pub(super) fn markdown(&self) -> String {
        let (floor, ours) = (self.places(Role::Floor).next(), self.places(Role::Ours).next());
        let mut beside = table(
            ["", "floor", "p95", "Seer", "p95", "Seer ÷ floor"]
                .map(str::to_owned)
                .to_vec(),
        );
        let mut peers = table(
            [String::new(), "floor".to_owned(), "Seer".to_owned()]
                .into_iter()
                .chain(
                    self.places(Role::Peer)
                        .filter_map(|place| self.subjects.get(place).cloned()),
                )
                .collect(),
        );
        for measure in self.measures() {
            let result = |place: Option<usize>| place.and_then(|place| self.of(measure, place));
            let (of_floor, of_ours) = (result(floor), result(ours));
            beside.add_row([
                measure.title().to_owned(),
                cell(of_floor, |summary| value(summary, summary.median)),
                cell(of_floor, |summary| value(summary, summary.p95)),
                cell(of_ours, |summary| value(summary, summary.median)),
                cell(of_ours, |summary| value(summary, summary.p95)),
                cell(of_ours, ratio),
            ]);
            let of_peers: Vec<_> = self.places(Role::Peer).map(|place| result(Some(place))).collect();
            if of_peers.iter().any(Option::is_some) {
                let every = [of_floor, of_ours].into_iter().chain(of_peers);
                let cells = every.map(|summary| cell(summary, |summary| value(summary, summary.median)));
                peers.add_row([measure.title().to_owned()].into_iter().chain(cells));
            }
        }
        let mut text = format!("{}\n\n{beside}\n\n{peers}\n", self.machine.line());
        for line in &self.left_out {
            text.push_str(&format!("\nleft out: {line}"));
        }
        text
    }
}

/// Builds a table that looks the same in Markdown and in a terminal.
pub(super) fn table(header: Vec<String>) -> Table {
    let mut table = Table::new();
    table
        .load_preset(ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cell(summary: Option<&Summary>, text: impl Fn(&Summary) -> String) -> String {
    summary.map_or_else(|| "–".to_owned(), text)
}

/// Formats a value with its unit, to about three digits.
pub(super) fn value(summary: &Summary, value: f64) -> String {
    let digits = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    let unit = match summary.unit {
        "1/s" => String::new(),
        unit => format!(" {unit}"),
    };
    format!("{value:.digits$}{unit}")
}

pub(super) fn ratio(summary: &Summary) -> String {
    summary
        .over_floor
        .map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// Returns the nearest-rank percentile; zero if there are no values.
pub(super) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let values: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 50), 10.0);
        assert_eq!(percentile(&values, 95), 19.0);
        assert_eq!(percentile(&[7.0], 95), 7.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }
}
