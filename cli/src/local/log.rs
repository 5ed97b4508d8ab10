//! Formats a function's log for developers: one line per entry, prefixed with the function's name, with the JSON
//! unpacked.

use std::io::{Write as _, stderr};

use serde_json::{Map, Value};

/// Prints a line on standard error.
pub(crate) fn show(function: &str, line: &str) {
    let shown = serde_json::from_str(line).map_or_else(|_| line.to_owned(), |fields| readable(&fields));
    // A closed terminal is no reason to stop.
    let _ = writeln!(stderr(), "{function} | {shown}");
}

/// Prints a request that reached no function.
pub(crate) fn refused(method: &str, path: &str, status: u16) {
    let _ = writeln!(stderr(), "gateway | {status} {method} {path}");
}

/// Shown in front of the line, or the same in each.
const KNOWN: [&str; 5] = ["timestamp", "level", "message", "service", "function_name"];

/// Formats time of day, level and message, then all other fields as `name=value`.
fn readable(fields: &Map<String, Value>) -> String {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let time = text("timestamp").get(11..23).unwrap_or_default();
    let mut shown = format!("{time} {:<5} {}", text("level"), text("message"));
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
    use super::*;

    #[test]
    fn line_loses_only_date_and_braces() {
        let line = r#"{"timestamp":"2026-11-23T05:22:58.208226Z","level":"WARN","message":"tried again","attempt":2,
            "cause":"refused","service":"seer","function_name":"users-me","function_request_id":"e9","cold_start":true}"#;
        assert_eq!(
            readable(&serde_json::from_str(line).unwrap()),
            "05:22:58.208 WARN  tried again attempt=2 cause=refused cold_start=true function_request_id=e9"
        );
    }
}
