//! Settings of a role or a database that change what SQL or a value means: the functions answer as without them.
//!
//! `EVERY_SETTING=1` tries every value of every setting, each alone, in some minutes; without it a sample.

use serde_json::{Value, json};

use super::backend::{Backend, until};
use super::parameters::with;
use super::people::{Person, Team, id, meeting};

/// Settings that any role may set, each at the value that is farthest from the default.
const SETTINGS: [(&str, &str); 36] = [
    ("standard_conforming_strings", "off"),
    ("escape_string_warning", "on"),
    ("backslash_quote", "off"),
    ("bytea_output", "escape"),
    ("DateStyle", "German, DMY"),
    ("IntervalStyle", "sql_standard"),
    ("TimeZone", "Asia/Kathmandu"),
    ("timezone_abbreviations", "India"),
    ("extra_float_digits", "-15"),
    ("client_encoding", "LATIN1"),
    ("transform_null_equals", "on"),
    ("array_nulls", "off"),
    ("xmloption", "document"),
    ("xmlbinary", "hex"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("row_security", "off"),
    ("exit_on_error", "on"),
    ("quote_all_identifiers", "on"),
    ("plan_cache_mode", "force_custom_plan"),
    ("jit_above_cost", "0"),
    ("gin_fuzzy_search_limit", "1"),
    ("client_min_messages", "debug5"),
    ("check_function_bodies", "off"),
    ("default_text_search_config", "pg_catalog.german"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("enable_indexscan", "off"),
    ("enable_nestloop", "off"),
    ("enable_hashjoin", "off"),
    ("join_collapse_limit", "1"),
    ("work_mem", "64kB"),
    ("synchronize_seqscans", "off"),
    ("parallel_setup_cost", "0"),
    ("lock_timeout", "5s"),
];

/// Limits that a session of the functions sets for itself, if it is not behind a pooler.
const LIMITS: [(&str, &str); 4] = [
    ("statement_timeout", "1"),
    ("idle_in_transaction_session_timeout", "1"),
    ("idle_session_timeout", "1"),
    ("client_connection_check_interval", "0"),
];

/// Text that is read differently if backslashes escape, and in another encoding.
const TEXT: &str = r#"C:\new\x41 'it''s' \' "quoted" \u0041 {NULL,"a\\b"} → é 🙂"#;

impl Backend {
    /// Sets a database's settings, for sessions that begin after this.
    async fn settings(&self, settings: &[(&str, &str)]) {
        for (name, value) in settings {
            let set = format!(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {name} = {value}', current_database()); END $$",
                value = if *name == "DateStyle" {
                    (*value).to_owned()
                } else {
                    format!("''{value}''")
                },
            );
            self.execute(&set).await;
        }
    }

    async fn reset_settings(&self) {
        self.execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET ALL', current_database()); END $$")
            .await;
    }
}

/// Creates, replays, reads, changes and deletes; returns every answer without ids and times.
async fn day(backend: &Backend) -> Vec<Value> {
    let team = backend.team("one").await;
    let body = meeting(
        team.member.id,
        json!({"title": TEXT, "speakers": [TEXT, "NULL"], "agenda": TEXT}),
    );
    let create = async |key: &str| {
        let call = backend.post("/api/meetings").by(&team.admin).key(key).json(&body);
        call.send().await.is(201)
    };
    let mut answers = Vec::new();
    for round in 0..24 {
        let first = create(&format!("key-{round}")).await;
        let again = create(&format!("key-{round}")).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(first.body, again.body);
    }
    let made = create("key-0").await.json();
    assert_eq!(made["speakers"], json!([TEXT, "NULL"]));
    assert_eq!(made["title"], TEXT);
    let path = format!("/api/meetings/{}", id(&made));
    let other = backend.post("/api/meetings").by(&team.admin).key("key-0");
    other
        .json(&meeting(team.member.id, json!({})))
        .send()
        .await
        .problem(422, "idempotency-key-reused");
    let bot = async |key: &str| {
        let body = meeting(team.member.id, json!({"meetingBaasId": "bot"}));
        backend
            .post("/api/meetings")
            .by(&team.admin)
            .key(key)
            .json(&body)
            .send()
            .await
    };
    bot("bot-1").await.is(201);
    bot("bot-2").await.problem(409, "conflict");
    let task = backend.task(&team.admin, id(&made), json!({"text": TEXT})).await;
    let task = format!("{path}/tasks/{}", id(&task));
    let complete = backend
        .patch(&task)
        .by(&team.member)
        .key("t")
        .json(&json!({"status": "complete"}));
    answers.push(complete.send().await.is(200).json());
    let change = json!({"date": "2031-05-06T23:30:00+05:45", "title": TEXT.to_uppercase()});
    answers.push(
        backend
            .put(&path)
            .by(&team.admin)
            .json(&change)
            .send()
            .await
            .is(200)
            .json(),
    );
    for list in [
        "/api/meetings?from=2031-05-06T17:45:00Z&limit=5",
        "/api/users",
        "/api/meetings/tasks/all",
        &format!("{path}/tasks"),
        &format!("{path}/changes"),
    ] {
        answers.push(backend.get(list).by(&team.admin).send().await.is(200).json());
    }
    backend.delete(&path).by(&team.admin).key("d").send().await.is(204);
    backend.delete(&path).by(&team.admin).key("d").send().await.is(204);
    for answer in &mut answers {
        strip(answer);
    }
    answers
}

/// Removes what differs between two runs.
fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !name.to_ascii_lowercase().ends_with("id") && !name.ends_with("At"));
            members.remove("createdBy");
            members.remove("assignedTo");
            members.remove("nextCursor");
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[tokio::test]
async fn settings_do_not_change_answers() {
    let plain = Backend::start().await;
    let expected = day(&plain).await;
    drop(plain);
    let odd = Backend::start().await;
    odd.settings(&SETTINGS).await;
    odd.settings(&LIMITS).await;
    let answers = day(&odd).await;
    odd.reset_settings().await;
    assert_eq!(answers, expected);
}

/// As behind a pooler, where the functions own no session: each transaction sets what it needs.
#[tokio::test]
async fn settings_do_not_change_pooled_answers() {
    let plain = Backend::start().await;
    let expected = day(&plain).await;
    drop(plain);
    let odd = Backend::with(with("?pgbouncer=true")).await;
    odd.settings(&SETTINGS).await;
    let answers = day(&odd).await;
    odd.reset_settings().await;
    assert_eq!(answers, expected);
}

/// Settings that a role may set, each with values other than its default: both of a switch, each of an enumeration, the
/// least, the greatest and another number, and text that may be nonsense. In an order that does not depend on the run.
const CANDIDATES: &str = "SELECT name, value FROM pg_settings, LATERAL ( \
        SELECT unnest(CASE vartype \
            WHEN 'bool' THEN ARRAY['on', 'off'] \
            WHEN 'enum' THEN enumvals \
            WHEN 'string' THEN ARRAY['', 'C', 'UTC', 'nonsense', 'SQL_ASCII', 'all'] \
            ELSE ARRAY[min_val, max_val, trunc(least(max_val::numeric, 2147483647) / 7)::text] \
        END) \
    ) AS candidate (value) \
    WHERE context IN ('user', 'superuser') AND value <> reset_val \
    ORDER BY md5(name || value)";

/// How many of them a run without `EVERY_SETTING` tries.
const SAMPLE: usize = 30;

/// Ends every other session of the database, so that the next ones begin with the role's settings.
const END_OTHERS: &str = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";

/// Returns the statement that changes the role's settings in this database; quotes in `change` are doubled.
fn by_role(change: &str) -> String {
    format!(
        "DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE %I {change}', current_user, current_database()); END $$"
    )
}

/// Reads, writes and writes again with a role that has this setting; fails unless the answers are those without it, or a
/// refusal whose log line names it.
async fn try_setting(backend: &Backend, team: &Team, name: &str, value: &str) -> Result<(), String> {
    let set = by_role(&format!("SET {name} = ''{value}''"));
    // The server refuses what is no value of it.
    if !backend.try_execute(&set).await {
        return Ok(());
    }
    backend.execute(END_OTHERS).await;
    let body = meeting(team.member.id, json!({"title": TEXT, "speakers": [TEXT, "NULL"]}));
    let create = || {
        let key = format!("{name} {}", value.len());
        backend
            .post("/api/meetings")
            .by(&team.admin)
            .key(&key)
            .json(&body)
            .send()
    };
    let mut wrong = Vec::new();
    let (first, again) = (create().await, create().await);
    let list = || backend.get("/api/users").by(&team.admin).send();
    let listed = list().await;
    for (answer, status) in [(&first, 201), (&again, 201), (&listed, 200)] {
        if answer.status != status && !answer.line()["error"].to_string().contains(name) {
            wrong.push(format!("{} {}", answer.status, answer.line()));
        }
    }
    if first.status == 201 && (first.body != again.body || again.header("idempotency-replayed") != Some("true")) {
        wrong.push(format!("{} is no replay of {}", again.body, first.body));
    }
    if first.status == 201
        && (&first.json()["title"], &first.json()["speakers"]) != (&json!(TEXT), &json!([TEXT, "NULL"]))
    {
        wrong.push(first.body.clone());
    }
    if listed.status == 200 && listed.items().len() != 2 {
        wrong.push(listed.body.clone());
    }
    backend.execute(&by_role("RESET ALL")).await;
    if first.status != 201 || listed.status != 200 {
        // A pool remembers for a moment that it was refused.
        backend.execute(END_OTHERS).await;
        until(async || create().await.status == 201 && list().await.status == 200).await;
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{name} = '{value}': {wrong:#?}"))
}

#[tokio::test]
async fn each_setting_of_a_role_is_harmless() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let tried = if std::env::var_os("EVERY_SETTING").is_some() {
        usize::MAX
    } else {
        SAMPLE
    };
    let mut wrong = Vec::new();
    for (name, value) in backend.pairs(CANDIDATES).await.into_iter().take(tried) {
        wrong.extend(try_setting(&backend, &team, &name, &value).await.err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Paths that lead to no table of the migrations, or to others of the same names.
const PATHS: [&str; 5] = ["''", "absent", "\"$user\"", "pg_catalog", "other"];

/// The log line of a refusal names the setting; with `schema=` in the URL it has no effect.
#[tokio::test]
async fn search_path_without_tables_is_named() {
    let plain = Backend::start().await;
    let direct = Backend::with(with("?schema=public")).await;
    let pooled = Backend::with(with("?pgbouncer=true&schema=public")).await;
    let tables = "CREATE SCHEMA other; CREATE TABLE other.users (id int); CREATE TABLE other.receipts (id int)";
    let mut ada = Person::stranger("ada");
    for backend in [&plain, &direct, &pooled] {
        backend.execute(tables).await;
        ada = backend.admin("ada").await;
    }
    for path in PATHS {
        let path = path.replace('\'', "''");
        let set = by_role(&format!("SET search_path = {path}"));
        for backend in [&plain, &direct, &pooled] {
            backend.execute(&set).await;
            backend.execute(END_OTHERS).await;
            let read = backend.get("/api/users/me").by(&ada).send().await;
            let write = backend.post("/api/users/register").by(&ada).send().await;
            for answer in [read, write] {
                if backend.url() == plain.url() {
                    let line = answer.problem(500, "internal").line();
                    assert!(line["error"].to_string().contains("SET search_path"), "{path}: {line}");
                } else {
                    answer.is(200);
                }
            }
        }
    }
    for backend in [&plain, &direct, &pooled] {
        backend.execute(&by_role("RESET ALL")).await;
        backend.execute("DROP SCHEMA other CASCADE").await;
    }
}
