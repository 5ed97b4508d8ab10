//! Reads single values of a delivery, in each form in which senders write them, and counts those that it cannot read.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::fields::Time;
use shared::http::Error;

/// The members of a delivery's `data`, and those beside it, where early senders put the bot and more. Null is no value.
pub(super) struct Members {
    data: Map<String, Value>,
    body: Map<String, Value>,
}

impl Members {
    /// # Errors
    /// Fails with 422 if `data` is not an object.
    pub(super) fn of(mut body: Map<String, Value>) -> Result<Self, Error> {
        let data = match given(&mut body, "data") {
            Some(Value::Object(data)) => data,
            Some(_) => return Err(Error::field("data", "must be an object")),
            None => Map::new(),
        };
        Ok(Self { data, body })
    }

    /// Takes the first of these members that has a value.
    pub(super) fn take(&mut self, names: &[&str]) -> Option<Value> {
        let Self { data, body } = self;
        names
            .iter()
            .find_map(|name| given(data, name).or_else(|| given(body, name)))
    }

    /// Takes all of these members that have a value, in this order.
    pub(super) fn take_all(&mut self, names: &[&str]) -> Vec<Value> {
        let Self { data, body } = self;
        let values = names.iter().flat_map(|name| [given(data, name), given(body, name)]);
        values.flatten().collect()
    }
}

/// The number of values that could not be read.
#[derive(Debug, Serialize)]
pub(super) struct Skipped(usize);

impl Skipped {
    pub(super) fn new(count: usize) -> Self {
        Self(count)
    }

    pub(super) fn count(&self) -> usize {
        self.0
    }

    pub(super) fn add(&mut self, count: usize) {
        self.0 += count;
    }

    /// Returns what was read, and counts one that was not.
    pub(super) fn checked<T>(&mut self, read: Option<T>) -> Option<T> {
        self.0 += usize::from(read.is_none());
        read
    }

    /// Returns a value that follows its type's rule, and counts one that does not. Null is no value.
    pub(super) fn usable<T: DeserializeOwned>(&mut self, value: Option<Value>) -> Option<T> {
        let value = value.filter(|value| !value.is_null())?;
        self.checked(serde_json::from_value(value).ok())
    }

    /// Returns the first value that follows its type's rule, without the white space around it, and counts those before
    /// that do not. Empty text is no value.
    pub(super) fn first_usable<T: DeserializeOwned>(&mut self, values: Vec<Value>) -> Option<T> {
        values.into_iter().find_map(|value| {
            let trimmed = value.as_str().map(|text| Value::from(text.trim()));
            let value = trimmed.unwrap_or(value);
            self.usable((value != "").then_some(value))
        })
    }

    /// Returns the items of an array; see [`usable`](Self::usable).
    pub(super) fn items(&mut self, value: Option<Value>) -> Option<Vec<Value>> {
        self.usable(value)
    }
}

/// Takes a member that is not null.
pub(super) fn given(members: &mut Map<String, Value>, name: &str) -> Option<Value> {
    members.remove(name).filter(|value| !value.is_null())
}

/// Returns a speaker's name, which is text, a number, or the `name` of an object.
pub(super) fn name(speaker: Value) -> Option<String> {
    match speaker {
        Value::String(name) => Some(name),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(mut speaker) => match given(&mut speaker, "name") {
            Some(Value::String(name)) => Some(name),
            _ => None,
        },
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    }
}

/// Returns a finite number, which may be written as text.
pub(super) fn number_of(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.as_f64(),
    };
    number.filter(|number: &f64| number.is_finite())
}

/// Returns a time: RFC 3339, the same without an offset (UTC) or with a space, or a Unix time in seconds, or in
/// milliseconds if it is too large for seconds.
pub(super) fn time_of(value: &Value) -> Option<DateTime<Utc>> {
    /// The year 5138 in seconds, and 1973 in milliseconds.
    const MOST_SECONDS: f64 = 1e11;
    if let Some(number) = number_of(value) {
        let seconds = if number < MOST_SECONDS { number } else { number / 1e3 };
        return usable_time(DateTime::from_timestamp_micros((seconds * 1e6) as i64)?);
    }
    let text = value.as_str()?.trim().replacen(' ', "T", 1);
    // With and without an offset.
    let time = DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f%#z").map(|time| time.to_utc());
    let time =
        time.or_else(|_| NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc()));
    usable_time(time.ok()?)
}

/// Returns the time in PostgreSQL's microseconds if a meeting could have it too.
fn usable_time(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let time = serde_json::from_value::<Time>(Value::String(time.to_rfc3339()));
    time.ok().map(Time::at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn time_is_read_in_each_form() {
        let expected = "2031-03-04T09:00:20.5Z".parse().ok();
        for sent in [
            json!("2031-03-04T09:00:20.5Z"),
            json!("2031-03-04T10:00:20.500000+01:00"),
            json!("2031-03-04T10:00:20.5+0100"),
            json!("2031-03-04 09:00:20.5+00"),
            json!("2031-03-04 09:00:20.5"),
            json!("2031-03-04T09:00:20.5"),
            json!(1_930_381_220.5),
            json!("1930381220.5"),
            json!(1_930_381_220_500_u64),
            json!("1930381220500"),
        ] {
            assert_eq!(time_of(&sent), expected, "{sent}");
        }
        for sent in [
            json!("yesterday"),
            json!(""),
            json!("2031-03-04"),
            json!("1969-12-31T23:59:59Z"),
            json!("+10000-01-01T00:00:00Z"),
            json!(-1),
            json!(1e300),
            json!("inf"),
            json!(true),
            json!(["2031-03-04T09:00:20Z"]),
        ] {
            assert_eq!(time_of(&sent), None, "{sent}");
        }
    }

    #[test]
    fn number_may_be_text() {
        for (sent, expected) in [
            (json!(-0.5), Some(-0.5)),
            (json!(" 1.25 "), Some(1.25)),
            (json!("1e400"), None),
            (json!("NaN"), None),
            (json!(""), None),
            (json!([1]), None),
        ] {
            assert_eq!(number_of(&sent), expected, "{sent}");
        }
    }

    #[test]
    fn null_hides_no_other_member() {
        let body = json!({"data": {"event_uuid": null, "event_id": "e", "bot_id": null}, "bot_id": "b", "mp4": "m"});
        let Value::Object(body) = body else { panic!() };
        let mut members = Members::of(body).unwrap();
        assert_eq!(members.take(&["event_uuid", "event_id"]), Some(json!("e")));
        assert_eq!(members.take(&["bot_id"]), Some(json!("b")));
        assert_eq!(members.take(&["mp4"]), Some(json!("m")));
        assert_eq!(members.take(&["mp4"]), None);
    }
}
