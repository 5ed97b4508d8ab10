//! The SQL functions that decide who sees a meeting, and the rows about a member: how the statements that call them are planned, and what they read.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::data::Database;
use super::plan::{MODES, explain, statements};

const FUNCTIONS: [&str; 6] = ["sees(", "leads(", "manages(", "team_of(", "reads(", "writes("];

/// A statement that calls one of the functions.
struct Statement {
    text: String,
    parameters: usize,
}

impl Statement {
    fn all() -> Vec<Self> {
        let calling = statements()
            .into_iter()
            .filter(|text| FUNCTIONS.iter().any(|name| text.contains(name)));
        calling
            .map(|text| {
                let numbers = text.split('$').skip(1);
                let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
                let parameters = numbers.filter_map(|rest| digits(rest).parse().ok()).max().unwrap();
                Self { text, parameters }
            })
            .collect()
    }

    fn is_write(&self) -> bool {
        self.text.starts_with("WITH known AS")
    }

    /// Returns the prepared statement's execution for a caller and a meeting; the other parameters are null.
    fn execute(&self, sub: &str, meeting: &str) -> String {
        let mut values = vec!["NULL".to_owned(); self.parameters];
        let own = if self.is_write() { 4 } else { 0 };
        values[own] = format!("'{sub}'");
        if let Some(id) = values.get_mut(own + 1) {
            meeting.clone_into(id);
        }
        format!("list({})", values.join(", "))
    }

    async fn prepare(&self, session: &mut PgConnection) {
        let sql = format!("DEALLOCATE ALL; PREPARE list AS {}", self.text);
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(session).await.unwrap();
    }
}

/// Statements about one meeting, without the list of meetings and what only asks for the caller's team.
fn about_one_meeting() -> Vec<Statement> {
    let mut all = Statement::all();
    all.retain(|statement| statement.text.contains("sees("));
    assert!(all.len() >= 12, "only {}", all.len());
    all
}

#[tokio::test]
async fn access_functions_are_inlined() {
    let mut database = Database::of(5_000).await;
    let session = &mut database.direct;
    let (mut all, mut of_one) = (0, 0);
    for statement in Statement::all() {
        statement.prepare(session).await;
        let list = statement.text.contains("row_number() OVER page");
        for mode in MODES {
            let execute = if list {
                "list('leader', 51, '294000-01-01Z', i(0), '1970-01-01Z', '{scheduled}', NULL, 3000000)".to_owned()
            } else {
                statement.execute("leader", "i(1)")
            };
            let sql = format!("SET plan_cache_mode = {mode}; EXPLAIN (VERBOSE) EXECUTE {execute}");
            let rows = sqlx::raw_sql(AssertSqlSafe(sql))
                .fetch_all(&mut *session)
                .await
                .unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let plan = plan.join("\n");
            for name in FUNCTIONS {
                assert!(
                    !plan.contains(name),
                    "{mode}: {name} is not inlined:\n{}\n{plan}",
                    statement.text
                );
            }
            // The rows about members are none here.
            let about_member = ["reads(", "writes("].iter().any(|name| statement.text.contains(name));
            for table in ["meetings", "tasks", "meeting_changes"] {
                let sequential = plan.contains(&format!("Seq Scan on public.{table}"));
                assert!(about_member || !sequential, "{mode}: {plan}");
            }
            // A custom plan knows that the other parameters are null.
            if statement.text.contains("sees(") && mode == MODES[0] {
                assert!(
                    plan.contains("using meetings_pkey on public.meetings"),
                    "{mode}: {plan}"
                );
                of_one += 1;
            }
            all += 1;
        }
    }
    assert!(all >= 28 && of_one >= 12, "{all}, {of_one}");
}

/// Absent and invisible meetings take the same path: a row is not unpacked before its visibility is decided, however
/// large it is.
#[tokio::test]
async fn invisible_meeting_is_not_unpacked() {
    let mut database = Database::of(1_000).await;
    let session = &mut database.direct;
    // A thousand pages of text that does not compress, in the columns that may hold that much.
    sqlx::query(
        "WITH long AS (SELECT string_agg(md5(n::text), '') AS text FROM generate_series(1, 60000) n) \
         UPDATE meetings SET transcript = long.text, agenda = long.text, areas_for_support = ARRAY[long.text] \
         FROM long WHERE id = i(1)",
    )
    .execute(&mut *session)
    .await
    .unwrap();
    for statement in about_one_meeting() {
        statement.prepare(session).await;
        for mode in MODES {
            let mut pages = [0.0; 2];
            for (pages, meeting) in pages.iter_mut().zip(["i(1)", "u('absent')"]) {
                let execute = statement.execute("second", meeting);
                explain(session, mode, &execute).await;
                *pages = explain(session, mode, &execute).await.pages;
            }
            let [invisible, absent] = pages;
            assert!(
                invisible <= absent + 10.0,
                "{mode}: {invisible} pages, {absent} for an absent one: {}",
                statement.text
            );
        }
    }
}
