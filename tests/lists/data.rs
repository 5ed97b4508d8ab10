//! The table: skewed like real ones, so that an average tells nothing about the largest team.

use local::postgres::{Cluster, Settings};
use shared::config::{Config, DatabaseUrl};
use shared::db::{Pool, migrate};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

/// Callers by the `sub` of their token, with the meetings, of `n`, that they may see:
///
/// - `leader`: the admin of a team with 30% of all meetings, in which nothing is in progress and only the oldest is
///   cancelled;
/// - `second`: the admin of a team with 5% of all meetings, each with `mover`;
/// - `small`: the admin of a small team;
/// - `busy`: a member of the large team with 5% of all meetings;
/// - `mover`: a member of the large team with ten meetings in it; 5% of all are of the team that they left, and hidden;
/// - `creator`: a member of the large team who created 2% of all meetings;
/// - `member`: a member of the large team like many others;
/// - `new`: a member without a meeting.
pub(crate) const CALLERS: [&str; 8] = ["leader", "second", "small", "busy", "mover", "creator", "member", "new"];

/// A migrated database with `n` meetings, half as many tasks, and statistics as autovacuum creates them.
pub(crate) struct Database {
    pub(crate) cluster: Cluster,
    pub(crate) direct: PgConnection,
}

impl Database {
    pub(crate) async fn of(n: u32) -> Self {
        let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
        migrate::migrate(&DatabaseUrl::parse(&cluster.url()).unwrap(), &functions::SERVICE)
            .await
            .unwrap();
        #[expect(clippy::disallowed_methods, reason = "the pool cannot set a session up")]
        let mut direct = PgConnection::connect(&cluster.url()).await.unwrap();
        for sql in [
            script(n),
            "VACUUM (ANALYZE) meetings, tasks, meeting_changes, users".to_owned(),
        ] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut direct).await.unwrap();
        }
        Self { cluster, direct }
    }

    pub(crate) fn pool(&self) -> Pool {
        let url = self.cluster.url();
        let config = Config::from_lookup(|name| match name {
            "DATABASE_URL" => Some(url.clone()),
            "AWS_LAMBDA_FUNCTION_NAME" => Some("lists".to_owned()),
            _ => None,
        });
        Pool::new(&config.database.unwrap(), &config.lambda)
    }

    pub(crate) async fn id(&mut self, name: &str) -> Uuid {
        sqlx::query_scalar("SELECT u($1)")
            .bind(name)
            .fetch_one(&mut self.direct)
            .await
            .unwrap()
    }
}

/// Foreign keys and triggers are disabled while it loads, because they would take most of the time.
fn script(n: u32) -> String {
    format!(
        r"
        SET session_replication_role = replica;
        CREATE FUNCTION u(name text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5(name)::uuid $$;
        CREATE FUNCTION i(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5('meeting ' || n)::uuid $$;

        INSERT INTO users (id, clerk_id, email, name, role)
        SELECT u(name), name, '', '', 'admin'
        FROM (VALUES ('leader'), ('second'), ('small')) AS admins (name)
        UNION ALL SELECT u('admin ' || a), 'admin ' || a, '', '', 'admin' FROM generate_series(0, {n} / 150) a;
        INSERT INTO users (id, clerk_id, email, name, role, admin_id)
        SELECT u(name), name, '', '', 'user', u('leader')
        FROM (VALUES ('busy'), ('mover'), ('creator'), ('member'), ('new')) AS members (name)
        UNION ALL SELECT u('member ' || m), 'member ' || m, '', '', 'user', u('leader') FROM generate_series(0, 199) m
        UNION ALL SELECT u(team || ' member ' || m), team || ' member ' || m, '', '', 'user', u(team)
        FROM generate_series(0, 4) m, (
            SELECT 'small' AS team UNION ALL SELECT 'admin ' || a FROM generate_series(0, {n} / 150) a
        ) teams;

        -- `part` is thousandths: 0 to 299 the large team's, 300 to 349 the second's, the others small teams'.
        INSERT INTO meetings (id, team_id, created_by, team_member_id, title, date, duration, status, agenda)
        SELECT
            i(n), u(team),
            u(CASE WHEN part BETWEEN 100 AND 119 THEN 'creator' ELSE team END),
            u(CASE
                WHEN part < 50 THEN 'busy'
                WHEN part < 60 THEN 'leader'
                WHEN n < 60 * {n} / 1000 + 10 THEN 'mover'
                WHEN part < 300 AND n % 100 = 0 THEN 'member'
                WHEN part < 300 THEN 'member ' || n % 200
                WHEN part < 350 THEN 'mover'
                ELSE team || ' member ' || n % 5
            END),
            'Weekly meeting ' || n,
            -- Pairs of meetings share a date, so that ids decide the order too.
            timestamptz '2020-01-01Z' + (n / 2 * 7919::bigint % 1000003) * interval '3 minutes', 30,
            CASE
                WHEN n = 60 * {n} / 1000 + 20 OR part >= 300 AND n % 50 = 0 THEN 'cancelled'
                WHEN n % 3 = 0 THEN 'scheduled'
                ELSE 'completed'
            END,
            repeat(md5(n::text), 4)
        FROM generate_series(0, {n} - 1) n,
            LATERAL (SELECT (n * 1000::bigint / {n})::int AS part) p,
            LATERAL (SELECT CASE
                WHEN part < 300 THEN 'leader'
                WHEN part < 350 THEN 'second'
                WHEN part < 351 THEN 'small'
                ELSE 'admin ' || n % ({n} / 150)
            END AS team) t
        -- As rows come in: no team's lie together.
        ORDER BY md5(n::text);
        UPDATE meetings SET date = '2019-01-01Z' WHERE id = i(60 * {n} / 1000 + 20);

        INSERT INTO tasks (id, meeting_id, team_id, text, status, created_at, completed_at)
        SELECT u('task ' || n), i(n), m.team_id, 'A task',
            CASE WHEN n % 3 = 0 THEN 'complete' ELSE 'incomplete' END,
            m.date, CASE WHEN n % 3 = 0 THEN m.date END
        FROM generate_series(0, {n} - 1, 2) n JOIN meetings m ON m.id = i(n) ORDER BY md5(n::text);
        INSERT INTO meeting_changes (
            id, meeting_id, change_type, previous_title, previous_date, previous_duration, new_title, new_date,
            new_duration, created_at
        )
        SELECT u('change ' || n), i(CASE WHEN n < {n} / 20 THEN 1 ELSE n END), 'updated', '', m.date, 30, '', m.date, 30, m.date
        FROM generate_series(0, {n} / 5) n JOIN meetings m ON m.id = i(n);
        SET session_replication_role = origin;
        "
    )
}
