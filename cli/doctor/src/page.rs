//! Lays out the report for a person under pressure: the verdict first, then what to do, then the observations.
//!
//! Commands are never wrapped or cut, so that they can be copied. Colours only emphasize and carry no information of
//! their own.

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets};
use console::{Style, Term, measure_text_width};

use super::report::{Compared, Fact, Finding, Level, Outcome, Report, Setting, Step, Verdict};

/// The width if there is no terminal.
const WIDTH: u16 = 120;
const NARROW: u16 = 60;

/// Returns the width to lay out for.
pub(super) fn width() -> u16 {
    let terminal = Term::stdout().size_checked().map(|(_, columns)| columns);
    terminal.unwrap_or(WIDTH).clamp(NARROW, WIDTH)
}

/// Renders the verdict, and why there is no connection if there is none.
pub(super) fn render_verdict(report: &Report, width: u16) -> String {
    Page::begin(report, width).lines.join("\n")
}

/// Renders the whole report.
pub(super) fn render(report: &Report, width: u16) -> String {
    let mut page = Page::begin(report, width);
    page.what_to_do(report);
    page.reaching(&report.steps);
    page.facts("State", &report.state);
    page.settings(report);
    page.facts("Schema", &report.schema);
    page.url(report);
    page.lines.push(String::new());
    page.lines.join("\n")
}

/// Renders the verdict, what to do and the state, as far as they fit a terminal of this size.
pub(super) fn render_on_screen(report: &Report, height: u16, columns: u16) -> String {
    let mut page = Page::begin(report, columns.clamp(NARROW, WIDTH));
    page.what_to_do(report);
    page.facts("State", &report.state);
    let columns = usize::from(columns.max(1));
    let rows = |line: &str| measure_text_width(line).div_ceil(columns).max(1);
    let about = |missing: usize| format!("… and {missing} lines more; without --watch there is everything");
    // The cursor's line below the page, and the line about what is missing.
    let room = usize::from(height).saturating_sub(1 + rows(&about(page.lines.len())));
    let mut used = 0;
    let fitting = page.lines.iter().take_while(|line| {
        used += rows(line);
        used <= room
    });
    let fitting = fitting.count();
    let missing = page.lines.len() - fitting;
    page.lines.truncate(fitting);
    page.lines.push(match missing {
        0 => String::new(),
        _ => about(missing),
    });
    page.lines.join("\n")
}

struct Page {
    lines: Vec<String>,
    width: u16,
}

fn colour(level: Level) -> Style {
    match level {
        Level::Fail => Style::new().red().bold(),
        Level::Warn => Style::new().yellow(),
        Level::Advice => Style::new().cyan(),
    }
}

fn mark(level: Level) -> &'static str {
    match level {
        Level::Fail => "FAIL",
        Level::Warn => "warn",
        Level::Advice => "tune",
    }
}

impl Page {
    fn begin(report: &Report, width: u16) -> Self {
        let mut page = Self {
            lines: Vec::new(),
            width,
        };
        page.verdict(report);
        if let Some(unreachable) = &report.unreachable {
            page.says("Usually", &unreachable.why);
            page.commands("Next", &unreachable.run);
        }
        page
    }

    fn verdict(&mut self, report: &Report) {
        let style = match report.verdict() {
            Verdict::Healthy => Style::new().green().bold(),
            Verdict::Warnings => Style::new().yellow().bold(),
            Verdict::Failing | Verdict::Unreachable => Style::new().red().bold(),
        };
        let line = report.first_line();
        let word = report.verdict().word();
        let rest = line.strip_prefix(word).unwrap_or_default();
        self.lines.push(format!("{}{rest}", style.apply_to(word)));
    }

    fn heading(&mut self, text: &str) {
        self.lines.push(String::new());
        self.lines.push(Style::new().bold().apply_to(text).to_string());
    }

