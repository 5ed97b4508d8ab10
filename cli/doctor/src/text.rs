//! Text for one line of a report.

/// Removes characters that would break the line or control a terminal.
pub(super) fn one_line(text: &str) -> String {
    let blank = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(blank).collect()
}
