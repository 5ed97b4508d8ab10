//! The report for a terminal: a line for each scenario.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::run::Played;

/// A scenario that was played, or why it was not.
pub type Line<'a> = (&'a str, Result<&'a Played, &'a str>);

pub(super) const HEADER: [&str; 10] = [
    "fault",
    "requests",
    "ok",
    "503",
    "other",
    "slowest",
    "recovery",
    "lost",
    "duplicated",
    "connections",
];

/// The table. `connections` is how many there were at the most.
pub fn table(lines: &[Line<'_>]) -> String {
    let mut table = Table::new();
    table
        .load_preset(UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(HEADER);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (name, line) in lines {
        match line {
            Ok(played) => table.add_row([vec![(*name).to_owned()], cells(played)].concat()),
            Err(why) => table.add_row([(*name).to_owned(), format!("skipped: {why}")]),
        };
    }
    let mut text = table.to_string();
    text.push('\n');
    for (name, line) in lines {
        let Ok(played) = line else { continue };
        for wrong in &played.verdict.wrong {
            let _ = writeln!(text, "WRONG   {name}: {wrong}");
        }
        for missed in &played.missed {
            let _ = writeln!(text, "missed  {name}: {missed}");
        }
    }
    text
}

/// What a line says of a scenario that was played.
pub(super) fn cells(played: &Played) -> Vec<String> {
    vec![
        played.entries.len().to_string(),
        played.served().to_string(),
        played.refused().to_string(),
        played.broken().to_string(),
        time(played.slowest()),
        played.recovery.map_or_else(|| "–".to_owned(), time),
        played.verdict.lost.to_string(),
        played.verdict.duplicated.to_string(),
        played.peak.to_string(),
    ]
}

/// A time for people: milliseconds below a second.
pub(super) fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}
