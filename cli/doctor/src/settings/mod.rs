//! Compares the server's settings with the requirements of a fleet of functions.
//!
//! The list is that of docs/postgres/settings.md. Values that depend on this server (its slots, memory and roles) are
//! in `sizing`; `line` knows how each provider changes a setting. Invariants: changes nothing.

mod access;
mod amount;
mod line;
mod rules;
mod sizing;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::report::{Compared, Level, Report, Setting};
use super::server::{Provider, Server};
use super::session::{Session, Unavailable};
use amount::matches;
use rules::{RULES, Rule, Scope, Want};

/// A row of pg_settings.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Row {
    name: String,
    setting: String,
    unit: Option<String>,
    context: String,
    source: String,
    pending_restart: bool,
    /// As SHOW prints it.
    shown: String,
}

/// The other settings that `sizing` reads.
const SIZED: [&str; 8] = [
    "max_connections",
    "superuser_reserved_connections",
    "reserved_connections",
    "shared_buffers",
    "effective_cache_size",
    "shared_preload_libraries",
    "statement_timeout",
    "ssl_library",
];

/// The information that a setting's line is built from.
pub(super) struct Surroundings<'a> {
    server: &'a Server,
    rows: BTreeMap<String, Row>,
}

/// Compares every setting. `budget`: connections that the whole fleet may hold; `None` if a pooler holds them.
pub(super) async fn examine(session: &mut Session, server: &Server, budget: Option<i64>, report: &mut Report) {
    let names: Vec<&str> = RULES.iter().map(|rule| rule.name).chain(SIZED).collect();
    let rows = match rows(session, &names).await {
        Ok(rows) => rows.into_iter().map(|row| (row.name.clone(), row)).collect(),
        Err(unavailable) => {
            report.settings_note = unavailable.text(&server.grant());
            return;
        }
    };
    let around = Surroundings { server, rows };
    report
        .settings
        .extend(RULES.iter().filter_map(|rule| around.compare(rule)));
    sizing::examine(session, &around, budget, report).await;
    access::examine(session, report).await;
    // The first one determines the verdict if nothing else is wrong.
    let slots = |setting: &Setting| setting.name == "max_connections";
    report.settings.sort_by_key(|setting| (setting.level, !slots(setting)));
    pending(&around, report);
    report.settings_note = line::note(server.provider).to_owned();
}

async fn rows(session: &mut Session, names: &[&str]) -> Result<Vec<Row>, Unavailable> {
    let names = names.join("', '");
    // This session sets its own statement_timeout; the value at its start is the role's.
    let select = format!(
        "SELECT name, CASE name WHEN 'statement_timeout' THEN reset_val ELSE setting END AS setting, unit, context, \
         source, pending_restart, CASE WHEN name <> 'statement_timeout' THEN current_setting(name) \
         WHEN reset_val = '0' THEN '0' ELSE reset_val || unit END AS shown \
         FROM pg_settings WHERE name IN ('{names}')"
    );
    session.rows(&select).await
}

/// Reports a primary that rejects writes because `default_transaction_read_only` is on.
pub(super) async fn read_only(session: &mut Session, server: &Server, report: &mut Report) {
    if !server.read_only || server.standby {
        return;
    }
    let name = "default_transaction_read_only";
    // Otherwise the session that runs the next line is read-only too.
    let mut run = vec![format!("SET {name} = off;")];
    run.extend(correction(session, server, name, "off").await);
    report.find(
        Level::Fail,
        "read-only",
        "read-only: default_transaction_read_only is on, and no write is accepted",
        "An operator, or a provider whose disk is full, set the server, the database or the role to reject writes.",
        run,
    );
}

/// Returns the line that sets `name` to `value` where its value of now comes from, if something can change it.
pub(super) async fn correction(session: &mut Session, server: &Server, name: &str, value: &str) -> Option<String> {
    let row = rows(session, &[name]).await.ok()?.into_iter().next()?;
    let line = line::change(server, &row, value)?;
    let reload = if line.starts_with("ALTER SYSTEM") {
        " SELECT pg_reload_conf();"
    } else {
        ""
    };
    Some(format!("{line}{reload}"))
}

impl Surroundings<'_> {
    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.get(name)
    }

    /// Returns `None` if the provider is responsible for the setting.
    fn compare(&self, rule: &Rule) -> Option<Setting> {
        if rule.scope == Scope::SelfManaged && self.server.provider != Provider::SelfManaged {
            return None;
        }
        let row = self.row(rule.name);
        // This session's own value: the server's is a finding already.
        if row.is_some_and(|row| row.source == "client") {
            return None;
        }
        // A server built without TLS: a proxy in front of it may provide TLS instead.
        if rule.name == "ssl"
            && self
                .row("ssl_library")
                .is_some_and(|library| library.setting.is_empty())
        {
            return None;
        }
        let fine = row.is_some_and(|row| match rule.want {
            Want::Is(words) => words.contains(&row.setting.as_str()),
            Want::Within(least, most) => matches(row, least, most),
        });
        let mut setting = self.setting(rule.name, rule.value, rule.level, rule.why);
        if fine {
            setting.compared = Compared::Fine;
            setting.lines.clear();
        }
        Some(setting)
    }

    /// Describes a setting that differs, or that this role cannot see or set, with the line that changes it.
    fn setting(&self, name: &'static str, value: &str, level: Level, why: &'static str) -> Setting {
        let row = self.row(name);
        let changed = row.and_then(|row| line::change(self.server, row, value));
        let compared = match (row, &changed) {
            (Some(_), Some(_)) => Compared::Differs,
            (Some(_), None) => Compared::NotSettable,
            (None, _) if self.server.sees_settings => Compared::NotSettable,
            (None, _) => Compared::NotVisible,
        };
        let grant = (compared == Compared::NotVisible).then(|| self.server.grant());
        Setting {
            name,
            compared,
            level,
            value: row.map(|row| row.shown.clone()),
            recommended: value.to_owned(),
            why,
            lines: changed.or(grant).into_iter().collect(),
            restart: row.is_some_and(|row| row.context == "postmaster"),
        }
    }
}

fn pending(around: &Surroundings<'_>, report: &mut Report) {
    let names: Vec<&str> = around
        .rows
        .values()
        .filter(|row| row.pending_restart)
        .map(|row| row.name.as_str())
        .collect();
    if !names.is_empty() {
        report.find(
            Level::Warn,
            "pending-restart",
            format!("{} changed, and wait for a restart of the server", names.join(", ")),
            "Until then the old values count.",
            vec![line::restart(around.server.provider).to_owned()],
        );
    }
}
