//! The chart of a scenario, as SVG: one dot per answer, time to the right, duration upwards (logarithmic), and the
//! fault's span shaded.

use std::fmt::Write as _;
use std::time::Duration;

use super::history::{Entry, Seen};
use super::played::Played;
use super::table::time;

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

/// In a file of its own: the height of the heading and of the legend, and the distance from the left edge.
const HEADING: f64 = 60.0;
const LEGEND: f64 = 30.0;
const GAP: f64 = 16.0;

/// The colours, as variables.
pub(super) const COLOURS: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--dim:#667085;--line:#d8dde6;--ground:#fff;--card:#f7f8fa;\
--ok:#1a7f4b;--refused:#b8730a;--broken:#c02626;--span:#c0262618}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#98a2b3;--line:#343b47;--ground:#14181f;--card:#1b2029;\
--ok:#4cc38a;--refused:#e8a33d;--broken:#ff6b6b;--span:#ff6b6b26}}";

/// The parts of a chart.
pub(super) const MARKS: &str = "\
svg text{font-size:11px;fill:var(--dim)}\
.grid{stroke:var(--line)}.span{fill:var(--span)}.instant{stroke:var(--broken);stroke-dasharray:3 3;opacity:.6}\
.ok,.refused,.broken{fill:none;stroke-width:4;stroke-linecap:round}.ok{stroke:var(--ok);stroke-opacity:.55}\
.refused{stroke:var(--refused)}.broken{stroke:var(--broken)}";

/// A file of its own.
const ALONE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}.paper{fill:var(--card)}\
svg .title{font-size:15px;font-weight:600;fill:var(--ink)}";

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

/// Draws a chart for the page, which has the styles.
pub(super) fn picture(html: &mut String, played: &Played) {
    let axis = Axis::of(played);
    let label = label(played, axis);
    let _ = write!(
        html,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">"
    );
    draw(html, played, axis);
    html.push_str("</svg>");
}

/// Returns a scenario's chart as an SVG file of its own, with a heading and a legend; `about` is a line about how the
/// run was made.
pub fn chart(about: &str, played: &Played) -> String {
    let axis = Axis::of(played);
    let label = label(played, axis);
    let (above, height) = (HEADING, HEADING + HEIGHT + LEGEND);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{label}\"><style>{COLOURS}{MARKS}{ALONE}</style>\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\
         <text class=\"title\" x=\"{GAP}\" y=\"26\">{}: {}</text><text x=\"{GAP}\" y=\"46\">{}</text>\
         <g transform=\"translate(0 {above})\">",
        escaped(played.name),
        escaped(played.about),
        escaped(about),
    );
    draw(&mut svg, played, axis);
    svg.push_str("</g>");
    let keys = [
        ("ok", format!("{} answered", played.served())),
        ("refused", format!("{} refused with 503", played.refused())),
        ("broken", format!("{} outside the contract", played.broken())),
    ];
    let (mut x, y) = (LEFT, above + HEIGHT + 10.0);
    for (class, text) in keys {
        let _ = write!(
            svg,
            "<path class=\"{class}\" d=\"M{x} {y}h0\"/><text x=\"{}\" y=\"{}\">{text}</text>",
            x + 8.0,
            y + 4.0
        );
        x += 200.0;
    }
    let verdict = format!(
        "writes lost: {}, applied twice: {}",
        played.verdict.lost, played.verdict.duplicated
    );
    let _ = write!(svg, "<text x=\"{x}\" y=\"{}\">{verdict}</text></svg>", y + 4.0);
    svg
}

fn label(played: &Played, axis: Axis) -> String {
    format!(
        "{} answered, {} refused, {} outside the contract, over {:.1} s",
        played.served(),
        played.refused(),
        played.broken(),
        axis.length
    )
}

fn draw(html: &mut String, played: &Played, axis: Axis) {
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
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_has_its_own_styles_and_counts() {
        let entry = Entry {
            function: "meetings-get".to_owned(),
            attempt: 1,
            sent: Duration::from_millis(1),
            took: Duration::from_millis(7),
            seen: Seen::Served(200),
            cold: false,
        };
        let played = Played::example(vec![entry.clone(), entry]);
        let svg = chart("seed 1 & more", &played);
        for part in [
            "xmlns=",
            "<style>",
            "one: It &lt;breaks&gt;.",
            "seed 1 &amp; more",
            "2 answered",
            "writes lost: 0, applied twice: 0",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        // One for each answer, and the legend's three.
        assert_eq!(svg.matches("h0").count(), 5);
        let foreign = svg.replacen("http://www.w3.org/2000/svg", "", 1);
        assert!(!foreign.contains("http"), "{svg}");
    }
}
