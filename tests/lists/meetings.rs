//! Every filter of the list of meetings, for every caller, at the first, a middle and the last page.

use std::time::Duration;

use chrono::{DateTime, Utc};
use functions::meetings::{self, Filter, Status};
use serde_json::{Value, json};
use shared::db::Deadline;
use shared::http::Error;
use shared::http::page::Cursor;
use sqlx::PgConnection;
use uuid::Uuid;

use super::data::{CALLERS, Database};
use super::plan::{MODES, explain, prepare, statement};
use super::tasks::caller;

/// Rows read for a page of 50: one more tells whether there is a next page.
pub(crate) const LIMIT: usize = 51;

/// Members to filter by: `None`, the caller, one with many meetings, one with few, one who left, one of another team,
/// an admin.
const MEMBERS: [Option<&str>; 7] = [
    None,
    Some("self"),
    Some("busy"),
    Some("member"),
    Some("mover"),
    Some("admin 1 member 1"),
    Some("leader"),
];

/// Dates to filter by: all, years, a month long ago, an hour.
const RANGES: [Option<[&str; 2]>; 4] = [
    None,
    Some(["2020-06-01T00:00:00Z", "2025-01-01T00:00:00Z"]),
    Some(["2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z"]),
    Some(["2021-05-05T10:00:00Z", "2021-05-05T11:00:00Z"]),
];

/// A caller and a filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) sub: &'static str,
    pub(crate) member: Option<&'static str>,
    pub(crate) status: Option<Status>,
    pub(crate) range: Option<[&'static str; 2]>,
}

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for sub in CALLERS {
            for member in MEMBERS {
                for status in [None].into_iter().chain(Status::ALL.map(Some)) {
                    for range in RANGES {
                        let member = member.map(|member| if member == "self" { sub } else { member });
                        cases.push(Self {
                            sub,
                            member,
                            status,
                            range,
                        });
                    }
                }
            }
        }
        cases
    }

    /// Returns the visible meetings by the definition of visibility, regardless of cost.
    pub(crate) async fn expected(&self, session: &mut PgConnection) -> Vec<(DateTime<Utc>, Uuid)> {
        let [from, to] = self.range.unwrap_or(["1970-01-01T00:00:00Z", "9999-01-01T00:00:00Z"]);
        sqlx::query_as(
            "SELECT m.date, m.id FROM meetings m, users u WHERE u.clerk_id = $1 \
             AND m.team_id = coalesce(u.admin_id, u.id) \
             AND (u.id IN (m.created_by, m.team_member_id) OR u.role = 'admin' AND u.id = m.team_id) \
             AND ($2::text IS NULL OR m.status = $2) AND ($3::text IS NULL OR m.team_member_id = u($3)) \
             AND m.date BETWEEN $4::text::timestamptz AND $5::text::timestamptz ORDER BY m.date DESC, m.id DESC",
        )
        .bind(self.sub)
        .bind(self.status.map(Status::name))
        .bind(self.member)
        .bind(from)
        .bind(to)
        .fetch_all(session)
        .await
        .unwrap()
    }

    /// Returns the execution of the prepared statement `list` for a page that begins below `cursor`.
    pub(crate) fn execute(&self, cursor: Option<(DateTime<Utc>, Uuid)>) -> String {
        let from = self.range.map_or("1970-01-01T00:00:00Z", |range| range[0]);
        let to = self.range.map_or("294000-01-01Z", |range| range[1]);
        let (at, id) = cursor.map_or((to.to_owned(), Uuid::nil()), |(at, id)| (at.to_rfc3339(), id));
        let statuses = match self.status {
            Some(status) => status.name().to_owned(),
            None => Status::ALL.map(Status::name).join(","),
        };
        let member = self.member.map_or("NULL".to_owned(), |name| format!("u('{name}')"));
        let sub = self.sub;
        format!("list('{sub}', {LIMIT}, '{at}', '{id}', '{from}', '{{{statuses}}}', {member}, 3145728)")
    }

    fn filter(&self, limit: usize, cursor: Option<Cursor>, member: Option<Uuid>) -> Filter {
        let mut query = json!({"limit": limit.to_string()});
        let fields = [
            ("cursor", json!(cursor)),
            ("status", json!(self.status)),
            ("teamMemberId", json!(member)),
            ("from", json!(self.range.map(|range| range[0]))),
            ("to", json!(self.range.map(|range| range[1]))),
        ];
        for (name, value) in fields {
            if value != Value::Null {
                query[name] = value;
            }
        }
        serde_json::from_value(query).unwrap()
    }
}

/// A meeting's date and id, by which a list is sorted.
type SortKey = (DateTime<Utc>, Uuid);

