//! The SQL functions that decide who sees a meeting, and the rows about a member: how the statements that call them are planned, and what they read.

use sqlx::postgres::PgRow;
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

    /// Returns the number of parameters before its own, which are the caller, the row's id and others.
    fn own(&self) -> usize {
        if self.text.starts_with("WITH known AS") { 4 } else { 0 }
    }

    /// Returns the prepared statement's execution for a caller and a row; the other parameters are null.
    fn execute(&self, sub: &str, row: &str) -> String {
        self.execute_with(sub, row, &[])
    }

    /// As [`execute`](Self::execute), with values for the first of the others.
    fn execute_with(&self, sub: &str, row: &str, others: &[&str]) -> String {
        let mut values = vec!["NULL".to_owned(); self.parameters];
        let sub = format!("'{sub}'");
        let given = [&*sub, row].into_iter().chain(others.iter().copied());
        for (value, given) in values.iter_mut().skip(self.own()).zip(given) {
            given.clone_into(value);
        }
        format!("list({})", values.join(", "))
    }

    async fn prepare(&self, session: &mut PgConnection) {
        let sql = format!("DEALLOCATE ALL; PREPARE list AS {}", self.text);
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(session).await.unwrap();
    }
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
                // The statement that creates a meeting takes its draft instead of a row's id.
                let created = statement.text.contains("jsonb_populate_record(NULL::meetings, $6)");
                statement.execute("leader", if created { "'{}'" } else { "i(1)" })
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

/// Absent and invisible rows take the same path: neither a meeting, nor what belongs to it or to a user, is unpacked
/// before its visibility is decided, however large or many the rows are.
#[tokio::test]
async fn invisible_row_is_not_unpacked() {
    let mut database = Database::of(1_000).await;
    let session = &mut database.direct;
    sqlx::raw_sql(LARGE_ROWS).execute(&mut *session).await.unwrap();
    let mut count = 0;
    for statement in Statement::all() {
        let calls = |name| statement.text.contains(name);
        let row = match () {
            () if calls("sees(") => "i(1)",
            () if calls("reads(") || calls("writes(") => "u('small')",
            // The list of meetings, and what only asks for the caller's team.
            () => continue,
        };
        statement.prepare(session).await;
        let others = others(session, &statement).await;
        for mode in MODES {
            let mut pages = [0.0; 2];
            for (pages, row) in pages.iter_mut().zip([row, "u('absent')"]) {
                let execute = statement.execute_with("second", row, &others);
                explain(session, mode, &execute).await;
                *pages = explain(session, mode, &execute).await.pages;
            }
            let [invisible, absent] = pages;
            assert!(
                invisible <= absent + 4.0,
                "{mode}: {invisible} pages, {absent} for an absent one: {}",
                statement.text
            );
        }
        count += 1;
    }
    assert!(count >= 20, "only {count}");
}

/// A meeting and a user of other teams than `second`'s, the meeting with text of a thousand pages that does not
/// compress, and two hundred rows about each. The first of them is as large, and has the id `u('row')` in each table.
const LARGE_ROWS: &str = "
    CREATE TEMPORARY TABLE large AS SELECT
        n, CASE n WHEN 1 THEN u('row') ELSE u('row ' || n) END AS id, timestamptz '2020-01-01Z' + n * interval '1 minute' AS at,
        (SELECT string_agg(md5(n || ' ' || k), '') FROM generate_series(1, CASE n WHEN 1 THEN 60000 ELSE 200 END) k) AS text
    FROM generate_series(1, 200) n;
    UPDATE meetings SET transcript = l.text, agenda = l.text, areas_for_support = ARRAY[l.text]
    FROM large l WHERE meetings.id = i(1) AND n = 1;
    INSERT INTO tasks (id, meeting_id, team_id, text, created_at) SELECT l.id, i(1), u('leader'), text, at FROM large l;
    INSERT INTO meeting_changes (
        id, meeting_id, change_type, previous_title, previous_date, previous_duration, new_title, new_date, new_duration,
        created_at
    ) SELECT l.id, i(1), 'renamed', text, at, 30, '', at, 30, at FROM large l;
    INSERT INTO key_areas (id, user_id, team_id, created_by, name, description, created_at)
    SELECT l.id, u('small'), u('small'), u('small'), '', text, at FROM large l;
    INSERT INTO analyses (id, user_id, team_id, wins, areas_for_support, tasks, analyzed_at)
    SELECT l.id, u('small'), u('small'), ARRAY[text], '{}', '{}', at FROM large l;
    ANALYZE meetings, tasks, meeting_changes, key_areas, analyses";

/// Returns values for the statement's own parameters after the first two: the row of `LARGE_ROWS`, and a page's cursor
/// and limit.
async fn others(session: &mut PgConnection, statement: &Statement) -> Vec<&'static str> {
    let kinds = "SELECT unnest(parameter_types)::text FROM pg_prepared_statements WHERE name = 'list'";
    let kinds = sqlx::raw_sql(kinds).fetch_all(session).await.unwrap();
    let oldest_first = statement.text.contains(") > ($");
    let value = |kind: &PgRow| match kind.get(0) {
        "uuid" => "u('row')",
        "timestamp with time zone" if oldest_first => "'1970-01-01Z'",
        "timestamp with time zone" => "'294000-01-01Z'",
        "bigint" => "51",
        "boolean" => "false",
        _ => "NULL",
    };
    kinds.iter().skip(statement.own() + 2).map(value).collect()
}
