//! Deserializes values of rows that something else than this program has written: one odd value does not fail a list.
//!
//! For `#[serde(deserialize_with = …)]` on the fields of a row that is read as jsonb. Invariants: a value that a type
//! can represent is unchanged.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, de};

/// Deserializes a `timestamptz`. `infinity` and years after 9999 become the end of the year 9999, `-infinity` and years
/// before 1 the start of the year 1: RFC 3339 has no others.
///
/// # Errors
/// Fails for text that is no timestamp of PostgreSQL.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    read(&text).ok_or_else(|| de::Error::custom("is no time of PostgreSQL"))
}

/// Deserializes a nullable `timestamptz`; see [`time`].
///
/// # Errors
/// As [`time`].
pub fn optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let time = text.map(|text| read(&text).ok_or_else(|| de::Error::custom("is no time of PostgreSQL")));
    time.transpose()
}

/// Deserializes a `text[]`. Null elements are left out, and an array of several dimensions is read in its order.
///
/// # Errors
/// Fails for an element that is no text.
pub fn lines<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Element {
        Text(String),
        Row(Vec<Option<Element>>),
    }
    fn flatten(elements: Vec<Option<Element>>, into: &mut Vec<String>) {
        for element in elements.into_iter().flatten() {
            match element {
                Element::Text(text) => into.push(text),
                Element::Row(inner) => flatten(inner, into),
            }
        }
    }
    let mut lines = Vec::new();
    flatten(Vec::deserialize(deserializer)?, &mut lines);
    Ok(lines)
}

fn read(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let clamped = if text == "-infinity" || text.ends_with(" BC") {
        NaiveDate::from_ymd_opt(1, 1, 1)?.and_hms_opt(0, 0, 0)?
    } else if text == "infinity" || is_late(text) {
        NaiveDate::from_ymd_opt(9999, 12, 31)?.and_hms_micro_opt(23, 59, 59, 999_999)?
    } else {
        return None;
    };
    Some(clamped.and_utc())
}

/// Returns whether it is a time in a year of more than four digits.
fn is_late(text: &str) -> bool {
    let (year, _) = text.split_once('-').unwrap_or_default();
    year.len() > 4 && year.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Datelike as _;
    use serde_json::{Value, json};

    #[derive(Debug, Deserialize)]
    struct Row {
        #[serde(deserialize_with = "time")]
        at: DateTime<Utc>,
        #[serde(deserialize_with = "optional_time")]
        ended: Option<DateTime<Utc>>,
        #[serde(deserialize_with = "lines")]
        lines: Vec<String>,
    }

    fn row(at: Value, ended: Value, lines: Value) -> Result<Row, String> {
        let row = json!({"at": at, "ended": ended, "lines": lines});
        serde_json::from_value(row).map_err(|error| error.to_string())
    }

    #[test]
    fn time_out_of_range_is_clamped() {
        for (text, year) in [
            ("infinity", 9999),
            ("10000-01-01T00:00:00+00:00", 9999),
            ("294276-12-31T23:59:59.999999+00:00", 9999),
            ("2031-03-04T09:30:00+00:00", 2031),
            ("0044-03-15T00:00:00+00:00 BC", 1),
            ("-infinity", 1),
        ] {
            let row = row(json!(text), json!(text), json!([])).unwrap();
            assert_eq!((row.at.year(), row.ended), (year, Some(row.at)), "{text}");
        }
        for text in ["", "soon", "99999", "2031-13-01T00:00:00+00:00"] {
            assert!(row(json!(text), Value::Null, json!([])).is_err(), "{text}");
        }
        assert_eq!(row(json!("infinity"), Value::Null, json!([])).unwrap().ended, None);
    }

    #[test]
    fn odd_arrays_are_read() {
        let lines = |value: Value| row(json!("infinity"), Value::Null, value).map(|row| row.lines);
        assert_eq!(lines(json!(["a", null, "b"])).unwrap(), ["a", "b"]);
        assert_eq!(lines(json!([["a", "b"], ["c", null]])).unwrap(), ["a", "b", "c"]);
        assert_eq!(lines(json!([null])).unwrap(), [""; 0]);
        assert!(lines(json!([1])).is_err() && lines(json!("a")).is_err());
    }
}
