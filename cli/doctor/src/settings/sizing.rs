//! Settings whose right value depends on this server: its slots, its memory, its roles and extensions.

use serde::Deserialize;

use super::Surroundings;
use super::amount;
use crate::cause::quoted;
use crate::report::{Compared, Level, Report, Setting};
use crate::server::Provider;
use crate::session::{Session, Unavailable};

const MB: f64 = 1_048_576.0;

pub(super) async fn examine(
    session: &mut Session,
    around: &Surroundings<'_>,
    budget: Option<i64>,
    report: &mut Report,
) {
    slots(around, budget, report);
    memory(session, around, report).await;
    certificate(session, report).await;
    statements(session, around, report).await;
    roles(session, around, report).await;
}

fn add(report: &mut Report, mut setting: Setting, fine: bool) {
    if fine {
        setting.compared = Compared::Fine;
        setting.lines.clear();
    }
    report.settings.push(setting);
}

fn slots(around: &Surroundings<'_>, budget: Option<i64>, report: &mut Report) {
    let server = around.server;
    // Reserved slots that are still missing count, or the next run would ask for more.
    let reserves = around.row("reserved_connections").is_some();
    let reserved = if reserves { server.reserved.max(2) } else { 0 };
    if let Some(budget) = budget {
        fleet(around, budget, reserved, report);
    }
    if server.provider != Provider::SelfManaged {
        return;
    }
    let why = "an operator must be able to log in when the fleet uses all other slots";
    let setting = around.setting("superuser_reserved_connections", "3", Level::Warn, why);
    add(report, setting, server.superuser_reserved >= 3);
    if reserves {
        let why = "for GRANT pg_use_reserved_connections to monitoring";
        let setting = around.setting("reserved_connections", "2", Level::Advice, why);
        add(report, setting, server.reserved >= 2);
    }
}

/// Compares the connections of the fleet with the server's slots and with the role's limit.
fn fleet(around: &Surroundings<'_>, budget: i64, reserved: i64, report: &mut Report) {
    let server = around.server;
    let needed = budget + server.superuser_reserved.max(3) + reserved;
    let why = "the fleet's budget and the reserved slots";
    let setting = around.setting("max_connections", &needed.to_string(), Level::Warn, why);
    add(report, setting, server.max >= needed);
    if server.is_application() && (0..budget).contains(&server.role_limit) {
        report.find(
            Level::Warn,
            "role-budget",
            format!(
                "role {} may open {} connections, and the fleet's budget is {budget}",
                server.role, server.role_limit
            ),
            "What goes beyond is refused, while the server still has slots.",
            vec![format!(
                "ALTER ROLE {} CONNECTION LIMIT {budget};",
                quoted(&server.role)
            )],
        );
    }
}

#[derive(Deserialize)]
struct Memory {
    bytes: Option<f64>,
}

/// The memory of the machine or of the container, whichever is smaller, from Linux's files.
const MEMORY: &str = "SELECT least( \
    (SELECT 1024 * substring(pg_read_file('/proc/meminfo', 0, 4096, true) FROM 'MemTotal: +([0-9]+)')::float8), \
    (SELECT substring(pg_read_file('/sys/fs/cgroup/memory.max', 0, 64, true) FROM '^[0-9]+')::float8)) AS bytes";

async fn memory(session: &mut Session, around: &Surroundings<'_>, report: &mut Report) {
    if around.server.provider != Provider::SelfManaged {
        return;
    }
    let memory = session.one::<Memory>(MEMORY).await.ok().and_then(|memory| memory.bytes);
    for (name, share, least, most, why) in [
        ("shared_buffers", 0.25, 0.15, 0.45, "a quarter of the server's memory"),
        (
            "effective_cache_size",
            0.75,
            0.4,
            1.0,
            "three quarters of the server's memory",
        ),
    ] {
        let Some(memory) = memory else {
            let mut setting = around.setting(name, &format!("{}% of memory", share * 100.0), Level::Advice, why);
            setting.compared = Compared::NotVisible;
            setting.lines = vec!["a superuser sees the server's memory, which it depends on".to_owned()];
            report.settings.push(setting);
            continue;
        };
        let target = size(memory * share);
        let fine = around
            .row(name)
            .and_then(amount::of)
            .is_some_and(|value| value >= (memory * least).max(128.0 * MB) && value <= memory * most);
        add(report, around.setting(name, &target, Level::Advice, why), fine);
    }
}

/// Returns a round amount, at most `bytes`.
fn size(bytes: f64) -> String {
    let megabytes = (bytes / MB).floor().max(128.0);
    if megabytes >= 4_096.0 {
        format!("{}GB", (megabytes / 1_024.0).floor())
    } else {
        format!("{}MB", (megabytes / 128.0).floor() * 128.0)
    }
}

