//! Mutated inputs for the tests of parsers. The number of a case is its seed, so a failure comes again.
//!
//! `FUZZ_CASES=1000000` tries that many; without it a test tries a few hundred or thousand. CONTRIBUTING.md has the
//! commands, and the reason for this instead of cargo-fuzz.

use fastrand::Rng;

/// Characters that formats use as marks, and numbers at the ends of their ranges.
const MARKS: [&str; 26] = [
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

/// Returns the number of cases that the caller of the tests wants, else `usual`.
#[allow(clippy::disallowed_methods, reason = "a variable of the tests")]
pub(crate) fn cases(usual: u64) -> u64 {
    let wanted = std::env::var("FUZZ_CASES").ok();
    wanted.map_or(usual, |text| text.parse().expect("FUZZ_CASES is a number"))
}

/// Returns an input of the corpus with one to four changes: a piece is removed, repeated, or replaced by a mark, by a
/// piece of another input, or by any character. The same for the same case.
pub(crate) fn mutated(case: u64, corpus: &[String]) -> String {
    let mut random = Rng::with_seed(case);
    let piece = |random: &mut Rng, text: &[char]| {
        let start = random.usize(..=text.len());
        let end = (start + random.usize(..12)).min(text.len());
        start..end
    };
    let any = |random: &mut Rng| corpus[random.usize(..corpus.len())].chars().collect::<Vec<_>>();
    let mut text = any(&mut random);
    for _ in 0..random.usize(1..=4) {
        let at = piece(&mut random, &text);
        let new = match random.u8(..5) {
            0 => Vec::new(),
            1 => text[at.clone()].repeat(random.usize(2..50)),
            2 => MARKS[random.usize(..MARKS.len())].chars().collect(),
            3 => {
                let other = any(&mut random);
                other[piece(&mut random, &other)].to_vec()
            }
            _ => vec![random.char(..)],
        };
        text.splice(at, new);
    }
    text.into_iter().collect()
}
