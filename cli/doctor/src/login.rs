//! Explains why a log-in fails: the server's error and its usual cause.
//!
//! Uses SQLSTATE and the name of the server's routine that raised the error, which `lc_messages` does not translate.

use shared::db::{Kind, Phase};
use shared::diagnostics::{kind_of, kind_of_log_in};
use sqlx::postgres::PgDatabaseError;

use super::activity::{WHO, terminate};
use super::cause::{Cause, TargetNames, cause, closed, literal, quoted, stranger, words};
use super::pooler;

/// The server requires an authentication method that the driver does not support.
pub(super) fn method(target: &TargetNames) -> Cause {
    cause(
        "auth-method",
        format!(
            "{} asks {} to log in with Kerberos or another method that functions do not support",
            target.endpoint, target.user
        ),
        "The line of pg_hba.conf that fits this role and address says gss, sspi or the like.",
        [
            "SELECT * FROM pg_hba_file_rules;   -- as a superuser".to_owned(),
            format!(
                "hostssl {} {} CLIENT_ADDRESS/32 scram-sha-256   # above that line; then reload",
                quoted(&target.database),
                quoted(&target.user)
            ),
        ],
    )
}

/// The log-in failed with an error from the driver.
pub(super) fn refused(target: &TargetNames, error: &sqlx::Error) -> Cause {
    let TargetNames {
        endpoint,
        user,
        database,
        ..
    } = target;
    let (role, base) = (quoted(user), quoted(database));
    let Some(refusal) = error
        .as_database_error()
        .and_then(|refusal| refusal.try_downcast_ref::<PgDatabaseError>())
    else {
        let kind = kind_of_log_in(error);
        if kind == Kind::NotPostgresql {
            return stranger(target);
        }
        if let sqlx::Error::Io(io) = error
            && kind != Kind::Saturated
        {
            return closed(target, "log-in", io);
        }
        return cause(
            kind.name(),
            format!("{endpoint}: {}", words(error)),
            kind.advice(Phase::Connect),
            [target.psql()],
        );
    };
    let (code, routine) = (refusal.code(), refusal.routine().unwrap_or_default());
    let words = format!("{} (SQLSTATE {code})", words(error));
    // PgBouncer's message, and RDS Proxy's code.
    if refusal.message().contains("unsupported startup parameter") || code == "0A000" {
        return pooler::unmentioned(&words);
    }
    if code == "08P01"
        && let Some(cause) = refused_by_pooler(target, &words)
    {
        return cause;
    }
    match (code, routine) {
        ("28P01", _) => password(target, "SQLSTATE 28P01"),
        ("28000", "InitializeSessionUserId") => cause(
            "auth",
            format!("role {user} is refused: {words}"),
            "The role was never created here, or it may not log in.",
            [format!(
                "CREATE ROLE {role} LOGIN;   -- or, if it is there: ALTER ROLE {role} LOGIN;"
            )],
        ),
        ("28000", _) => cause(
            "auth",
            format!("pg_hba.conf does not admit {user} from here: {words}"),
            "No line of pg_hba.conf fits this user, database, address and (no) TLS, or one that fits says reject.",
            [
                "SELECT * FROM pg_hba_file_rules;   -- as a superuser".to_owned(),
                format!("hostssl {base} {role} CLIENT_ADDRESS/32 scram-sha-256   # for pg_hba.conf; then reload"),
            ],
        ),
        ("3D000", _) => no_database(target, "SQLSTATE 3D000"),
        ("42501", _) => cause(
            "no-connect",
            format!("role {user} may not connect to {database}: {words}"),
            "CONNECT was revoked from PUBLIC and not granted to this role.",
            [format!("GRANT CONNECT ON DATABASE {base} TO {role};")],
        ),
        ("53300", "InitializeSessionUserId") => cause(
            "saturated",
            format!("saturated: role {user} has used up its own CONNECTION LIMIT: {words}"),
            "More environments hold a connection than the role is allowed.",
            [format!(
                "ALTER ROLE {role} CONNECTION LIMIT -1;   -- or a number above the fleet's budget"
            )],
        ),
        ("53300", "CheckMyDatabase") => cause(
            "saturated",
            format!("saturated: database {database} has used up its own CONNECTION LIMIT: {words}"),
            "More sessions than the database is allowed.",
            [format!(
                "ALTER DATABASE {base} CONNECTION LIMIT -1;   -- or a number above the fleet's budget"
            )],
        ),
        ("53300", _) => cause(
            "saturated",
            format!("saturated: every connection slot of {endpoint} is taken: {words}"),
            "A burst of environments, sessions that destroyed environments left behind, or another application. The \
             reserved slots still let a superuser in. The second line ends what functions left behind, and nothing else.",
            [WHO.to_owned(), terminate(target)],
        ),
        ("57P03", _) => cause(
            "starting",
            format!("{endpoint} accepts no connections at the moment: {words}"),
            "It is starting, stopping, or recovering from a crash, which takes minutes: its log says how far it is.",
            ["tail -f /var/log/postgresql/*.log   # on the server".to_owned()],
        ),
        _ => cause(
            kind_of(error).name(),
            format!("{endpoint} refused the log-in: {words}"),
            if kind_of(error) == Kind::Query {
                "The server's message names the cause; its log has details."
            } else {
                kind_of(error).advice(Phase::Connect)
            },
            [target.psql()],
        ),
    }
}

