//! Reads a transcript leniently: turns of words with times become JSON of one form, or lines if that is too long.

use serde::Serialize;
use serde_json::{Map, Value};

use super::values::{Skipped, given, name, number_of};
use shared::http::size::{self, weight};

/// The speaker of a turn that names none.
const UNKNOWN_SPEAKER: &str = "Unknown";

/// The size of a transcript in an answer, in bytes. It leaves the rest of a meeting a megabyte of the answer. A longer one
/// is kept without the words' times, and if that does not suffice without its end, because the meeting must stay readable.
pub(super) const LONGEST: usize = 5_000_000;

/// One speaker's words, as the transcript holds them.
#[derive(Debug, PartialEq, Serialize)]
struct Turn {
    speaker: String,
    words: Vec<Word>,
}

/// A word and its times, in seconds from the start of the recording.
#[derive(Debug, PartialEq, Serialize)]
struct Word {
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<f64>,
    word: String,
}

/// Returns the turns as JSON with the words' times, or as a line each if that does not fit an answer; `None` without a
/// word.
pub(super) fn of(turns: Vec<Value>, skipped: &mut Skipped) -> Option<String> {
    let turns: Vec<_> = turns.into_iter().filter_map(|turn| Turn::of(turn, skipped)).collect();
    if turns.iter().all(|turn| turn.words.is_empty()) {
        return None;
    }
    let timed = serde_json::to_string(&turns).unwrap_or_default();
    if weight(&timed) <= LONGEST {
        return Some(timed);
    }
    tracing::warn!("a transcript is too long for an answer, and is stored without the words' times");
    Some(cut(turns.iter().map(Turn::line).collect::<Vec<_>>().join("\n")))
}

/// Returns the beginning of a transcript, as much as fits an answer.
pub(super) fn cut(mut text: String) -> String {
    let whole = text.len();
    size::cut_to(&mut text, LONGEST);
    if text.len() < whole {
        tracing::warn!("a transcript is too long for an answer, and is stored without its end");
    }
    text
}

impl Turn {
    fn of(turn: Value, skipped: &mut Skipped) -> Option<Self> {
        let Value::Object(mut turn) = turn else {
            skipped.add(1);
            return None;
        };
        let speaker = skipped.checked(given(&mut turn, "speaker").and_then(name));
        let words = skipped.items(given(&mut turn, "words")).unwrap_or_default();
        let mut words: Vec<_> = words.into_iter().filter_map(|word| Word::of(word, skipped)).collect();
        let text = turn.get("text").and_then(Value::as_str).unwrap_or_default();
        if words.is_empty() && !text.trim().is_empty() {
            // The text of the whole turn has the names of a word.
            words.extend(Word::of(Value::Object(turn), skipped));
        }
        Some(Self {
            speaker: speaker.unwrap_or_else(|| UNKNOWN_SPEAKER.to_owned()),
            words,
        })
    }

    /// Returns the speaker, a colon and the text.
    fn line(&self) -> String {
        let words = self.words.iter().map(|word| word.word.trim());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        format!("{}: {}", self.speaker, words.join(" "))
    }
}

impl Word {
    /// Reads an object, or text without times.
    fn of(word: Value, skipped: &mut Skipped) -> Option<Self> {
        let mut members = match word {
            Value::Object(members) => members,
            text @ Value::String(_) => [("word".to_owned(), text)].into_iter().collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Map::new(),
        };
        let text = given(&mut members, "word").or_else(|| given(&mut members, "text"));
        let Some(Value::String(word)) = text else {
            skipped.add(1);
            return None;
        };
        let mut seconds = |name, other_name| {
            let value = given(&mut members, name).or_else(|| given(&mut members, other_name))?;
            skipped.checked(number_of(&value))
        };
        Some(Self {
            start: seconds("start", "start_time"),
            end: seconds("end", "end_time"),
            word,
        })
    }
}
