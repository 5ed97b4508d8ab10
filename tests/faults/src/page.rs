//! The report as one self-contained HTML page: the table, and a chart of each scenario over time.
//!
//! Invariants: no script, and no resource from a network.

use std::fmt::Write as _;

use super::chart::{COLOURS, MARKS, escaped, picture};
use super::played::Played;
use super::table::{HEADER, Line, cells};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:62rem;margin:2rem auto;\
padding:0 1rem}h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:0}p{margin:.25rem 0}.dim{color:var(--dim)}\
table{border-collapse:collapse;width:100%;margin:1rem 0;font-variant-numeric:tabular-nums}\
th,td{text-align:right;padding:.2rem .5rem;border-bottom:1px solid var(--line);white-space:nowrap}\
th:first-child,td:first-child{text-align:left}th{color:var(--dim);font-weight:500}a{color:inherit}\
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8rem 1rem;margin:1rem 0}\
svg{width:100%;height:auto;display:block}.wide{overflow-x:auto}\
b.ok,b.refused,b.broken{stroke:none}b.ok{color:var(--ok)}\
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
         <meta name=\"viewport\" content=\"width=device-width\"><style>{COLOURS}{MARKS}{STYLE}</style>\
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

/// Returns a number of things, with a noun in singular or plural.
fn several(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::history::{Entry, Seen};
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
        let mut played = Played::example(vec![
            entry(1, Seen::Served(200)),
            entry(2, Seen::Refused),
            entry(3, broken),
        ]);
        played.verdict.wrong = vec!["a & b".to_owned()];
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