    fn says(&mut self, label: &str, text: &str) {
        for (number, line) in wrapped(text, usize::from(self.width) - 12).into_iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            self.lines.push(format!("  {label:<8}  {line}"));
        }
    }

    fn commands(&mut self, label: &str, commands: &[String]) {
        for (number, command) in commands.iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            let command = Style::new().bold().apply_to(command);
            self.lines.push(format!("  {label:<8}  {command}"));
        }
    }

    fn what_to_do(&mut self, report: &Report) {
        let differing = report.differing().count();
        if report.findings.is_empty() && differing == 0 {
            return;
        }
        self.heading("What to do");
        let mut findings: Vec<&Finding> = report.findings.iter().collect();
        findings.sort_by_key(|finding| finding.level);
        let worst = report.differing().map(|setting| setting.level).min();
        let place = findings.partition_point(|finding| worst.is_none_or(|worst| finding.level <= worst));
        let (before, after) = findings.split_at(place);
        for finding in before {
            self.finding(finding);
        }
        if let Some(worst) = worst {
            let text = match differing {
                1 => "1 setting differs from what the fleet needs: see Settings, with the line to apply".to_owned(),
                _ => format!(
                    "{differing} settings differ from what the fleet needs{}: see Settings, with the lines to apply",
                    by_level(report)
                ),
            };
            self.marked(worst, &text);
        }
        for finding in after {
            self.finding(finding);
        }
    }

    fn marked(&mut self, level: Level, text: &str) {
        for (number, line) in wrapped(text, usize::from(self.width) - 8).into_iter().enumerate() {
            if number == 0 {
                self.lines
                    .push(format!("  {}  {line}", colour(level).apply_to(mark(level))));
            } else {
                self.lines.push(format!("        {line}"));
            }
        }
    }

    fn finding(&mut self, finding: &Finding) {
        self.marked(finding.level, &finding.what);
        for line in wrapped(&finding.why, usize::from(self.width) - 8) {
            self.lines
                .push(format!("        {}", Style::new().dim().apply_to(line)));
        }
        for command in &finding.run {
            self.lines
                .push(format!("          {}", Style::new().bold().apply_to(command)));
        }
    }

    fn table(&mut self, rows: Vec<Vec<String>>, paint: impl Fn(&str) -> Option<Style>) {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(self.width - 1)
            .add_rows(rows);
        for line in table.to_string().lines() {
            let line = line.trim_end();
            let body = line.trim_start();
            let indent = &line[..line.len() - body.len()];
            let first = body.split(' ').next().unwrap_or_default();
            // The mark is in the first column; continuation lines are indented further.
            let painted = paint(first).filter(|_| indent.len() == 1);
            let rest = &body[first.len()..];
            self.lines.push(match painted {
                Some(style) => format!(" {indent}{}{rest}", style.apply_to(first)),
                None => format!(" {line}"),
            });
        }
    }

    fn reaching(&mut self, steps: &[Step]) {
        if steps.is_empty() {
            return;
        }
        self.heading("Reaching it");
        let row = |step: &Step| {
            let mark = match step.outcome {
                Outcome::Ok => "ok",
                Outcome::Failed => "FAIL",
                Outcome::Skipped | Outcome::NotReached => "-",
            };
            let took = step.took.map_or_else(String::new, |took| {
                let milliseconds = took.as_secs_f64() * 1_000.0;
                format!("{milliseconds:>7.1} ms")
            });
            let detail = match step.outcome {
                Outcome::NotReached => "not reached",
                Outcome::Ok | Outcome::Failed | Outcome::Skipped => step.detail.as_str(),
            };
            [mark, step.step, took.as_str(), detail].map(str::to_owned).to_vec()
        };
        self.table(steps.iter().map(row).collect(), |mark| match mark {
            "ok" => Some(Style::new().green()),
            "FAIL" => Some(Style::new().red().bold()),
            "-" => Some(Style::new().dim()),
            _ => None,
        });
    }

    fn facts(&mut self, heading: &str, facts: &[Fact]) {
        if facts.is_empty() {
            return;
        }
        self.heading(heading);
        let names: Vec<String> = facts.iter().map(|fact| words(fact.id)).collect();
        let column = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        let room = usize::from(self.width).saturating_sub(column + 4);
        for (fact, name) in facts.iter().zip(&names) {
            for (number, line) in wrapped(&fact.text, room).into_iter().enumerate() {
                let name = if number == 0 { name.as_str() } else { "" };
                self.lines.push(format!("  {name:<column$}  {line}"));
            }
            for line in &fact.more {
                self.lines.push(format!("  {:<column$}  {}", "", cut(line, room)));
            }
        }
    }

    fn settings(&mut self, report: &Report) {
        if report.settings.is_empty() {
            if !report.settings_note.is_empty() {
                self.heading("Settings");
                self.lines.push(format!("  {}", report.settings_note));
            }
            return;
        }
        self.heading("Settings");
        let differing: Vec<&Setting> = report.differing().collect();
        if !differing.is_empty() {
            let head = ["", "setting", "now", "recommended", "why"].map(str::to_owned).to_vec();
            let row = |setting: &&Setting| {
                let value = setting
                    .value
                    .as_deref()
                    .filter(|value| !value.is_empty())
                    .unwrap_or("(empty)");
                [
                    mark(setting.level),
                    setting.name,
                    value,
                    &setting.recommended,
                    setting.why,
                ]
                .map(str::to_owned)
                .to_vec()
            };
            let rows = std::iter::once(head).chain(differing.iter().map(row)).collect();
            self.table(rows, |word| {
                [Level::Fail, Level::Warn, Level::Advice]
                    .into_iter()
                    .find(|level| mark(*level) == word)
                    .map(colour)
            });
        }
        self.rest(report);
        if !differing.is_empty() {
            self.changes(&differing, &report.settings_note);
        }
    }

    fn changes(&mut self, differing: &[&Setting], note: &str) {
        let sql = |line: &&&String| ["ALTER ", "CREATE ", "-- "].iter().any(|start| line.starts_with(start));
        let lines: Vec<&String> = differing.iter().flat_map(|setting| &setting.lines).collect();
        // A parameter group's lines come first, in their own form; all other lines are SQL.
        let (group, psql): (Vec<&String>, Vec<&String>) = lines.iter().partition(|line| !sql(line));
        let mut paste = |how: &str, lines: &[&str]| {
            if !lines.is_empty() {
                self.lines.push(format!("  To apply ({how}):"));
            }
            for line in lines {
                self.lines.push(format!("    {}", Style::new().bold().apply_to(line)));
            }
        };
        let group: Vec<&str> = group.into_iter().map(String::as_str).collect();
        let mut psql: Vec<&str> = psql.into_iter().map(String::as_str).collect();
        if psql.iter().any(|line| line.starts_with("ALTER SYSTEM")) {
            psql.push("SELECT pg_reload_conf();");
        }
        paste(note, &group);
        paste("in psql, as a superuser or the service's administrator", &psql);
        let restart: Vec<&str> = differing
            .iter()
            .filter(|setting| setting.restart)
            .map(|setting| setting.name)
            .collect();
        if !restart.is_empty() {
            self.lines
                .push(format!("  Then restart the server, for {}.", restart.join(", ")));
        }
    }

    /// Lists the areas without a difference, as far as they could be examined.
    fn rest(&mut self, report: &Report) {
        let of = |compared| {
            report
                .settings
                .iter()
                .filter(move |setting| setting.compared == compared)
        };
        let mut texts = vec![format!("{} as recommended", of(Compared::Fine).count())];
        let fixed: Vec<&str> = of(Compared::NotSettable).map(|setting| setting.name).collect();
        if !fixed.is_empty() {
            texts.push(format!("not settable here: {}", fixed.join(", ")));
        }
        let mut hidden: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for setting in of(Compared::NotVisible) {
            hidden.entry(setting.lines.join(" ")).or_default().push(setting.name);
        }
        for (reason, names) in hidden {
            texts.push(format!("not visible to this role: {}: {reason}", names.join(", ")));
        }
        for text in texts {
            for line in wrapped(&text, usize::from(self.width) - 4) {
                self.lines.push(format!("  {}", Style::new().dim().apply_to(line)));
            }
        }
    }

    fn url(&mut self, report: &Report) {
        let Some(url) = &report.url else { return };
        self.heading("The URL for functions");
        self.lines.push(format!("  {}", Style::new().bold().apply_to(url)));
        for note in &report.url_notes {
            for (number, line) in wrapped(note, usize::from(self.width) - 6).into_iter().enumerate() {
                let bullet = if number == 0 { "-" } else { " " };
                self.lines.push(format!("  {bullet} {line}"));
            }
        }
    }
}

