//! The report as one self-contained HTML page: the table, and a chart of each scenario over time.
//!
//! The charts are SVG: one dot per answer, time to the right, duration upwards (logarithmic), and the fault's span
//! shaded. Invariants: no script, and no resource from a network.

use std::fmt::Write as _;
use std::time::Duration;

use super::history::{Entry, Seen};
use super::played::Played;
use super::table::{HEADER, Line, cells, time};

/// The chart's size and margins, in its own units.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 40.0;

/// Maximum width of a letter of a name.
const LETTER: f64 = 6.5;

/// The latencies at the chart's lower and upper edge, in milliseconds, as powers of ten.
const DECADES: (i32, i32) = (0, 5);

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--dim:#667085;--line:#d8dde6;--ground:#fff;--card:#f7f8fa;\
--ok:#1a7f4b;--refused:#b8730a;--broken:#c02626;--span:#c0262618}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#98a2b3;--line:#343b47;--ground:#14181f;--card:#1b2029;\
--ok:#4cc38a;--refused:#e8a33d;--broken:#ff6b6b;--span:#ff6b6b26}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:62rem;margin:2rem auto;\
padding:0 1rem}h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:0}p{margin:.25rem 0}.dim{color:var(--dim)}\
table{border-collapse:collapse;width:100%;margin:1rem 0;font-variant-numeric:tabular-nums}\
th,td{text-align:right;padding:.2rem .5rem;border-bottom:1px solid var(--line);white-space:nowrap}\
th:first-child,td:first-child{text-align:left}th{color:var(--dim);font-weight:500}a{color:inherit}\
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8rem 1rem;margin:1rem 0}\
svg{width:100%;height:auto;display:block}svg text{font-size:11px;fill:var(--dim)}.wide{overflow-x:auto}\
.grid{stroke:var(--line)}.span{fill:var(--span)}.instant{stroke:var(--broken);stroke-dasharray:3 3;opacity:.6}\
.ok,.refused,.broken{fill:none;stroke-width:4;stroke-linecap:round}.ok{stroke:var(--ok);stroke-opacity:.55}\
.refused{stroke:var(--refused)}.broken{stroke:var(--broken)}b.ok,b.refused,b.broken{stroke:none}b.ok{color:var(--ok)}\
b.refused{color:var(--refused)}b.broken{color:var(--broken)}li{color:var(--broken)}li.missed{color:var(--refused)}";

/// Returns the page; `about` is a line about how the run was made.
pub fn page(about: &str, lines: &[Line<'_>]) -> String {
    let played = || lines.iter().filter_map(|(_, line)| line.as_ref().ok());
    let requests: usize = played().map(|played| played.entries.len()).sum();
    let lost: usize = played().map(|played| played.verdict.lost).sum();
    let duplicated: usize = played().map(|played| played.verdict.duplicated).sum();
    let broken: usize = played().map(|played| played.broken()).sum();
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Seer: the fault catalogue</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style>\
         <h1>The fault catalogue</h1><p class=\"dim\">{}</p>\
         <p>{} under {}: {} lost, {duplicated} duplicated, {} outside the contract.</p>",
        escaped(about),
        several(requests, "request"),
        several(played().count(), "fault"),
        several(lost, "write"),
        several(broken, "answer"),
    );
    html.push_str("<div class=\"wide\"><table><tr>");
    for name in HEADER {
        let _ = write!(html, "<th>{name}</th>");
    }
    html.push_str("</tr>");
    for (name, line) in lines {
        let name = escaped(name);
        let _ = write!(html, "<tr><td><a href=\"#{name}\">{name}</a></td>");
        match line {
            Ok(played) => cells(played).iter().for_each(|cell| {
                let _ = write!(html, "<td>{cell}</td>");
            }),
            Err(why) => {
                let _ = write!(
                    html,
                    "<td colspan=\"{}\">not played: {}</td>",
                    HEADER.len() - 1,
                    escaped(why)
                );
            }
        }
        html.push_str("</tr>");
    }
    html.push_str(
        "</table></div><p class=\"dim\"><b class=\"ok\">●</b> answered <b class=\"refused\">●</b> refused with \
                   503 <b class=\"broken\">●</b> outside the contract; shaded: the fault in force</p>",
    );
    for (name, line) in lines {
        if let Ok(played) = line {
            section(&mut html, name, played);
        }
    }
    html.push_str("</html>\n");
    html
}

fn section(html: &mut String, name: &str, played: &Played) {
    let name = escaped(name);
    let _ = write!(
        html,
        "<section id=\"{name}\"><h2>{name}</h2><p>{}</p>",
        escaped(played.about)
    );
    picture(html, played);
    if !(played.verdict.wrong.is_empty() && played.missed.is_empty()) {
        html.push_str("<ul>");
        for wrong in &played.verdict.wrong {
            let _ = write!(html, "<li>{}</li>", escaped(wrong));
        }
        for missed in &played.missed {
            let _ = write!(html, "<li class=\"missed\">{}</li>", escaped(missed));
        }
        html.push_str("</ul>");
    }
    html.push_str("</section>");
}

/// The start and length of a chart, in seconds.
#[derive(Clone, Copy)]
struct Axis {
    from: f64,
    length: f64,
}

impl Axis {
    fn of(played: &Played) -> Self {
        let from = played.entries.iter().map(|entry| entry.sent).min().unwrap_or_default();
        let answered = played.entries.iter().map(Entry::answered);
        let to = answered
            .chain(played.spans.iter().map(|span| span.to))
            .max()
            .unwrap_or_default();
        let length = to.saturating_sub(from).as_secs_f64().max(0.01);
        Self {
            from: from.as_secs_f64(),
            length,
        }
    }

