//! Identifies the server: version, replication role, provider, and what this role is allowed to see.

use serde::Deserialize;
use serde_json::json;
use shared::db::roles::application_privileges;

use super::cause::quoted;
use super::report::{Level, Report};
use super::session::{Session, Unavailable};

/// When each major version's support ends: postgresql.org/support/versioning.
const SUPPORTED_UNTIL: [(i32, &str); 6] = [
    (13, "2025-11-13"),
    (14, "2026-11-12"),
    (15, "2027-11-11"),
    (16, "2028-11-09"),
    (17, "2029-11-08"),
    (18, "2030-11-14"),
];

/// The provider of the server, which decides how its settings are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Provider {
    /// An operator with a shell on it.
    #[serde(rename = "self")]
    SelfManaged,
    Aurora,
    Rds,
    CloudSql,
    Azure,
    Neon,
    Supabase,
}

impl Provider {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SelfManaged => "self-managed",
            Self::Aurora => "Aurora",
            Self::Rds => "RDS",
            Self::CloudSql => "Cloud SQL",
            Self::Azure => "Azure",
            Self::Neon => "Neon",
            Self::Supabase => "Supabase",
        }
    }
}

/// The properties of a server that any role can read with one statement.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Server {
    pub(super) version: String,
    pub(super) number: i32,
    uptime: f64,
    today: String,
    pub(super) standby: bool,
    pub(super) read_only: bool,
    pub(super) role: String,
    pub(super) database: String,
    pub(super) superuser: bool,
    /// Whether the role sees other roles' sessions and statements.
    pub(super) sees_activity: bool,
    /// Whether the role may read or write a row of the tables. One that only watches may not, except the migrations' list.
    pub(super) uses_rows: bool,
    /// Whether the role sees every setting.
    pub(super) sees_settings: bool,
    pub(super) max: i64,
    pub(super) superuser_reserved: i64,
    pub(super) reserved: i64,
    /// Slots in use, not counting this session.
    pub(super) used: i64,
    /// The role's own limit; negative if there is none.
    pub(super) role_limit: i64,
    /// Slots that the role uses, not counting this session.
    pub(super) role_used: i64,
    pub(super) provider: Provider,
}

const SERVER: &str = "\
    SELECT split_part(current_setting('server_version'), ' ', 1) AS version, \
        current_setting('server_version_num')::int AS number, \
        extract(epoch FROM now() - pg_postmaster_start_time())::float8 AS uptime, now()::date::text AS today, \
        pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only')::bool AS read_only, \
        current_user::text AS role, current_database()::text AS database, \
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser, \
        pg_has_role('pg_read_all_stats', 'USAGE') AS sees_activity, \
        EXISTS (SELECT FROM pg_class m JOIN pg_class c ON c.relnamespace = m.relnamespace \
            WHERE m.relname = '_sqlx_migrations' AND m.relkind = 'r' AND c.relkind IN ('r', 'p') AND c.oid <> m.oid \
            AND (has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(c.oid, 'DELETE'))) \
            AS uses_rows, \
        pg_has_role('pg_read_all_settings', 'USAGE') AS sees_settings, \
        current_setting('max_connections')::int8 AS max, \
        current_setting('superuser_reserved_connections')::int8 AS superuser_reserved, \
        coalesce(current_setting('reserved_connections', true), '0')::int8 AS reserved, \
        (SELECT sum(pg_stat_get_db_numbackends(oid)) - 1 FROM pg_database)::int8 AS used, \
        (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)::int8 AS role_limit, \
        (SELECT count(*) - 1 FROM pg_stat_activity WHERE usename = current_user)::int8 AS role_used, \
        CASE WHEN EXISTS (SELECT FROM pg_proc WHERE proname = 'aurora_version') THEN 'aurora' \
            WHEN to_regrole('rds_superuser') IS NOT NULL THEN 'rds' \
            WHEN to_regrole('cloudsqlsuperuser') IS NOT NULL THEN 'cloud-sql' \
            WHEN to_regrole('azure_pg_admin') IS NOT NULL THEN 'azure' \
            WHEN to_regrole('neon_superuser') IS NOT NULL THEN 'neon' \
            WHEN to_regrole('supabase_admin') IS NOT NULL THEN 'supabase' ELSE 'self' END AS provider";

impl Server {
    /// Returns the slots that ordinary roles can use.
    pub(super) fn usable(&self) -> i64 {
        (self.max - self.superuser_reserved - self.reserved).max(1)
    }

    /// Returns whether the role may be the functions' role: neither a superuser nor a role that only watches.
    pub(super) fn is_application(&self) -> bool {
        !self.superuser && (self.uses_rows || !self.sees_activity)
    }

    /// Returns whether the server accepts no write at the moment, which is reported already.
    pub(super) fn rejects_writes(&self) -> bool {
        self.standby || self.read_only
    }

    /// Returns the statement that lets this role see other roles' sessions.
    pub(super) fn grant(&self) -> String {
        format!("GRANT pg_monitor TO {};", quoted(&self.role))
    }

    /// Returns the statements that give this role every privilege that functions need in the (quoted) schema, those of
    /// PUBLIC included, which a server may have revoked.
    pub(super) fn privileges(&self, schema: &str) -> Vec<String> {
        let role = quoted(&self.role);
        let mut lines = application_privileges(schema, &role).to_vec();
        lines.push(format!("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role};"));
        lines
    }

    fn major(&self) -> i32 {
        self.number / 10_000
    }
}

#[derive(Deserialize)]
struct Standby {
    behind: Option<f64>,
    paused: bool,
}

