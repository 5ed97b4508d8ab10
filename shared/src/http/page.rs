//! Keyset pagination: a page ends at its last item, and the next begins there, regardless of rows inserted meanwhile.
//!
//! The answer to a list is a bare JSON array. If there is a next page, a Link header has its address (RFC 8288), whose
//! `cursor` is opaque to clients: base64url of a timestamp and an id, the list's sort key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike as _, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use super::response::Response;
use super::size::{ANSWER_LIMIT, fitting};

/// The maximum number of items on a page, and their number without a limit: most lists then have one page.
const MAX_ROWS: u16 = 1_000;

/// The number of items on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u16);

#[cfg(feature = "openapi")]
crate::schema!(Limit, |schema| {
    let bounds = schema
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(MAX_ROWS));
    bounds.default(Some(MAX_ROWS.into()))
});

impl Limit {
    /// Returns the limit as a number of rows.
    pub fn rows(self) -> usize {
        usize::from(self.0)
    }

    /// Returns one row more than the page has, which tells whether there is a next page.
    pub fn rows_and_one(self) -> i64 {
        i64::from(self.0) + 1
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(MAX_ROWS)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|limit| digits && (1..=MAX_ROWS).contains(limit))
            .map(Self)
            .ok_or_else(|| de::Error::custom(format_args!("must be a whole number from 1 to {MAX_ROWS}")))
    }
}

/// The rule in the error for an invalid cursor.
pub const CURSOR_RULE: &str = "must be the cursor of a Link header as it was received";

/// The query string of a list without filters: the limit of a page, and where it begins.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageQuery {
    /// The limit.
    pub limit: Limit,
    /// The end of the previous page; `None` for the first.
    pub cursor: Option<Cursor>,
}

/// The end of a page: the sort key of its last item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The list's timestamp, for example an order's date; in microseconds, like PostgreSQL. Bound as a
    /// [`Timestamp`](crate::stored::Timestamp), because a row's may be infinite.
    pub at: DateTime<Utc>,
    /// The tie breaker.
    pub id: Uuid,
}

impl Cursor {
    /// Sorts before every item of a list that begins with the newest.
    pub const NEWEST: Self = Self {
        at: DateTime::<Utc>::MAX_UTC,
        id: Uuid::max(),
    };

    /// Sorts before every item of a list that begins with the oldest.
    pub const OLDEST: Self = Self {
        at: DateTime::<Utc>::MIN_UTC,
        id: Uuid::nil(),
    };

    fn encode(&self) -> String {
        let mut bytes = [0; 24];
        let (at, id) = bytes.split_at_mut(8);
        at.copy_from_slice(&self.at.timestamp_micros().to_be_bytes());
        id.copy_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (at, id) = bytes.split_first_chunk::<8>()?;
        let at = i64::from_be_bytes(*at);
        let at = [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC]
            .into_iter()
            .find(|infinite| infinite.timestamp_micros() == at)
            // chrono represents years that PostgreSQL's timestamptz cannot: it begins in 4714 BC.
            .or_else(|| DateTime::from_timestamp_micros(at).filter(|at| at.year() > -4713))?;
        Some(Self {
            at,
            id: Uuid::from_slice(id).ok()?,
        })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::decode(&text).ok_or_else(|| de::Error::custom(CURSOR_RULE))
    }
}

/// One page of a list; [`Request::page`](super::Request::page) makes the answer.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In the list's order; an answer has as many of them as fit.
    pub items: Vec<T>,
    /// The number of rows that were found, up to one more than the limit.
    fetched: usize,
    key: fn(&T) -> Cursor,
}

impl<T: Serialize> Page<T> {
    /// Returns a page of `limit` from rows that were fetched with [`Limit::rows_and_one`]; it ends early if
    /// more would not fit an answer. `key` is the list's sort key.
    pub fn of(items: Vec<T>, limit: Limit, key: fn(&T) -> Cursor) -> Self {
        let fetched = items.len();
        Self::of_fetched(items, fetched, limit, key)
    }

    /// Returns a page of `limit` from the first of `fetched` rows; see [`of`](Self::of).
    pub fn of_fetched(mut items: Vec<T>, fetched: usize, limit: Limit, key: fn(&T) -> Cursor) -> Self {
        items.truncate(limit.rows());
        Self { items, fetched, key }
    }

    /// Returns the answer, and the cursor of the next page.
    pub fn written(&self) -> (Response, Option<Cursor>) {
        let mut items = &self.items[..];
        let mut response = Response::ok(&items);
        if !response.fits() {
            // An item that fits no answer does not end the list.
            items = &items[..fitting(items, ANSWER_LIMIT).max(1)];
            response = Response::ok(&items);
        }
        let next = items.last().filter(|_| items.len() < self.fetched).map(self.key);
        (response, next)
    }
}

