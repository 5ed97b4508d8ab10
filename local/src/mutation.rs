//! Mutated inputs for the tests of parsers. The number of a case is its seed, so that a failure can be repeated.
//!
//! `FUZZ_CASES=1000000` tries that many; without it a test tries a few hundred or thousand. CONTRIBUTING.md has the
//! commands, and the reason for this instead of cargo-fuzz.

use std::borrow::Cow;

use fastrand::Rng;

/// Characters that formats use as marks, and numbers at the ends of their ranges.
pub const MARKS: [&str; 26] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    "(",
    ":",
    ",",
    "/",
    "@",
    "?",
    "#",
    "&",
    "=",
    "%",
    "%00",
    "%zz",
    "\0",
    "\\ud800",
    "null",
    "-1",
    "1e999",
    "9223372036854775808",
    "é",
    "\u{1F600}",
];

/// Returns the number of cases in `FUZZ_CASES`, or `usual` without it.
///
/// # Panics
/// Panics if `FUZZ_CASES` is not a number.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "a variable of the tests")]
#[allow(clippy::expect_used, reason = "for tests, which fail by panicking")]
pub fn cases(usual: u64) -> u64 {
    let wanted = std::env::var("FUZZ_CASES").ok();
    wanted.map_or(usual, |text| text.parse().expect("FUZZ_CASES is a number"))
}

/// Returns the characters of a text.
#[must_use]
pub fn characters(text: &str) -> Vec<&str> {
    let ends = text.char_indices().map(|(at, one)| at + one.len_utf8());
    pieces(text, ends)
}

/// Returns the words of a text, its runs of white space, and its other characters.
#[must_use]
pub fn words(text: &str) -> Vec<&str> {
    let kind = |one: char| match one {
        _ if one.is_alphanumeric() || one == '_' => 0,
        _ if one.is_whitespace() => 1,
        _ => 2,
    };
    let ends = text.char_indices().filter_map(|(at, one)| {
        let end = at + one.len_utf8();
        let next = text[end..].chars().next();
        (kind(one) == 2 || next.is_none_or(|next| kind(next) != kind(one))).then_some(end)
    });
    pieces(text, ends)
}

/// Returns the lines of a text, with their ends.
#[must_use]
pub fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn pieces(text: &str, ends: impl Iterator<Item = usize>) -> Vec<&str> {
    let mut start = 0;
    ends.map(|end| &text[std::mem::replace(&mut start, end)..end]).collect()
}

/// Returns an input of the corpus with one to four changes of its characters; see [`mutated_pieces`].
#[must_use]
pub fn mutated(case: u64, corpus: &[String]) -> String {
    mutated_pieces(&mut Rng::with_seed(case), corpus, characters, &MARKS)
}

/// Splits an input of the corpus into pieces and changes it one to four times: some of its pieces are removed, repeated,
/// moved, or replaced by a mark, by pieces of another input, or by any character.
#[must_use]
pub fn mutated_pieces(
    random: &mut Rng,
    corpus: &[String],
    split: impl Fn(&str) -> Vec<&str>,
    marks: &[&str],
) -> String {
    let range = |random: &mut Rng, length: usize| {
        let start = random.usize(..=length);
        let end = (start + random.usize(..12)).min(length);
        start..end
    };
    let any = |random: &mut Rng| split(&corpus[random.usize(..corpus.len())]);
    let mut text: Vec<Cow<'_, str>> = any(random).into_iter().map(Cow::Borrowed).collect();
    for _ in 0..random.usize(1..=4) {
        let mut at = range(random, text.len());
        let new = match random.u8(..6) {
            0 => Vec::new(),
            1 => vec![Cow::Owned(text[at.clone()].concat().repeat(random.usize(2..50)))],
            2 => vec![Cow::Borrowed(marks[random.usize(..marks.len())])],
            3 => {
                let other = any(random);
                let taken = &other[range(random, other.len())];
                taken.iter().copied().map(Cow::Borrowed).collect()
            }
            4 => vec![Cow::Owned(random.char(..).to_string())],
            _ => {
                let moved: Vec<_> = text.drain(at).collect();
                let to = random.usize(..=text.len());
                at = to..to;
                moved
            }
        };
        text.splice(at, new);
    }
    text.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_text() {
        let text = "let é_1 = a.b(\"x  y\"); // ü\r\n\n/* 😀 */";
        for split in [characters, words, lines] {
            assert_eq!(split(text).concat(), text);
        }
        assert_eq!(words("a1 =\n b.c"), ["a1", " ", "=", "\n ", "b", ".", "c"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn case_is_a_seed() {
        let corpus = ["postgres://u:p@h/d".to_owned(), "é".to_owned()];
        let mut different = std::collections::HashSet::new();
        for case in 0..100 {
            let text = mutated(case, &corpus);
            assert_eq!(text, mutated(case, &corpus));
            different.insert(text);
        }
        assert!(different.len() > 50);
    }
}
