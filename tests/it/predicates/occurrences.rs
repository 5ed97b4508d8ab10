//! The conditions in a statement's text that decide whose rows it reads or changes.
//!
//! A condition is an operand of WHERE, ON, AND, OR or WHEN, or an expression of another place that compares or calls an
//! access function. It is found by the words around it, because the statements are few and their style is one.
//! Invariants: parses no more of SQL than that; whether a changed text is SQL is for the server to say.

use std::ops::Range;

/// Words of a condition about persons, teams, and the rows that belong to them.
const ABOUT_ACCESS: [&str; 25] = [
    "accepted_by",
    "admin",
    "admin_id",
    "allowed",
    "assignable",
    "assigned_to",
    "bound",
    "clerk_id",
    "created_by",
    "email",
    "id",
    "leads",
    "manages",
    "meeting_id",
    "on_the_team",
    "reads",
    "role",
    "sees",
    "team",
    "team_id",
    "team_member_id",
    "team_of",
    "token_hash",
    "valid",
    "writes",
];

/// Words before a condition.
const BEFORE: [&str; 5] = ["WHERE", "ON", "AND", "OR", "WHEN"];

/// Words before any expression.
const BEFORE_EXPRESSION: [&str; 4] = ["SELECT", "THEN", "ELSE", "RETURN"];

/// Words after an expression, which begin none.
const AFTER: [&str; 23] = [
    "AS",
    "CONFLICT",
    "CROSS",
    "DELETE",
    "DO",
    "END",
    "FOR",
    "FROM",
    "GROUP",
    "INSERT",
    "INTO",
    "JOIN",
    "LEFT",
    "LIMIT",
    "ORDER",
    "RETURNING",
    "SET",
    "UNION",
    "UPDATE",
    "USING",
    "VALUES",
    "WINDOW",
    "WITH",
];

/// Words and signs that make an expression a condition.
const COMPARING: [&str; 14] = [
    "=", "<>", "<", ">", "<=", ">=", "IN", "IS", "EXISTS", "sees", "leads", "manages", "reads", "writes",
];

/// The expressions of one level of parentheses.
#[derive(Default)]
struct Level {
    /// Where the current expression begins, if there is one.
    start: Option<usize>,
    /// Whether it is a condition.
    condition: bool,
    /// Whether assignments follow, after SET.
    assigns: bool,
}

/// Returns the places of the conditions about access, in the order of their ends.
pub fn conditions(sql: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut levels = vec![Level::default()];
    let (mut at, mut previous) = (0, "");
    while let Some(text) = next(sql, &mut at) {
        let begin = at - text.len();
        let level = levels.last_mut().unwrap();
        // No condition follows DISTINCT ON and CREATE OR.
        let before = BEFORE.contains(&text) && !["DISTINCT", "CREATE"].contains(&previous);
        let joins = before && ["AND", "OR"].contains(&text);
        let begins = before || BEFORE_EXPRESSION.contains(&text) || text == "," && !level.assigns;
        if begins || AFTER.contains(&text) || [")", ","].contains(&text) {
            level.condition |= joins;
            if let (Some(start), true) = (level.start.take(), level.condition) {
                found.extend(trimmed(sql, start..begin));
            }
            level.condition = before;
            level.start = begins.then_some(at);
            level.assigns = text == "SET" || level.assigns && !["FROM", "WHERE", "RETURNING"].contains(&text);
        }
        previous = text;
        match text {
            "(" => levels.push(Level {
                start: Some(at),
                ..Level::default()
            }),
            ")" => drop(levels.pop()),
            _ => level.condition |= level.start.is_some() && COMPARING.contains(&text),
        }
    }
    let level = levels.pop().unwrap();
    if let (Some(start), true) = (level.start, level.condition) {
        found.extend(trimmed(sql, start..sql.len()));
    }
    found
}

/// Returns the text without this condition.
pub fn without(sql: &str, condition: &Range<usize>) -> String {
    let (before, after) = (&sql[..condition.start], &sql[condition.end..]);
    format!("{before}({} OR true){after}", &sql[condition.clone()])
}

/// Returns the place without spaces, if it is a condition about access. What begins with a parenthesis is a group of
/// conditions, or compares rows to order them.
fn trimmed(sql: &str, place: Range<usize>) -> Option<Range<usize>> {
    let text = &sql[place.clone()];
    let start = place.start + text.len() - text.trim_start().len();
    let text = text.trim();
    let (mut at, mut about) = (0, false);
    while let Some(word) = next(text, &mut at) {
        about |= ABOUT_ACCESS.contains(&word);
    }
    (about && !text.starts_with('(')).then(|| start..start + text.len())
}

/// Returns the next word, number, string, sign or operator, and moves behind it.
fn next<'a>(sql: &'a str, at: &mut usize) -> Option<&'a str> {
    let rest = &sql[*at..];
    let begin = *at + rest.len() - rest.trim_start().len();
    let rest = rest.trim_start();
    let first = rest.chars().next()?;
    let word = |c: char| c.is_alphanumeric() || ['_', '$'].contains(&c);
    let operator = |c: char| "=<>|-+*/~!@#%^&?:".contains(c);
    let length = if word(first) {
        rest.find(|c| !word(c)).unwrap_or(rest.len())
    } else if ['\'', '"'].contains(&first) {
        rest[1..].find(first).map_or(rest.len(), |end| end + 2)
    } else if operator(first) {
        rest.find(|c| !operator(c)).unwrap_or(rest.len())
    } else {
        first.len_utf8()
    };
    *at = begin + length;
    Some(&rest[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        conditions(sql).into_iter().map(|place| &sql[place]).collect()
    }

    #[test]
    fn conditions_of_clauses_are_found() {
        let sql = "SELECT role = 'admin' AS admin, leads(u, m) AS leads FROM users u JOIN meetings m ON m.id = $2 AND sees(u, m) \
                   WHERE clerk_id = $1 AND (m.status = 'x' OR m.id IN (u.id, $3)) AND (u.id, m.id) < ($3, $4) ORDER BY m.id <> u.id";
        let expected = [
            "role = 'admin'",
            "leads(u, m)",
            "m.id = $2",
            "sees(u, m)",
            "clerk_id = $1",
            "m.id IN (u.id, $3)",
        ];
        assert_eq!(texts(sql), expected);
    }

    #[test]
    fn nested_conditions_are_found() {
        let sql = "SELECT s.manages OR $9 AND $1 AS a, NOT $8 ? 'x' OR EXISTS (SELECT FROM users a WHERE a.id = n.id AND team_of(a) = $4) \
                   FROM s WHERE NOT v.bound";
        let exists = "EXISTS (SELECT FROM users a WHERE a.id = n.id AND team_of(a) = $4)";
        assert_eq!(
            texts(sql),
            ["s.manages", "a.id = n.id", "team_of(a) = $4", exists, "NOT v.bound"]
        );
    }

    #[test]
    fn assignments_are_no_conditions() {
        let sql = "UPDATE users u SET role = 'admin', admin_id = NULL, email = coalesce($6, u.email) FROM caller c WHERE c.admin \
                   RETURNING u.id";
        assert_eq!(texts(sql), ["c.admin"]);
    }

    #[test]
    fn condition_is_replaced_in_its_place() {
        let sql = "SELECT 1 WHERE u.id = $1 LIMIT 1";
        let places = conditions(sql);
        assert_eq!(without(sql, &places[0]), "SELECT 1 WHERE (u.id = $1 OR true) LIMIT 1");
    }
}