/// Returns the starts of the first, a middle and the last page.
pub(crate) fn cursors(expected: &[SortKey]) -> Vec<(&'static str, Option<SortKey>)> {
    let mut cursors = vec![("first", None)];
    if expected.len() > 3 * LIMIT {
        cursors.push(("middle", Some(expected[expected.len() / 2])));
        cursors.push(("last", Some(expected[expected.len() - 20])));
    }
    cursors
}

pub(crate) fn list_statement() -> String {
    statement(&["row_number() OVER page"])
}

/// The first page of the largest team, without a filter: the reference for the others.
pub(crate) const PAGE: Case = Case {
    sub: "leader",
    member: None,
    status: None,
    range: None,
};

#[tokio::test]
async fn meeting_filters_read_one_page() {
    let mut database = Database::of(20_000).await;
    let session = &mut database.direct;
    prepare(session, &list_statement()).await;
    let mut pages = Vec::new();
    for mode in MODES {
        let page = explain(session, mode, &PAGE.execute(None)).await;
        // The scans of four statuses in two indexes, the rows once for their size and once as a whole.
        assert!(page.rows <= 10.0 * LIMIT as f64, "{mode}: {page:?}");
        pages.push((mode, page));
    }
    for case in Case::all() {
        let expected = case.expected(session).await;
        for (name, cursor) in cursors(&expected) {
            for (mode, page) in &pages {
                let cost = explain(session, mode, &case.execute(cursor)).await;
                assert!(
                    cost.fits(page),
                    "{mode}: {case:?}, {name} page: {cost:?}, a page {page:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn meeting_filters_show_only_visible() {
    let mut database = Database::of(5_000).await;
    let pool = database.pool();
    let mut full = 0;
    for case in Case::all() {
        let member = match case.member {
            Some(name) => Some(database.id(name).await),
            None => None,
        };
        let expected = case.expected(&mut database.direct).await;
        let limit = 30;
        for (name, begin) in cursors(&expected) {
            let cursor = begin.map(|(at, id)| Cursor { at, id });
            let filter = case.filter(limit, cursor, member);
            let caller = caller(case.sub);
            let deadline = Deadline::after(Duration::from_secs(25));
            let page = pool
                .read::<_, Error, _>(deadline, async |db| meetings::list(db, &caller, &filter).await)
                .await
                .unwrap();
            let listed: Vec<_> = page
                .items
                .iter()
                .map(|meeting| (meeting.summary.date, meeting.summary.id))
                .collect();
            let after = begin.map_or(0, |begin| expected.iter().position(|key| *key == begin).unwrap() + 1);
            let rest = &expected[after..];
            assert_eq!(listed, rest[..rest.len().min(limit)], "{case:?}, {name} page");
            let next = rest.get(limit - 1).filter(|_| rest.len() > limit);
            let next = next.map(|&(at, id)| Cursor { at, id });
            assert_eq!(page.written().1, next, "{case:?}, {name} page");
            full += usize::from(listed.len() == limit);
        }
    }
    assert!(
        full > 50,
        "only {full} pages were full: the table has no list to page through"
    );
}

/// An admin who has joined another team sees nothing of the one that they led, and its members no more than before.
#[tokio::test]
async fn former_leader_sees_nothing() {
    let mut database = Database::of(5_000).await;
    sqlx::query("UPDATE users SET role = 'user', admin_id = u('small') WHERE id = u('leader')")
        .execute(&mut database.direct)
        .await
        .unwrap();
    for member in [None, Some("busy"), Some("leader")] {
        let case = Case { member, ..PAGE };
        assert!(case.expected(&mut database.direct).await.is_empty());
        let member = match member {
            Some(name) => Some(database.id(name).await),
            None => None,
        };
        let filter = case.filter(100, None, member);
        let (pool, caller) = (database.pool(), caller(case.sub));
        let deadline = Deadline::after(Duration::from_secs(25));
        let page = pool
            .read::<_, Error, _>(deadline, async |db| meetings::list(db, &caller, &filter).await)
            .await
            .unwrap();
        assert!(page.items.is_empty(), "{member:?}");
    }
}

/// A status missing from `ALL` would be missing from every list without a status.
#[tokio::test]
async fn all_statuses_match_the_tables() {
    let mut database = Database::of(1_000).await;
    for (table, mut statuses) in [
        ("meetings", Status::ALL.map(Status::name).to_vec()),
        (
            "tasks",
            functions::tasks::Status::ALL
                .map(functions::tasks::Status::name)
                .to_vec(),
        ),
    ] {
        let mut allowed: Vec<String> = sqlx::query_scalar(
            "SELECT matched[1] FROM pg_constraint, regexp_matches(pg_get_constraintdef(oid), '''(\\w+)''', 'g') matched \
             WHERE conname = $1 || '_status_check'",
        )
        .bind(table)
        .fetch_all(&mut database.direct)
        .await
        .unwrap();
        allowed.sort_unstable();
        statuses.sort_unstable();
        assert_eq!(allowed, statuses, "{table}");
    }
}
