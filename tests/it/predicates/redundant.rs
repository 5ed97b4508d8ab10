//! The conditions that decide nothing alone, each with its reason.

use std::ops::Range;

const LOCKS: &str = "it only locks, and the next statement decides";
const RESULT: &str = "the route refuses by the same condition in the result";
const OWN_RECEIPT: &str = "the id is that of the caller's own receipt";
const TWICE: &str = "the statement says it twice, before and after it waits for the row";
const INDEX: &str = "it follows from the others, and an index is for it";
const ROLLED_BACK: &str = "the route refuses by the result, and its transaction is rolled back";

/// The text before the condition, the condition, and the reason.
pub type Entry = (&'static str, &'static str, &'static str);

/// Every entry: a full run fails if one is not needed.
#[rustfmt::skip]
pub const REDUNDANT: &[Entry] = &[
    ("SELECT FROM users WHERE", "clerk_id = $1", LOCKS),
    ("SELECT admin_id FROM invitations WHERE token_hash = $2 OR id = $3 AND", "email = $4", LOCKS),
    ("OR", "id = ( SELECT admin_id FROM invitations WHERE token_hash = $2 OR id = $3 AND email = $4 )", LOCKS),
    ("i.id = $2 AND", "i.accepted_by = u.id", OWN_RECEIPT),
    ("i.id = $2 AND", "i.admin_id = u.id", OWN_RECEIPT),
    ("a.user_id = u.id AND", "a.team_id = c.id", OWN_RECEIPT),
    ("FROM key_areas a JOIN users p ON p.id = a.created_by WHERE", "a.id = $3", "it chooses among the areas of one member, whom the caller leads"),
    ("interval '7 days' FROM caller c WHERE", "c.admin", ROLLED_BACK),
    ("FROM verdict v WHERE u.id = v.id AND", "v.valid", ROLLED_BACK),
    ("FROM registered WHERE", "id = $5", "of two registrations at once the later returns the row of the first"),
    ("users u ON u.id = $6 AND", "writes(c.person, u) IS NOT NULL", "it keeps rows of other teams from being locked"),
    ("team_id = team_of(u) AND", "reads(c, u)", RESULT),
    ("a.team_id = p.team AND", "p.reads", RESULT),
    ("m.status = 'completed' WHERE", "p.reads", RESULT),
    ("CASE WHEN", "p.reads", RESULT),
    (r#"AS "on_the_team!","#, "s.id IS NOT NULL", "a page without a meeting has no last one, and no next page"),
    ("(SELECT id FROM caller WHERE", "NOT leads", INDEX),
    ("WHERE NOT leads) AND", "m.created_by <> m.team_id", INDEX),
    ("SELECT * FROM tasks WHERE", "u.role = 'admin'", RESULT),
    ("(i.status = 'pending' OR", "i.accepted_by = c.id", "a member is answered so by any invitation to their team"),
    ("visible AS ( SELECT m.id FROM caller c JOIN meetings m ON m.id = $6 AND", "sees(c.person, m)", TWICE),
    ("m.id = v.id AND", "sees(c.person, m)", TWICE),
];

/// Returns the entry of a condition that is not noticed if it is removed from its statement.
pub fn listed(sql: &str, place: &Range<usize>) -> Option<&'static Entry> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (before, condition) = (words(&sql[..place.start]), words(&sql[place.clone()]));
    REDUNDANT
        .iter()
        .find(|(text, of, _)| before.ends_with(text) && condition == *of)
}
