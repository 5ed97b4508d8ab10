//! The report for a terminal: one line per scenario.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::played::Played;

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

/// Returns the table; `about` is a line about how the run was made. `connections` is the maximum number of connections.
pub fn table(about: &str, lines: &[Line<'_>]) -> String {
    let mut table = Table::new();
    table
        .load_preset(UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(HEADER.map(|name| match name {
            "requests" => "re-\nquests",
            "recovery" => "recov-\nery",
            "duplicated" => "dupli-\ncated",
            "connections" => "connec-\ntions",
            name => name,
        }));
    for column in table.column_iter_mut() {
        column.set_padding((0, 0)).set_cell_alignment(CellAlignment::Right);
    }
    if let Some(names) = table.column_mut(0) {
        names.set_cell_alignment(CellAlignment::Left);
    }
    for (name, line) in lines {
        match line {
            Ok(played) => table.add_row([vec![folded(name)], cells(played)].concat()),
            Err(_) => table.add_row([folded(name), "–".to_owned()]),
        };
    }
    let mut text = format!("{about}\n{table}\n");
    for (name, line) in lines {
        let played = match line {
            Ok(played) => played,
            Err(why) => {
                let _ = writeln!(text, "not played: {name}: {why}");
                continue;
            }
        };
        for wrong in &played.verdict.wrong {
            let _ = writeln!(text, "WRONG   {name}: {wrong}");
        }
        if let Some(cold) = played.cold {
            let _ = writeln!(
                text,
                "cold    {name}: the slowest first answer of an environment took {cold:.2?}"
            );
        }
        for missed in &played.missed {
            let _ = writeln!(text, "missed  {name}: {missed}");
        }
    }
    text
}

/// Wraps a scenario's name, so that the figures fit on any terminal.
fn folded(name: &str) -> String {
    const WIDTH: usize = 18;
    let mut lines = vec![String::new()];
    for part in name.split_inclusive(['-', ' ']) {
        match lines.last_mut() {
            Some(line) if line.len() + part.len() <= WIDTH => line.push_str(part),
            _ => lines.push(part.to_owned()),
        }
    }
    lines.join("\n")
}

/// Returns the cells for a scenario that was played.
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

/// Formats a duration for people: milliseconds below a second.
pub(super) fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::Verdict;
    use super::*;

    #[test]
    fn table_fits_terminal_and_names_skipped() {
        let played = Played {
            name: "terminated-while-frozen-briefly",
            verdict: Verdict {
                lost: 12,
                wrong: vec!["it was".to_owned()],
                ..Verdict::default()
            },
            recovery: Some(Duration::from_millis(123_400)),
            peak: 1_000,
            opened: 1_000,
            ..Played::example(Vec::new())
        };
        let text = table(
            "Debug: a run",
            &[
                (played.name, Ok(&played)),
                (
                    "serverless-postgres: blackholed-while-frozen",
                    Err("npm is not installed"),
                ),
            ],
        );
        let (rows, rest): (Vec<_>, Vec<_>) = text.lines().partition(|line| !line.contains(": "));
        assert!(rows.iter().all(|row| row.chars().count() <= 80), "{text}");
        for part in ["│terminated-while- ", "│frozen-briefly ", "123.40 s", "1000"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for part in [
            "WRONG   terminated-while-frozen-briefly: it was",
            "not played: serverless-postgres: blackholed-while-frozen: npm is not installed",
        ] {
            assert!(rest.contains(&part), "{part}: {text}");
        }
    }
}