    fn x(self, at: Duration) -> f64 {
        let share = (at.as_secs_f64() - self.from) / self.length;
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Returns a round number of seconds of which five to ten fit.
    fn step(self) -> f64 {
        let rough = self.length / 8.0;
        let decade = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
        steps.into_iter().find(|step| *step >= rough).unwrap_or(rough)
    }
}

fn y(took: Duration) -> f64 {
    let (low, high) = (f64::from(DECADES.0), f64::from(DECADES.1));
    let decades = (took.as_secs_f64() * 1_000.0).max(1.0).log10();
    HEIGHT - BOTTOM - (decades - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
}

/// Draws the faults: shaded while in force, and with their name unless it would overlap the previous one.
fn spans(html: &mut String, played: &Played, axis: &Axis) {
    let mut labelled = f64::MIN;
    for together in played.spans.chunk_by(|one, next| one.from == next.from) {
        for span in together {
            let (from, to, fault) = (axis.x(span.from), axis.x(span.to), escaped(&span.fault));
            let _ = if to - from < 1.5 {
                write!(
                    html,
                    "<path class=\"instant\" d=\"M{from:.1} {TOP}V{:.1}\"><title>{fault}</title></path>",
                    HEIGHT - BOTTOM
                )
            } else {
                write!(
                    html,
                    "<rect class=\"span\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"><title>{fault}</title></rect>",
                    to - from,
                    HEIGHT - TOP - BOTTOM
                )
            };
        }
        let names: Vec<&str> = together.iter().map(|span| span.fault.as_str()).collect();
        let names = names.join(", ");
        let (at, width) = (
            together.first().map_or(LEFT, |span| axis.x(span.from)),
            LETTER * names.len() as f64,
        );
        let (anchor, begin) = if at + width < WIDTH {
            ("start", at)
        } else {
            ("end", at - width)
        };
        if begin > labelled {
            labelled = begin + width;
            let _ = write!(
                html,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                TOP - 8.0,
                escaped(&names)
            );
        }
    }
}

fn picture(html: &mut String, played: &Played) {
    let axis = Axis::of(played);
    let label = format!(
        "{} answered, {} refused, {} outside the contract, over {:.1} s",
        played.served(),
        played.refused(),
        played.broken(),
        axis.length
    );
    let _ = write!(
        html,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">"
    );
    for decade in DECADES.0..=DECADES.1 {
        let latency = Duration::from_secs_f64(10f64.powi(decade) / 1_000.0);
        let (at, text) = (y(latency), time(latency).replace(".00", ""));
        let _ = write!(
            html,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        );
    }
    let (step, mut tick) = (axis.step(), 0.0);
    while tick <= axis.length {
        let x = axis.x(Duration::from_secs_f64(axis.from + tick));
        let text = (tick * 1_000.0).round() / 1_000.0;
        let _ = write!(
            html,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text} s</text>",
            HEIGHT - BOTTOM + 15.0
        );
        tick += step;
    }
    let _ = write!(
        html,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">time at which an answer came</text>\
         <text transform=\"translate(11 {:.1}) rotate(-90)\" text-anchor=\"middle\">duration of the request</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 6.0,
        (TOP + HEIGHT - BOTTOM) / 2.0
    );
    spans(html, played, &axis);
    // Successes first, so that the important dots are on top.
    let dots = |class: &str, of: fn(&Seen) -> bool, html: &mut String| {
        let _ = write!(html, "<path class=\"{class}\" d=\"");
        for entry in played.entries.iter().filter(|entry| of(&entry.seen)) {
            let _ = write!(html, "M{:.1} {:.1}h0", axis.x(entry.answered()), y(entry.took));
        }
        html.push_str("\"/>");
    };
    dots("ok", |seen| matches!(seen, Seen::Served(_)), html);
    dots("refused", |seen| matches!(seen, Seen::Refused | Seen::Unknown), html);
    dots("broken", |seen| matches!(seen, Seen::Broken(_)), html);
    html.push_str("</svg>");
}

/// Returns a number of things, with a noun in singular or plural.
fn several(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::oracle::Verdict;
    use super::*;

    #[test]
    fn page_is_complete_and_self_contained() {
        let entry = |sent, seen| Entry {
            function: "meetings-get".to_owned(),
            attempt: 1,
            sent: Duration::from_millis(sent),
            took: Duration::from_millis(7),
            seen,
            cold: false,
        };
        let broken = Seen::Broken("<b>".to_owned());
        let played = Played {
            name: "one",
            about: "It <breaks>.",
            entries: vec![entry(1, Seen::Served(200)), entry(2, Seen::Refused), entry(3, broken)],
            spans: Vec::new(),
            verdict: Verdict {
                wrong: vec!["a & b".to_owned()],
                ..Verdict::default()
            },
            missed: Vec::new(),
            cold: None,
            recovery: None,
            peak: 3,
            opened: 3,
            wasted: 0,
        };
        let html = page("seed 1", &[("one", Ok(&played)), ("two", Err("not here"))]);
        assert_eq!(html.matches("h0").count(), 3);
        for part in [
            "It &lt;breaks&gt;.",
            "a &amp; b",
            "not played: not here",
            "time at which an answer came",
            "duration of the request",
            "3 requests under 1 fault: 0 writes lost, 0 duplicated, 1 answer outside",
        ] {
            assert!(html.contains(part), "{part}");
        }
        for foreign in ["http:", "https:", "<script", "<link", "<breaks>"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
    }
}
