//! Reads stored values that another program may have written, so that one unusual value does not fail a list.
//!
//! For `#[serde(with = …)]` and `#[serde(deserialize_with = …)]` on the fields of a row that is read as jsonb.
//! Invariants: a value that a type can represent is unchanged, and times keep the order that they have in the table.

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, de};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

/// A `timestamptz`, for `#[serde(with = …)]`. `infinity` is read as [`DateTime::MAX_UTC`] and `-infinity` as
/// [`DateTime::MIN_UTC`], so that a cursor continues after such a row; [`Timestamp`] is the way back. A client sees years
/// after 9999 as the end of the year 9999, and years before 1 as the start of the year 1: RFC 3339 has no others.
pub mod time {
    use super::{DateTime, Deserialize as _, Deserializer, Utc, clamped, de, read};
    use serde::{Serialize as _, Serializer};

    /// Deserializes the text that jsonb has.
    ///
    /// # Errors
    /// Fails for text that is no timestamp of PostgreSQL.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        let text = String::deserialize(deserializer)?;
        read(&text).ok_or_else(|| de::Error::custom("is no time of PostgreSQL"))
    }

    /// Serializes a time of RFC 3339.
    ///
    /// # Errors
    /// Fails if the serializer does.
    pub fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        clamped(*time).serialize(serializer)
    }
}

/// A nullable `timestamptz`; see [`time`].
pub mod optional_time {
    use super::{DateTime, Deserialize as _, Deserializer, Utc, clamped, de, read};
    use serde::{Serialize as _, Serializer};

    /// Deserializes the text that jsonb has.
    ///
    /// # Errors
    /// Fails for text that is no timestamp of PostgreSQL.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let time = text.map(|text| read(&text).ok_or_else(|| de::Error::custom("is no time of PostgreSQL")));
        time.transpose()
    }

    /// Serializes a time of RFC 3339, or null.
    ///
    /// # Errors
    /// Fails if the serializer does.
    pub fn serialize<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(clamped).serialize(serializer)
    }
}

/// A parameter that is compared with a stored time: [`DateTime::MAX_UTC`] is `infinity`, [`DateTime::MIN_UTC`] is
/// `-infinity`.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp(pub DateTime<Utc>);

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Self(time) = self;
        if *time == DateTime::<Utc>::MAX_UTC {
            Encode::<Postgres>::encode_by_ref(&i64::MAX, buffer)
        } else if *time == DateTime::<Utc>::MIN_UTC {
            Encode::<Postgres>::encode_by_ref(&i64::MIN, buffer)
        } else {
            Encode::<Postgres>::encode_by_ref(time, buffer)
        }
    }
}

/// Returns the nearest time of the years 1 to 9999, which RFC 3339 can represent.
#[must_use]
pub fn clamped(time: DateTime<Utc>) -> DateTime<Utc> {
    let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
    let first = day(1, 1, 1).and_time(chrono::NaiveTime::MIN).and_utc();
    let end = day(10_000, 1, 1).and_time(chrono::NaiveTime::MIN).and_utc();
    time.clamp(first, end - TimeDelta::microseconds(1))
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
    match text {
        "infinity" => return Some(DateTime::<Utc>::MAX_UTC),
        "-infinity" => return Some(DateTime::<Utc>::MIN_UTC),
        _ => {}
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    // Another year than those of RFC 3339: of more than four digits, or before Christ.
    let (time, before_christ) = text.strip_suffix(" BC").map_or((text, false), |time| (time, true));
    let (year, rest) = time.split_once('-')?;
    let digits = year.len() >= 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    let year: i32 = year.parse().ok().filter(|_| digits)?;
    let year = if before_christ { 1 - year } else { year };
    let read = |year: i32| DateTime::parse_from_str(&format!("{year:+05}-{rest}"), "%Y-%m-%dT%H:%M:%S%.f%:z").ok();
    match read(year) {
        Some(time) => Some(time.to_utc()),
        // PostgreSQL has more years than chrono. Such a time is not infinite: a page must not begin with it again.
        None if year > DateTime::<Utc>::MAX_UTC.year() => {
            read(2000).map(|_| DateTime::<Utc>::MAX_UTC - TimeDelta::seconds(1))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[derive(Debug, Deserialize, serde::Serialize)]
    struct Row {
        #[serde(with = "time")]
        at: DateTime<Utc>,
        #[serde(with = "optional_time")]
        ended: Option<DateTime<Utc>>,
        #[serde(deserialize_with = "lines")]
        lines: Vec<String>,
    }

    fn row(at: Value, ended: Value, lines: Value) -> Result<Row, String> {
        let row = json!({"at": at, "ended": ended, "lines": lines});
        serde_json::from_value(row).map_err(|error| error.to_string())
    }

    /// In the order of PostgreSQL, with the time that a client sees.
    const TIMES: [(&str, &str); 12] = [
        ("-infinity", "0001-01-01T00:00:00Z"),
        ("4714-11-24T00:00:00+00:00 BC", "0001-01-01T00:00:00Z"),
        ("0044-03-15T00:00:00+00:00 BC", "0001-01-01T00:00:00Z"),
        ("0001-12-31T23:59:59+00:00 BC", "0001-01-01T00:00:00Z"),
        ("0001-01-01T00:00:01+00:00", "0001-01-01T00:00:01Z"),
        ("2031-03-04T09:30:00.25+05:45", "2031-03-04T03:45:00.250Z"),
        ("9999-12-31T23:59:59.999999+00:00", "9999-12-31T23:59:59.999999Z"),
        ("9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59.999999Z"),
        ("10000-02-29T00:00:00+00:00", "9999-12-31T23:59:59.999999Z"),
        ("262000-01-01T00:00:00.5+00:00", "9999-12-31T23:59:59.999999Z"),
        ("294276-12-31T23:59:59.999999+00:00", "9999-12-31T23:59:59.999999Z"),
        ("infinity", "9999-12-31T23:59:59.999999Z"),
    ];

    #[test]
    fn times_keep_their_order() {
        let mut last = None;
        for (text, shown) in TIMES {
            let row = row(json!(text), json!(text), json!([])).unwrap();
            assert!(last < Some(row.at), "{text}");
            assert_eq!(row.ended, Some(row.at), "{text}");
            last = Some(row.at);
            let row = serde_json::to_value(row).unwrap();
            assert_eq!((&row["at"], &row["ended"]), (&json!(shown), &json!(shown)), "{text}");
        }
        for text in [
            "",
            "soon",
            "99999",
            "2031-13-01T00:00:00+00:00",
            "10001-02-29T00:00:00+00:00",
            "294276-13-01T00:00:00+00:00",
            "+10000-01-01T00:00:00+00:00",
            " BC",
        ] {
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