#[derive(Deserialize)]
struct Files {
    there: bool,
}

/// A server with `ssl = on` and no certificate does not start, so the line says which step comes first.
async fn certificate(session: &mut Session, report: &mut Report) {
    let ssl = |setting: &&mut Setting| setting.name == "ssl" && setting.compared == Compared::Differs;
    let Some(setting) = report.settings.iter_mut().find(ssl) else {
        return;
    };
    let files = session
        .one::<Files>(
            "SELECT (pg_stat_file(current_setting('ssl_cert_file'), true)).size IS NOT NULL \
             AND (pg_stat_file(current_setting('ssl_key_file'), true)).size IS NOT NULL AS there",
        )
        .await;
    let comes_first = "ssl_cert_file and ssl_key_file come first, or the server does not start again: \
                       docs/postgres/tls.md";
    if let Err(Unavailable::Hidden) = files {
        setting.lines = vec![format!("ALTER SYSTEM SET ssl = on;   -- {comes_first}")];
    } else if !files.is_ok_and(|files| files.there) {
        setting.lines = vec![format!("-- ssl = on: {comes_first}")];
    }
}

#[derive(Deserialize)]
struct Extension {
    available: bool,
    installed: bool,
}

async fn statements(session: &mut Session, around: &Surroundings<'_>, report: &mut Report) {
    let asked = session
        .one::<Extension>(
            "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements') AS available, \
             EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements') AS installed",
        )
        .await;
    // Without the contrib package the library does not exist, and a server configured to load it would not start.
    let Ok(Extension {
        available: true,
        installed,
    }) = asked
    else {
        return;
    };
    let loaded = around.row("shared_preload_libraries").map(|row| row.setting.clone());
    let list = loaded.clone().unwrap_or_default();
    let present = list.split(',').any(|library| library.trim() == "pg_stat_statements");
    let value = if list.is_empty() || present {
        "pg_stat_statements".to_owned()
    } else {
        format!("{list},pg_stat_statements")
    };
    let why = "shows which statements take the time";
    let mut setting = around.setting("shared_preload_libraries", &value, Level::Advice, why);
    if present {
        setting.lines.clear();
    }
    if !installed {
        setting
            .lines
            .push("CREATE EXTENSION IF NOT EXISTS pg_stat_statements;".to_owned());
    }
    if loaded.is_some() {
        add(report, setting, present && installed);
    } else {
        setting.compared = Compared::NotVisible;
        setting.lines = vec![around.server.grant()];
        report.settings.push(setting);
    }
}

#[derive(Deserialize)]
struct Owner {
    role: String,
    limited: bool,
}

/// Checks limits that belong to one role: server-wide they would interrupt maintenance.
async fn roles(session: &mut Session, around: &Surroundings<'_>, report: &mut Report) {
    let server = around.server;
    let role = quoted(&server.role);
    if server.is_application() {
        let why = "the application role's statements end, behind a pooler too";
        let mut setting = around.setting("statement_timeout", "30s", Level::Advice, why);
        setting.lines = vec![format!("ALTER ROLE {role} SET statement_timeout = '30s';")];
        let fine = around
            .row("statement_timeout")
            .is_some_and(|row| amount::matches(row, "1s", "60s"));
        add(report, setting, fine);
    }
    // A role that logs in as the schema's owner, or as a member of it, runs migrations.
    let owner = session
        .rows::<Owner>(
            "SELECT r.rolname AS role, EXISTS (SELECT FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) item \
             WHERE s.setrole = r.oid AND item LIKE 'lock_timeout=%') AS limited FROM pg_class c \
             JOIN pg_roles r ON pg_has_role(r.oid, c.relowner, 'MEMBER') WHERE c.relname = '_sqlx_migrations' \
             AND c.relkind = 'r' AND r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> current_user LIMIT 1",
        )
        .await;
    if let Ok(Some(owner)) = owner.map(|rows| rows.into_iter().next()) {
        let owned = quoted(&owner.role);
        let setting = Setting {
            name: "lock_timeout",
            compared: if owner.limited {
                Compared::Fine
            } else {
                Compared::Differs
            },
            level: Level::Advice,
            value: Some(if owner.limited { "set" } else { "0" }.to_owned()),
            recommended: "5s".to_owned(),
            why: "of the role that migrates: who waits for a lock stops all behind it",
            lines: vec![format!("ALTER ROLE {owned} SET lock_timeout = '5s';")],
            restart: false,
        };
        report.settings.push(setting);
    }
}
