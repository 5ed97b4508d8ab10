//! The size of an answer: Lambda accepts 6,291,556 bytes in total.
//!
//! An answer is JSON inside the JSON text of an event, so its own escapes count twice.

use serde::Serialize;

/// The limit for the body of an answer, in bytes of the event.
pub const ANSWER_LIMIT: usize = 6_000_000;

/// Cuts a list where it would not fit an answer beside the rest of it.
pub fn fit_beside<T: Serialize, R: Serialize>(items: &mut Vec<T>, rest: &R) {
    items.truncate(fitting(items, ANSWER_LIMIT.saturating_sub(weight(rest))));
}

/// Cuts a text where it would not fit an answer beside the rest of it.
pub fn cut_beside<R: Serialize>(text: &mut String, rest: &R) {
    cut_to(text, ANSWER_LIMIT.saturating_sub(weight(rest)));
}

/// Cuts a text to `room` bytes of an answer.
pub fn cut_to(text: &mut String, room: usize) {
    loop {
        let weight = weight(text);
        if text.is_empty() || weight <= room {
            return;
        }
        // Shorter each time, because the weight is above the room.
        let most = text.len() as u64 * room as u64 / weight as u64;
        text.truncate(text.floor_char_boundary(usize::try_from(most).unwrap_or_default()));
    }
}

/// Returns how many items fit into `room` bytes of an answer.
pub(super) fn fitting<T: Serialize>(items: &[T], room: usize) -> usize {
    // The brackets, and for each item its comma.
    let mut room = room.saturating_sub(2);
    let fitting = items.iter().take_while(|item| {
        let left = room.checked_sub(weight(item) + 1);
        room = left.unwrap_or_default();
        left.is_some()
    });
    fitting.count()
}

/// Returns the size of an item in an answer, in bytes. An answer is JSON inside the JSON text of an event, so the
/// backslashes of its escapes are escaped again.
pub fn weight<T: Serialize + ?Sized>(item: &T) -> usize {
    let json = serde_json::to_string(item).unwrap_or_default();
    weight_of_text(&json)
}

/// Returns the size of JSON as text within JSON, in bytes.
pub(super) fn weight_of_text(json: &str) -> usize {
    json.len() + json.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_its_weight() {
        for (whole, room, expected) in [
            ("abc", 8, "abc"),
            ("abc", 7, "abc"),
            ("abc", 6, "ab"),
            ("\"\"\"\"", 16, "\"\"\""),
            ("éé", 7, "é"),
            ("abc", 0, ""),
        ] {
            let mut text = whole.to_owned();
            cut_to(&mut text, room);
            assert!(
                whole.starts_with(&text) && (text.is_empty() || weight(&text) <= room),
                "{text}"
            );
            assert!(text.len() <= expected.len(), "{whole} {room}: {text}");
        }
        let mut text = "\"x".repeat(ANSWER_LIMIT / 2);
        cut_beside(&mut text, &"rest");
        let weight = weight(&text) + weight(&"rest");
        assert!((ANSWER_LIMIT - 10..=ANSWER_LIMIT).contains(&weight), "{weight}");
    }
}