#[derive(Deserialize)]
struct Follower {
    name: String,
    state: Option<String>,
    behind: Option<i64>,
}

/// Queries the properties of the server. Returns `None` if even that fails; the report then says why.
pub(super) async fn examine(session: &mut Session, report: &mut Report) -> Option<Server> {
    let server: Server = match session.one(SERVER).await {
        Ok(server) => server,
        // The caller reports it at the end.
        Err(Unavailable::Lost) => return None,
        Err(unavailable) => {
            report.find(
                Level::Fail,
                "unknown-server",
                format!("the server's properties could not be read: {}", unavailable.text("")),
                "It lets this role in and refuses the plainest question, or is too busy to answer it.",
                vec!["journalctl -u postgresql -n 50   # on the server, and its own log".to_owned()],
            );
            return None;
        }
    };
    let kind = if server.standby { "standby" } else { "primary" };
    report.note(
        "server",
        format!(
            "PostgreSQL {}, {}, {kind}, up {}",
            server.version,
            server.provider.name(),
            span(server.uptime)
        ),
        json!({
            "version": server.version,
            "provider": server.provider.name(),
            "primary": !server.standby,
            "uptimeSeconds": server.uptime.round(),
        }),
    );
    support(&server, report);
    replication(session, &server, report).await;
    Some(server)
}

fn support(server: &Server, report: &mut Report) {
    let known = SUPPORTED_UNTIL.iter().find(|(major, _)| *major == server.major());
    let until = known.map(|(_, until)| *until);
    let oldest = SUPPORTED_UNTIL.first().map_or(0, |(major, _)| *major);
    let over = until.is_some_and(|until| server.today.as_str() > until) || server.major() < oldest;
    let text = match until {
        Some(until) if over => format!("not since {until}"),
        Some(until) => format!("until {until}"),
        None if over => "no longer".to_owned(),
        None => "newer than this program knows".to_owned(),
    };
    report.note("supported", text, json!({ "until": until, "over": over }));
    if over {
        report.find(
            Level::Warn,
            "unsupported",
            format!("PostgreSQL {} is no longer supported", server.major()),
            "Its security holes and its data-corrupting defects stay.",
            vec!["upgrade to a supported major version: docs/postgres/maintenance.md".to_owned()],
        );
    }
}

async fn replication(session: &mut Session, server: &Server, report: &mut Report) {
    if server.standby {
        let asked = session
            .one::<Standby>(
                "SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 \
                 ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8 END AS behind, \
                 pg_is_wal_replay_paused() AS paused",
            )
            .await;
        let lag = match &asked {
            Ok(Standby { paused: true, .. }) => "replay is paused".to_owned(),
            Ok(Standby {
                behind: Some(behind), ..
            }) => format!("{} behind its primary", span(*behind)),
            Ok(Standby { behind: None, .. }) => "has replayed nothing yet".to_owned(),
            Err(unavailable) => unavailable.text(&server.grant()),
        };
        let data = asked
            .ok()
            .map(|standby| json!({ "behindSeconds": standby.behind, "paused": standby.paused }));
        report.note("replication", lag.clone(), data.unwrap_or_default());
        report.find(
            Level::Fail,
            "read-only",
            format!("read-only: this is a standby ({lag}), and rejects writes"),
            "The URL names a reader, or a failover made the old writer one and the name still points here.",
            vec![
                "SELECT sender_host, sender_port FROM pg_stat_wal_receiver;   -- who the primary is".to_owned(),
                "point DATABASE_URL at the writer (Aurora: the cluster endpoint, not cluster-ro)".to_owned(),
            ],
        );
        return;
    }
    let followers = session
        .rows::<Follower>(
            "SELECT application_name AS name, state, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::int8 AS behind \
             FROM pg_stat_replication ORDER BY 1",
        )
        .await;
    match followers {
        Err(Unavailable::Absent) => {}
        Err(unavailable) => report.unavailable("replication", &unavailable, &server.grant()),
        Ok(followers) if followers.iter().any(|follower| follower.state.is_none()) => {
            report.unavailable("replication", &Unavailable::Hidden, &server.grant());
        }
        Ok(followers) => {
            let each = followers.iter().map(|follower| {
                let behind = follower.behind.map_or_else(|| "unknown".to_owned(), bytes);
                format!("{} {} behind", follower.name, behind)
            });
            let text: Vec<String> = each.collect();
            let text = if text.is_empty() {
                "no standby".to_owned()
            } else {
                text.join(", ")
            };
            report.note("replication", text, json!({ "standbys": followers.len() }));
        }
    }
}

/// Formats a duration for people.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round();
    let (days, hours, minutes) = (
        (whole / 86_400.0).floor(),
        (whole / 3_600.0).floor() % 24.0,
        (whole / 60.0).floor() % 60.0,
    );
    if whole >= 86_400.0 {
        format!("{days} d {hours} h")
    } else if whole >= 3_600.0 {
        format!("{hours} h {minutes} min")
    } else if whole >= 60.0 {
        format!("{minutes} min {} s", whole % 60.0)
    } else if seconds >= 1.0 {
        format!("{whole} s")
    } else {
        format!("{} ms", (seconds.max(0.0) * 1_000.0).round())
    }
}

/// Formats a size for people.
pub(super) fn bytes(size: i64) -> String {
    let units = [(1_i64 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")];
    units
        .into_iter()
        .find(|(unit, _)| size.abs() >= *unit)
        .map_or_else(|| format!("{size} B"), |(unit, name)| format!("{} {name}", size / unit))
}
