//! The tasks of a team, and the changes of a meeting.

use std::time::Duration;

use functions::meetings::changes;
use functions::tasks::{self, all};
use serde_json::json;
use shared::db::Deadline;
use shared::http::page::PageQuery;
use shared::http::{Caller, Error};

use super::data::Database;
use super::plan::{MODES, explain, prepare, statement};

const STATUSES: [&str; 3] = ["incomplete", "complete", "suggested"];
const NEWEST: &str = "'294000-01-01Z', '00000000-0000-0000-0000-000000000000'";

#[tokio::test]
async fn task_statuses_read_one_page() {
    let mut database = Database::of(20_000).await;
    let sql = statement(&["FROM tasks", "created_at DESC"]);
    prepare(&mut database.direct, &sql).await;
    for mode in MODES {
        let mut execute = async |sub: &str, statuses: &str, place: &str| {
            explain(
                &mut database.direct,
                mode,
                &format!("list('{sub}', {place}, '{{{statuses}}}', 51)"),
            )
            .await
        };
        let page = execute("leader", &STATUSES.join(","), NEWEST).await;
        assert!(page.rows <= 4.0 * 51.0, "{mode}: {page:?}");
        for sub in ["leader", "second", "small", "busy"] {
            for statuses in STATUSES.into_iter().chain([STATUSES.join(",").as_str()]) {
                for at in ["294000-01-01Z", "2022-06-01Z", "2020-01-02Z"] {
                    let cost = execute(
                        sub,
                        statuses,
                        &format!("'{at}', '00000000-0000-0000-0000-000000000000'"),
                    )
                    .await;
                    assert!(
                        cost.fits(&page),
                        "{mode}: {sub}, {statuses}, before {at}: {cost:?}, a page {page:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn task_statuses_list_every_task() {
    let mut database = Database::of(5_000).await;
    let pool = database.pool();
    let caller = caller("second");
    for status in STATUSES.map(Some).into_iter().chain([None]) {
        let expected: Vec<uuid::Uuid> = sqlx::query_scalar(
            "SELECT id FROM tasks WHERE team_id = u('second') AND ($1::text IS NULL OR status = $1) \
             ORDER BY created_at DESC, id DESC",
        )
        .bind(status)
        .fetch_all(&mut database.direct)
        .await
        .unwrap();
        assert_eq!(expected.is_empty(), status == Some("suggested"));
        let (mut listed, mut cursor) = (Vec::new(), None);
        loop {
            let mut filter = json!({"limit": "40"});
            if let Some(status) = status {
                filter["status"] = json!(status);
            }
            if let Some(cursor) = cursor {
                filter["cursor"] = json!(cursor);
            }
            let filter: all::Filter = serde_json::from_value(filter).unwrap();
            let deadline = Deadline::after(Duration::from_secs(25));
            let page = pool
                .read::<_, Error, _>(deadline, async |db| all::list(db, &caller, &filter).await)
                .await
                .unwrap();
            cursor = page.written().1;
            listed.extend(page.items.into_iter().map(|task: tasks::Task| task.id));
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, expected, "{status:?}");
    }
}

#[tokio::test]
async fn meeting_changes_read_one_page() {
    let mut database = Database::of(20_000).await;
    let sql = statement(&["FROM meeting_changes"]);
    prepare(&mut database.direct, &sql).await;
    for mode in MODES {
        for (sub, seen) in [("leader", true), ("busy", true), ("second", false), ("new", false)] {
            for at in ["294000-01-01Z", "2022-06-01Z"] {
                let place = format!("'{at}', '00000000-0000-0000-0000-000000000000'");
                let execute = format!("list('{sub}', i(1), {place}, 51)");
                let cost = explain(&mut database.direct, mode, &execute).await;
                // The changes and the meeting.
                let most = if seen { 52.0 } else { 1.0 };
                assert!(cost.rows <= most, "{mode}: {sub}: {cost:?}");
                assert!(cost.pages <= 2.0 * most + 20.0, "{mode}: {sub}: {cost:?}");
            }
        }
    }
    let query: PageQuery = serde_json::from_value(json!({"limit": "100"})).unwrap();
    let (pool, caller, id) = (database.pool(), caller("busy"), database.id("meeting 1").await);
    let deadline = Deadline::after(Duration::from_secs(25));
    let page = pool
        .read::<_, Error, _>(deadline, async |db| changes::list(db, &caller, id.into(), &query).await)
        .await
        .unwrap();
    assert_eq!(page.items.len(), 100);
    assert!(
        page.items
            .is_sorted_by_key(|change| std::cmp::Reverse((change.created_at, change.id)))
    );
}

pub(crate) fn caller(sub: &str) -> Caller {
    Caller {
        sub: sub.to_owned(),
        email: None,
        name: None,
        email_verified: true,
    }
}