/// Returns the address of the page that begins at `cursor`, from the path and the query string of the page before.
pub(super) fn next_address(path: &str, query: &str, cursor: &Cursor) -> String {
    let others = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "cursor");
    let mut next = url::form_urlencoded::Serializer::new(String::new());
    let query = next
        .extend_pairs(others)
        .append_pair("cursor", &cursor.encode())
        .finish();
    format!("{path}?{query}")
}

#[cfg(test)]
mod tests {
    use super::super::size::weight;
    use super::*;
    use local::mutation;

    #[test]
    fn cursor_round_trips() {
        for case in 0..mutation::cases(500) {
            let mut random = fastrand::Rng::with_seed(case);
            let at = DateTime::from_timestamp_micros(random.i64(0..=253_402_300_799_999_999)).unwrap();
            let id = Uuid::from_u128(random.u128(..));
            let cursor = Cursor { at, id };
            assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }
    }

    #[test]
    fn decoded_cursor_is_one_of_postgresql() {
        let corpus = [Cursor::NEWEST, Cursor::OLDEST].map(|cursor| cursor.encode());
        for case in 0..mutation::cases(2_000) {
            let mut bytes = [0; 24];
            fastrand::Rng::with_seed(case).fill(&mut bytes);
            for text in [URL_SAFE_NO_PAD.encode(bytes), mutation::mutated(case, &corpus)] {
                let Some(cursor) = Cursor::decode(&text) else { continue };
                assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
                assert!(
                    cursor.at == DateTime::<Utc>::MIN_UTC || cursor.at.year() > -4713,
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn infinite_cursors_round_trip() {
        for cursor in [Cursor::NEWEST, Cursor::OLDEST] {
            assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }
    }

    #[test]
    fn page_ends_at_the_answer_limit() {
        let key = |_: &String| Cursor::NEWEST;
        let limit = Limit(100);
        // Seven bytes each in an answer.
        let long = "\u{1}".repeat(ANSWER_LIMIT / 30);
        let (response, next) = Page::of(vec![long.clone(); 5], limit, key).written();
        assert_eq!(response, Response::ok(&vec![long; 4]));
        assert_eq!(next, Some(Cursor::NEWEST));
        // With its commas and brackets, one more of these would be too much.
        let short = vec!["x".repeat(ANSWER_LIMIT / 1_000 - 4); 1_000];
        let page = Page::of(short.clone(), Limit::default(), key);
        let fitting = fitting(&page.items, ANSWER_LIMIT);
        assert!(weight(&&short[..fitting]) <= ANSWER_LIMIT && weight(&&short[..=fitting]) > ANSWER_LIMIT);
        assert_eq!(page.written().0, Response::ok(&&short[..fitting]));
        let too_long = "x".repeat(ANSWER_LIMIT);
        let (response, next) = Page::of(vec![too_long.clone(); 2], limit, key).written();
        let why = "an item that fits no answer does not end the list";
        assert_eq!(response, Response::ok(&[too_long]), "{why}");
        assert!(next.is_some());
    }

    #[test]
    fn last_page_has_no_cursor() {
        let key = |n: &u32| Cursor {
            at: DateTime::UNIX_EPOCH,
            id: Uuid::from_u128(u128::from(*n)),
        };
        let limit = Limit(2);
        let page = |items| Page::of(items, limit, key).written();
        assert_eq!(page(vec![1, 2]), (Response::ok(&[1, 2]), None));
        assert_eq!(page(vec![1, 2, 3]), (Response::ok(&[1, 2]), Some(key(&2))));
    }

    #[test]
    fn next_address_keeps_the_filter() {
        let cursor = Cursor::OLDEST;
        let expected = format!(
            "/notes?limit=2&from=2031-03-04T09%3A30%3A00%2B01%3A00&cursor={}",
            cursor.encode()
        );
        for old in ["", "&cursor=old"] {
            let query = format!("limit=2{old}&from=2031-03-04T09:30:00%2B01:00");
            assert_eq!(next_address("/notes", &query, &cursor), expected);
        }
        assert_eq!(
            next_address("/notes", "", &cursor),
            format!("/notes?cursor={}", cursor.encode())
        );
    }

    #[test]
    fn limit_out_of_range_is_refused() {
        for bad in ["0", "1001", "-1", "1.5", "abc", "", "+5", "99999999999999999999"] {
            assert!(serde_json::from_value::<Limit>(bad.into()).is_err(), "{bad}");
        }
        assert_eq!(serde_json::from_value::<Limit>("1000".into()).unwrap().rows(), 1_000);
    }
}
