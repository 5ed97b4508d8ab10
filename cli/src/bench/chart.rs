//! Draws the chart of a run as SVG: one panel per measure, one bar per subject, readable in light and dark mode.

use std::fmt::Write as _;

use super::measure::Measure;
use super::report::{Report, Summary, ratio, value};

const WIDTH: f64 = 980.0;
const MARGIN: f64 = 24.0;
const COLUMNS: usize = 2;
const GAP: f64 = 36.0;
/// Width of the column that holds the subjects' names.
const NAMES: f64 = 172.0;
/// Width of the column that holds the values.
const VALUES: f64 = 96.0;
const BAR: f64 = 15.0;
const ROW: f64 = 23.0;
const HEAD: f64 = 62.0;

/// The measures that distinguish the designs, in the order of the panels.
const PANELS: [(Measure, &str); 6] = [
    (Measure::ReadFresh, "Warm read, used just before"),
    (Measure::ReadIdle, "Warm read, idle for over 1 s"),
    (Measure::ReadFirstFar, "First read after INIT, database 1 ms away"),
    (Measure::ColdTls, "Cold start with TLS, process start to first answer"),
    (Measure::ReadIdleFar, "Warm read after idling, database 1 ms away"),
    (Measure::WriteFreshFar, "Warm write, database 1 ms away"),
];

const STYLE: &str = "
  text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328; }
  .paper { fill: #ffffff; }
  .title { font-size: 18px; font-weight: 600; }
  .panel { font-size: 14px; font-weight: 600; }
  .quiet { fill: #59636e; }
  .line { stroke: #d1d9e0; stroke-width: 1; }
  .spread { stroke: #1f2328; stroke-width: 1; }
  .ours { fill: #1a7f37; }
  .floor { fill: #8b949e; }
  .peer { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .paper { fill: #0d1117; }
    .quiet { fill: #9198a1; }
    .line { stroke: #3d444d; }
    .spread { stroke: #f0f6fc; }
    .ours { fill: #3fb950; }
    .floor { fill: #6e7681; }
    .peer { fill: #4493f8; }
  }
";

/// Returns the chart as SVG.
pub(super) fn svg(report: &Report) -> String {
    let panels: Vec<_> = PANELS
        .iter()
        .map(|(measure, title)| (*title, summaries(report, *measure)))
        .collect();
    let rows = |line: &[(&str, Vec<&Summary>)]| line.iter().map(|(_, bars)| bars.len()).max().unwrap_or_default();
    let width = (WIDTH - 2.0 * MARGIN - GAP) / number(COLUMNS);
    let mut body = String::new();
    let mut top = 104.0;
    for line in panels.chunks(COLUMNS) {
        for (column, (title, bars)) in line.iter().enumerate() {
            let left = MARGIN + number(column) * (width + GAP);
            panel(&mut body, title, bars, (left, top), width);
        }
        top += HEAD + number(rows(line)) * ROW + 24.0;
    }
    let height = top + 8.0;
    let subtitle = escaped(&report.machine.line());
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" width="{WIDTH:.0}" height="{height:.0}" role="img" aria-label="Latency of Seer's functions beside a floor and other designs">
<style>{STYLE}</style>
<rect class="paper" width="{WIDTH:.0}" height="{height:.0}" rx="6"/>
<text class="title" x="{MARGIN}" y="36">One request of a Lambda function to PostgreSQL, in milliseconds</text>
<text class="quiet" x="{MARGIN}" y="56">{subtitle}</text>
<text class="quiet" x="{MARGIN}" y="74">× is over the floor of the same run: the same statement on one held connection, nothing checked. Other designs run SELECT 1.</text>
{body}</svg>"#
    )
}

fn summaries(report: &Report, measure: Measure) -> Vec<&Summary> {
    (0..report.subjects.len())
        .filter_map(|place| report.of(measure, place))
        .collect()
}

/// Draws a title, the bars, and the axis below them. Bars are medians; whiskers extend to the 95th percentile.
fn panel(to: &mut String, title: &str, bars: &[&Summary], (left, top): (f64, f64), width: f64) {
    let plot = width - NAMES - VALUES;
    let from = left + NAMES;
    let longest = bars.iter().map(|summary| summary.median).fold(0.0, f64::max);
    let step = step(longest);
    let end = (longest / step).ceil() * step;
    let scale = |milliseconds: f64| from + plot * (milliseconds / end).min(1.0);
    let bottom = top + 16.0 + number(bars.len()) * ROW;
    let _ = writeln!(
        to,
        r#"<text class="panel" x="{left:.1}" y="{top:.1}">{}</text>"#,
        escaped(title)
    );
    let mut tick = 0.0;
    while tick <= end + step / 2.0 {
        let x = scale(tick);
        let _ = writeln!(
            to,
            r#"<line class="line" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{bottom:.1}"/><text class="quiet" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            top + 12.0,
            bottom + 15.0,
            label(tick)
        );
        tick += step;
    }
    let _ = writeln!(
        to,
        r#"<text class="quiet" x="{:.1}" y="{:.1}" text-anchor="middle">milliseconds (bar: median, line: to the 95th percentile)</text>"#,
        from + plot / 2.0,
        bottom + 31.0
    );
    for (row, summary) in bars.iter().enumerate() {
        let y = top + 18.0 + number(row) * ROW;
        let middle = y + BAR / 2.0;
        let class = match summary.subject.as_str() {
            "floor" => "floor",
            "Seer" => "ours",
            _ => "peer",
        };
        let text = format!("{} ({}×)", value(summary, summary.median), ratio(summary));
        let _ = writeln!(
            to,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text><rect class="{class}" x="{from:.1}" y="{y:.1}" width="{:.1}" height="{BAR}"/><line class="spread" x1="{:.1}" x2="{:.1}" y1="{middle:.1}" y2="{middle:.1}"/><text x="{:.1}" y="{:.1}">{text}</text>"#,
            from - 8.0,
            middle + 4.0,
            escaped(&summary.subject),
            (scale(summary.median) - from).max(1.0),
            scale(summary.median),
            scale(summary.p95),
            scale(summary.p95.max(summary.median)) + 6.0,
            middle + 4.0,
        );
    }
}

/// Returns the distance between ticks: 1, 2 or 5 times a power of ten, so that there are four to eight of them.
fn step(longest: f64) -> f64 {
    let power = 10_f64.powf((longest.max(0.001) / 4.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    let fits = steps.into_iter().find(|step| longest / step <= 5.0);
    fits.unwrap_or(power * 10.0)
}

fn label(tick: f64) -> String {
    let text = format!("{tick:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (longest, expected) in [
            (0.31, 0.1),
            (0.8, 0.2),
            (4.0, 1.0),
            (6.8, 2.0),
            (24.0, 5.0),
            (620.0, 200.0),
        ] {
            let step = step(longest);
            assert!((step - expected).abs() < 1e-9, "{longest}: {step}");
        }
    }

    #[test]
    fn labels_have_no_trailing_zeros() {
        assert_eq!(
            [label(0.0), label(0.25), label(1.5), label(200.0)],
            ["0", "0.25", "1.5", "200"]
        );
    }
}
