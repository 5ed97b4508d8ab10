//! Examines properties of the database and the role: encoding, collations, the end of the password's validity.

use serde::Deserialize;
use serde_json::json;

use super::cause::{literal, quoted};
use super::report::{Level, Report};
use super::server::{Server, span};
use super::session::Session;

/// A password that ends sooner is reported.
const SOON_SECONDS: f64 = 14.0 * 86_400.0;

pub(super) async fn examine(session: &mut Session, server: &Server, report: &mut Report) {
    encoding(session, server, report).await;
    collations(session, server, report).await;
    password(session, server, report).await;
}

#[derive(Deserialize)]
struct Encoding {
    name: String,
}

async fn encoding(session: &mut Session, server: &Server, report: &mut Report) {
    let asked = session.one::<Encoding>("SELECT current_setting('server_encoding') AS name");
    let Encoding { name } = match asked.await {
        Ok(found) => found,
        Err(unavailable) => return report.unavailable("encoding", &unavailable, ""),
    };
    report.note("encoding", &name, json!(name));
    if name != "UTF8" {
        report.find(
            Level::Fail,
            "encoding",
            format!("the database's encoding is {name}, and text of clients needs UTF8"),
            "A character that it does not have, such as an emoji, cannot be stored. An encoding cannot be changed.",
            vec![format!(
                "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0;   -- then pg_dump and pg_restore",
                quoted(&format!("{}_utf8", server.database))
            )],
        );
    }
}

#[derive(Deserialize)]
struct Collation {
    name: String,
    recorded: String,
    actual: Option<String>,
    of_database: bool,
}

/// Reports collations whose library has changed since indexes were built with them.
async fn collations(session: &mut Session, server: &Server, report: &mut Report) {
    let own = "SELECT datname AS name, datcollversion AS recorded, pg_database_collation_actual_version(oid) AS actual, \
               true AS of_database FROM pg_database WHERE datname = current_database() \
               AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid) \
               AND datcollversion IS NOT NULL";
    let others = "SELECT collname AS name, collversion AS recorded, pg_collation_actual_version(oid) AS actual, \
                  false AS of_database FROM pg_collation c WHERE collversion IS NOT NULL \
                  AND collversion IS DISTINCT FROM pg_collation_actual_version(oid) \
                  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attcollation = c.oid AND a.attrelid >= 16384) \
                  LIMIT 5";
    let mut stale = Vec::new();
    for select in [own, others] {
        stale.extend(session.rows::<Collation>(select).await.unwrap_or_default());
    }
    for collation in stale {
        let Collation {
            name,
            recorded,
            actual,
            of_database,
        } = collation;
        let actual = actual.unwrap_or_else(|| "none".to_owned());
        let refresh = if of_database {
            format!("ALTER DATABASE {} REFRESH COLLATION VERSION;", quoted(&name))
        } else {
            format!("ALTER COLLATION {} REFRESH VERSION;", quoted(&name))
        };
        report.find(
            Level::Warn,
            "collation-version",
            format!("collation version mismatch: {name} was made with {recorded}, and the system has {actual}"),
            "The operating system's order of texts may have changed: an index then misses rows, and a unique one lets \
             duplicates in.",
            vec![
                format!("REINDEX DATABASE CONCURRENTLY {};", quoted(&server.database)),
                refresh,
            ],
        );
    }
}

#[derive(Deserialize)]
struct Validity {
    left: Option<f64>,
}

async fn password(session: &mut Session, server: &Server, report: &mut Report) {
    let asked = session
        .one::<Validity>(
            "SELECT CASE WHEN isfinite(rolvaliduntil) THEN extract(epoch FROM rolvaliduntil - now())::float8 END AS left \
             FROM pg_roles WHERE rolname = current_user",
        )
        .await;
    let Some(left) = asked
        .ok()
        .and_then(|validity| validity.left)
        .filter(|left| *left < SOON_SECONDS)
    else {
        return;
    };
    let role = quoted(&server.role);
    let what = if left > 0.0 {
        format!("the password of {} ends in {}", server.role, span(left))
    } else {
        format!(
            "the password of {} has ended: only this way of logging in still works",
            server.role
        )
    };
    report.find(
        Level::Warn,
        "password-expiry",
        what,
        "From then on every log-in with it is refused like a wrong password. Open connections stay, so functions fail \
         one after the other.",
        vec![
            format!("ALTER ROLE {role} VALID UNTIL 'infinity';   -- or \\password {role}, and a later date"),
            format!(
                "SELECT rolvaliduntil FROM pg_roles WHERE rolname = {};",
                literal(&server.role)
            ),
        ],
    );
}