/// The pooler rejects the log-in, for a reason that its message identifies.
fn refused_by_pooler(target: &TargetNames, words: &str) -> Option<Cause> {
    let says = |some: &[&str]| some.iter().any(|part| words.contains(part));
    let other = |what: &str, own: &str| {
        let name = words.split_once(what).and_then(|(_, rest)| rest.split_once('"'));
        name.is_some_and(|(name, _)| name != own)
    };
    if other("user \"", &target.user) || other("database \"", &target.database) {
        return Some(pooler::other_name(target, words));
    }
    if says(&[
        "SASL authentication failed",
        "password authentication failed",
        "no such user",
    ]) {
        return Some(password(target, words));
    }
    if says(&["no such database"]) || words.contains("database \"") && words.contains("does not exist") {
        return Some(no_database(target, words));
    }
    if says(&["no more connections allowed"]) {
        return Some(cause(
            "saturated",
            format!(
                "saturated: the pooler at {} accepts no more clients: {words}",
                target.endpoint
            ),
            "More environments are connected than its max_client_conn allows.",
            [
                pooler::SHOW.to_owned(),
                "raise max_client_conn in pgbouncer.ini, then: RELOAD".to_owned(),
            ],
        ));
    }
    None
}

/// The password is not the role's, according to the server.
fn password(target: &TargetNames, message: &str) -> Cause {
    let TargetNames { user, .. } = target;
    let role = quoted(user);
    cause(
        "auth",
        format!("wrong password for role {user} ({message})"),
        "It was rotated, mistyped or not percent-encoded; or there is no such role, or its password has run out: \
         the server says the same for all of these.",
        [
            target.psql(),
            format!(
                "SELECT rolcanlogin, rolvaliduntil FROM pg_roles WHERE rolname = {};   -- as another role",
                literal(user)
            ),
            format!("\\password {role}   -- in psql, as a superuser: sets a new one"),
        ],
    )
}

/// The server has no database of that name.
fn no_database(target: &TargetNames, message: &str) -> Cause {
    let TargetNames { database, .. } = target;
    cause(
        "no-database",
        format!("there is no database {database} ({message})"),
        "A slip in the URL, or it was never created on this server.",
        [format!(
            "CREATE DATABASE {};   -- then: cargo seer migrate",
            quoted(database)
        )],
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::Finding;
    use super::*;
    use local::postgres::{Cluster, Settings};
    use shared::config::DatabaseUrl;
    use sqlx::Connection as _;

    /// RDS Proxy supports no startup options; the URL does not mention a pooler. PgBouncer logs in with names of its own.
    #[tokio::test]
    async fn pooler_refusal_has_its_cause() {
        let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
        let url = DatabaseUrl::parse(&cluster.url()).unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "an error of a server is wanted, not a connection"
        )]
        let mut session = sqlx::PgConnection::connect_with(&url.connect_options("test"))
            .await
            .unwrap();
        for (code, message, id) in [
            (
                "0A000",
                "Feature not supported: RDS Proxy currently doesn''t support command-line options",
                "pooler",
            ),
            ("08P01", r#"password authentication failed for user "seer""#, "auth"),
            (
                "08P01",
                r#"password authentication failed for user "other""#,
                "pooler-target",
            ),
            ("08P01", r#"database "seer" does not exist"#, "no-database"),
            ("08P01", r#"database "other" does not exist"#, "pooler-target"),
        ] {
            let sql = format!("DO $$ BEGIN RAISE '{message}' USING ERRCODE = '{code}'; END $$");
            let error = sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
                .execute(&mut session)
                .await
                .unwrap_err();
            let found = Finding::from(refused(&TargetNames::of(&url), &error));
            assert_eq!(found.id, id, "{found:?}");
        }
    }
}
