//! The recommendations for every server: the list of docs/postgres/settings.md.

use crate::report::Level;

use Level::{Advice, Fail, Warn};
use Scope::{Everywhere, SelfManaged};
use Want::{Is, Within};

/// The recommended value of a setting.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    /// One of these values.
    Is(&'static [&'static str]),
    /// Between the two amounts, inclusive; amounts as PostgreSQL writes them.
    Within(&'static str, &'static str),
}

/// Where a recommendation applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// On every server.
    Everywhere,
    /// Only on self-managed servers: a provider sets it for its customers.
    SelfManaged,
}

/// One setting and its recommendation.
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) want: Want,
    pub(super) value: &'static str,
    pub(super) level: Level,
    pub(super) scope: Scope,
    pub(super) why: &'static str,
}

/// The worst first.
#[rustfmt::skip] // A table, and read as one.
pub(super) const RULES: [Rule; 29] = [
    Rule { name: "fsync", want: Is(&["on"]), value: "on",
        level: Fail, scope: SelfManaged, why: "a crash of the machine destroys the database" },
    Rule { name: "full_page_writes", want: Is(&["on"]), value: "on",
        level: Fail, scope: SelfManaged, why: "a crash of the machine leaves torn pages" },
    Rule { name: "synchronous_commit", want: Is(&["on", "local", "remote_write", "remote_apply"]), value: "on",
        level: Fail, scope: Everywhere, why: "a crash loses writes that were acknowledged" },
    Rule { name: "autovacuum", want: Is(&["on"]), value: "on",
        level: Warn, scope: Everywhere, why: "dead rows pile up until the server stops" },
    Rule { name: "ssl", want: Is(&["on"]), value: "on",
        level: Warn, scope: SelfManaged, why: "passwords and data cross the network readable" },
    Rule { name: "password_encryption", want: Is(&["scram-sha-256"]), value: "scram-sha-256",
        level: Warn, scope: Everywhere, why: "md5 hashes are guessed, and replayed" },
    Rule { name: "log_parameter_max_length", want: Is(&["0"]), value: "0",
        level: Warn, scope: Everywhere, why: "the log holds the texts of meetings, beside slow statements" },
    Rule { name: "log_parameter_max_length_on_error", want: Is(&["0"]), value: "0",
        level: Warn, scope: Everywhere, why: "the same, beside failed statements" },
    Rule { name: "wal_level", want: Is(&["replica", "logical"]), value: "replica",
        level: Warn, scope: SelfManaged, why: "no WAL backup and no standby without it" },
    Rule { name: "idle_in_transaction_session_timeout", want: Within("1s", "60s"), value: "60s",
        level: Warn, scope: Everywhere, why: "an open transaction holds locks and vacuum" },
    Rule { name: "tcp_keepalives_idle", want: Within("1s", "5min"), value: "60s",
        level: Warn, scope: Everywhere, why: "dead peers are found in minutes, not hours" },
    Rule { name: "tcp_keepalives_interval", want: Within("1s", "30s"), value: "10s",
        level: Warn, scope: Everywhere, why: "with tcp_keepalives_idle" },
    Rule { name: "tcp_keepalives_count", want: Within("1", "10"), value: "6",
        level: Warn, scope: Everywhere, why: "with tcp_keepalives_idle" },
    Rule { name: "tcp_user_timeout", want: Within("1s", "2min"), value: "30s",
        level: Warn, scope: Everywhere, why: "a connection with unacknowledged data is closed" },
    Rule { name: "client_connection_check_interval", want: Within("1s", "60s"), value: "10s",
        level: Warn, scope: Everywhere, why: "a query whose client is gone stops" },
    // Functions set it for their own sessions; this one is for all other sessions.
    Rule { name: "idle_session_timeout", want: Within("1min", "1h"), value: "15min",
        level: Advice, scope: Everywhere, why: "a client that disappears sends no Terminate" },
    Rule { name: "autovacuum_vacuum_scale_factor", want: Within("0", "0.1"), value: "0.05",
        level: Advice, scope: Everywhere, why: "vacuum small and often" },
    Rule { name: "autovacuum_analyze_scale_factor", want: Within("0", "0.05"), value: "0.02",
        level: Advice, scope: Everywhere, why: "plans follow the data" },
    Rule { name: "random_page_cost", want: Within("1", "2"), value: "1.1",
        level: Advice, scope: Everywhere, why: "SSDs do not seek: indexes are used sooner" },
    Rule { name: "checkpoint_timeout", want: Within("10min", "1h"), value: "15min",
        level: Advice, scope: SelfManaged, why: "fewer checkpoints, fewer full pages written" },
    Rule { name: "max_wal_size", want: Within("2GB", "1024GB"), value: "2GB",
        level: Advice, scope: SelfManaged, why: "a burst of writes forces no checkpoints" },
    Rule { name: "checkpoint_completion_target", want: Within("0.9", "1"), value: "0.9",
        level: Advice, scope: SelfManaged, why: "a checkpoint's writes are spread out" },
    Rule { name: "log_lock_waits", want: Is(&["on"]), value: "on",
        level: Advice, scope: Everywhere, why: "the log shows which session waited for which" },
    Rule { name: "log_min_duration_statement", want: Within("1ms", "5s"), value: "500ms",
        level: Advice, scope: Everywhere, why: "the log names slow statements" },
    Rule { name: "log_checkpoints", want: Is(&["on"]), value: "on",
        level: Advice, scope: Everywhere, why: "the log shows bursts of writing" },
    Rule { name: "log_autovacuum_min_duration", want: Within("0", "10min"), value: "10s",
        level: Advice, scope: Everywhere, why: "the log shows vacuum that struggles" },
    Rule { name: "log_temp_files", want: Within("0", "1GB"), value: "10MB",
        level: Advice, scope: Everywhere, why: "the log names what spills to disk" },
    Rule { name: "track_io_timing", want: Is(&["on"]), value: "on",
        level: Advice, scope: Everywhere, why: "statistics show the time spent reading" },
    Rule { name: "jit", want: Is(&["off"]), value: "off",
        level: Advice, scope: Everywhere, why: "short statements pay for compilation" },
];
