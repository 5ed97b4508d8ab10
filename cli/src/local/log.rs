//! Formats what happens in the backend for developers: a line per request, and the functions' log with its JSON
//! unpacked.
//!
//! Each line begins with the time in UTC, and everything goes to standard error. Colours carry no information of their
//! own, and a closed terminal is no reason to stop.

use std::io::{Write as _, stderr};

use console::Style;
use local::gateway::Answered;
use serde_json::{Map, Value};

/// Prints a request with its answer.
pub(crate) fn answered(answer: &Answered<'_>) {
    let now = chrono::Utc::now().format("%H:%M:%S").to_string();
    let _ = writeln!(stderr(), "{}", request(&now, answer));
}

/// Prints a line of a function's log, except the one about a request without an error: the gateway's has the same.
pub(crate) fn show(function: &str, line: &str) {
    let fields = serde_json::from_str::<Map<String, Value>>(line);
    let shown = match &fields {
        Ok(fields) if is(fields, "message", "answered") && is(fields, "level", "INFO") => return,
        Ok(fields) => readable(function, fields),
        Err(_) => format!("{function} | {line}"),
    };
    let _ = writeln!(stderr(), "{shown}");
}

fn is(fields: &Map<String, Value>, name: &str, value: &str) -> bool {
    fields.get(name).and_then(Value::as_str) == Some(value)
}

/// Formats a request: `12:01:03 POST   422     3 ms  /api/meetings  teamMemberId: is required`.
fn request(now: &str, answer: &Answered<'_>) -> String {
    let style = match answer.status {
        500.. => Style::new().red().bold(),
        400.. => Style::new().yellow(),
        _ => Style::new().green(),
    };
    let reason = answer.reason.map_or_else(String::new, |reason| {
        format!("  {}", style.clone().for_stderr().apply_to(reason))
    });
    format!(
        "{} {:<6} {} {:>5} ms  {}{reason}",
        Style::new().dim().for_stderr().apply_to(now),
        answer.method,
        style.for_stderr().apply_to(answer.status),
        answer.took.as_millis(),
        answer.path,
    )
}

/// Shown in front of the line, or the same in each.
const KNOWN: [&str; 5] = ["timestamp", "level", "message", "service", "function_name"];

/// Formats time of day, level, function and message, then all other fields as `name=value`.
fn readable(function: &str, fields: &Map<String, Value>) -> String {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (time, level) = (text("timestamp").get(11..19).unwrap_or_default(), text("level"));
    let style = match level {
        "ERROR" => Style::new().red().bold(),
        "WARN" => Style::new().yellow(),
        _ => Style::new(),
    };
    let mut shown = format!(
        "{} {} {function}: {}",
        Style::new().dim().for_stderr().apply_to(time),
        style.for_stderr().apply_to(format!("{level:<6}")),
        text("message")
    );
    for (name, value) in fields.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str())) {
        shown.push_str(&match value {
            Value::String(value) => format!(" {name}={value}"),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                format!(" {name}={value}")
            }
        });
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn line_loses_only_date_and_braces() {
        let line = r#"{"timestamp":"2026-11-23T05:22:58.208226Z","level":"WARN","message":"tried again","attempt":2,
            "cause":"refused","service":"seer","function_name":"users-me","function_request_id":"e9","cold_start":true}"#;
        console::set_colors_enabled_stderr(false);
        assert_eq!(
            readable("users-me", &serde_json::from_str(line).unwrap()),
            "05:22:58 WARN   users-me: tried again attempt=2 cause=refused cold_start=true function_request_id=e9"
        );
    }

    #[test]
    fn request_lines_align_and_end_with_the_reason() {
        console::set_colors_enabled_stderr(false);
        let answer = |method, path, status, took, reason| {
            let took = Duration::from_millis(took);
            request(
                "12:01:03",
                &Answered {
                    method,
                    path,
                    status,
                    took,
                    reason,
                },
            )
        };
        assert_eq!(
            answer("POST", "/api/meetings", 422, 3, Some("teamMemberId: is required")),
            "12:01:03 POST   422     3 ms  /api/meetings  teamMemberId: is required"
        );
        assert_eq!(
            answer("DELETE", "/api/meetings/1", 204, 1_250, None),
            "12:01:03 DELETE 204  1250 ms  /api/meetings/1"
        );
    }
}