/// Counts the differing settings per level if there is more than one level, as the verdict counts them.
fn by_level(report: &Report) -> String {
    let counts: Vec<String> = [Level::Fail, Level::Warn, Level::Advice]
        .into_iter()
        .map(|level| {
            (
                level,
                report.differing().filter(|setting| setting.level == level).count(),
            )
        })
        .filter(|(_, count)| *count > 0)
        .map(|(level, count)| format!("{count} {}", mark(level)))
        .collect();
    if counts.len() > 1 {
        format!(" ({})", counts.join(", "))
    } else {
        String::new()
    }
}

/// Turns a name of the JSON report into words.
fn words(id: &str) -> String {
    id.chars().fold(String::new(), |mut words, letter| {
        if letter.is_uppercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
        words
    })
}

/// Returns the text, cut if it is longer than `width`.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let start: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{start}…")
}

/// Wraps the text between words into lines no longer than `width`.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screen_fits_any_terminal() {
        let mut report = Report::default();
        for number in 0..20 {
            let what = format!("finding {number}: {}", "a few words ".repeat(9));
            report.find(Level::Warn, "test", what, "A reason. ", vec!["SELECT 1;".repeat(9)]);
        }
        let whole = render_on_screen(&report, u16::MAX, 120);
        assert!(whole.contains("finding 19") && !whole.contains("lines more"), "{whole}");
        for columns in [40, 59, 60, 80, 120, 250] {
            for height in [10, 24, 25, 60] {
                let screen = render_on_screen(&report, height, columns);
                let rows = |line: &str| measure_text_width(line).div_ceil(columns.into()).max(1);
                let used: usize = screen.lines().map(rows).sum();
                assert!(
                    used < height.into(),
                    "{used} rows of {height} with {columns} columns:\n{screen}"
                );
                assert!(screen.starts_with("WARNINGS"), "{screen}");
                let (shown, last) = screen.rsplit_once('\n').unwrap();
                let lines = render_on_screen(&report, u16::MAX, columns).split('\n').count() - 1;
                let missing = lines - shown.split('\n').count();
                assert!(last.starts_with(&format!("… and {missing} lines more")), "{last}");
            }
        }
    }
}
