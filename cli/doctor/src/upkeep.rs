//! Examines the maintenance of the data: wraparound, dead rows, the cache, checksums, WAL retained by unused slots.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::report::{Level, Report};
use super::server::{Server, bytes};
use super::session::Session;

/// Of 2³¹, where the server stops. Autovacuum starts at 200 million, so a value this high means that it is blocked.
const OLD_XID: i64 = 500_000_000;
const VERY_OLD_XID: i64 = 1_500_000_000;
/// The number of dead rows that is worth reporting, and their ratio to live rows.
const DEAD: i64 = 10_000;
const DEAD_SHARE: f64 = 0.2;
/// The WAL that an unused slot may retain.
const RETAINED: i64 = 1 << 30;
/// Below this number of blocks read, the hit rate tells nothing about the cache.
const BLOCKS: i64 = 100_000;

/// Examines vacuum, the cache and the disk.
pub(super) async fn examine(session: &mut Session, server: &Server, report: &mut Report) {
    wraparound(session, report).await;
    tables(session, report).await;
    database(session, server, report).await;
    slots(session, server, report).await;
}

#[derive(Deserialize)]
struct Age {
    database: String,
    xids: i64,
    multixacts: i64,
}

async fn wraparound(session: &mut Session, report: &mut Report) {
    let oldest = session
        .one::<Age>(
            "SELECT datname AS database, age(datfrozenxid)::int8 AS xids, mxid_age(datminmxid)::int8 AS multixacts \
             FROM pg_database ORDER BY greatest(age(datfrozenxid), mxid_age(datminmxid)) DESC LIMIT 1",
        )
        .await;
    let oldest = match oldest {
        Ok(oldest) => oldest,
        Err(unavailable) => return report.unavailable("wraparound", &unavailable, ""),
    };
    let age = oldest.xids.max(oldest.multixacts);
    let share = age * 100 / (1 << 31);
    report.note(
        "wraparound",
        format!(
            "{} million transactions, {share}% of the way ({})",
            age / 1_000_000,
            oldest.database
        ),
        json!({ "database": oldest.database, "transactions": oldest.xids, "multixacts": oldest.multixacts }),
    );
    if age > OLD_XID {
        let level = if age > VERY_OLD_XID { Level::Fail } else { Level::Warn };
        report.find(
            level,
            "wraparound",
            format!(
                "database {} is {share}% of the way to transaction wraparound",
                oldest.database
            ),
            "At 100% it rejects writes. Vacuum is off, too slow, or held back by an old transaction or slot.",
            vec![format!(
                "vacuumdb --freeze --jobs 2 {}   # as a superuser",
                super::cause::shell(&oldest.database)
            )],
        );
    }
}

#[derive(Deserialize)]
struct Dead {
    relation: String,
    live: i64,
    dead: i64,
}

async fn tables(session: &mut Session, report: &mut Report) {
    let worst = session
        .rows::<Dead>(
            "SELECT relid::regclass::text AS relation, n_live_tup AS live, n_dead_tup AS dead FROM pg_stat_user_tables \
             WHERE n_dead_tup > 0 ORDER BY n_dead_tup DESC LIMIT 3",
        )
        .await;
    let worst = match worst {
        Ok(worst) => worst,
        Err(unavailable) => return report.unavailable("deadRows", &unavailable, ""),
    };
    let words: Vec<String> = worst
        .iter()
        .map(|table| format!("{} in {} ({} live)", table.dead, table.relation, table.live))
        .collect();
    let data: BTreeMap<&str, i64> = worst
        .iter()
        .map(|table| (table.relation.as_str(), table.dead))
        .collect();
    let text = if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    };
    report.note("deadRows", text, json!(data));
    #[expect(clippy::cast_precision_loss, reason = "a share of rows need not be exact")]
    let many = |table: &&Dead| table.dead > DEAD && table.dead as f64 > table.live as f64 * DEAD_SHARE;
    for table in worst.iter().filter(many) {
        report.find(
            Level::Warn,
            "dead-rows",
            format!(
                "{} has {} dead rows for {} live ones",
                table.relation, table.dead, table.live
            ),
            "Vacuum does not keep up, or something old keeps it from removing them: scans read them all.",
            vec![format!("VACUUM (ANALYZE) {};", table.relation)],
        );
    }
}

#[derive(Deserialize)]
struct Database {
    hit: i64,
    read: i64,
    deadlocks: i64,
    corrupt: Option<i64>,
}

async fn database(session: &mut Session, server: &Server, report: &mut Report) {
    let asked = session
        .one::<Database>(
            "SELECT blks_hit AS hit, blks_read AS read, deadlocks, checksum_failures AS corrupt \
             FROM pg_stat_database WHERE datname = current_database()",
        )
        .await;
    let found = match asked {
        Ok(found) => found,
        Err(unavailable) => return report.unavailable("cache", &unavailable, &server.grant()),
    };
    let blocks = found.hit + found.read;
    let ratio = if blocks == 0 { 0 } else { found.hit * 1_000 / blocks };
    let mut text = format!("{}.{}% of {blocks} blocks came from the cache", ratio / 10, ratio % 10);
    if blocks < BLOCKS {
        text.push_str(" (too few to say)");
    }
    report.note("cache", text, json!({ "hit": found.hit, "read": found.read }));
    if blocks >= BLOCKS && ratio < 900 {
        report.find(
            Level::Advice,
            "cache",
            format!("only {}% of the blocks read come from the cache", ratio / 10),
            "The tables in use do not fit into shared_buffers, or a statement scans them whole: see the slowest ones.",
            Vec::new(),
        );
    }
    report.note(
        "deadlocks",
        format!("{} since statistics began", found.deadlocks),
        json!(found.deadlocks),
    );
    if found.corrupt.is_some_and(|pages| pages > 0) {
        report.find(
            Level::Fail,
            "checksums",
            format!("{} data pages failed their checksum", found.corrupt.unwrap_or_default()),
            "The disk or the memory damages data. Stop writing to it, and restore from a backup.",
            vec!["restore a backup onto other hardware: docs/postgres/backups.md".to_owned()],
        );
    }
}

#[derive(Deserialize)]
struct Slot {
    name: String,
    retained: Option<i64>,
}

async fn slots(session: &mut Session, server: &Server, report: &mut Report) {
    if server.standby {
        return;
    }
    let unread = session
        .rows::<Slot>(
            "SELECT slot_name AS name, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 AS retained \
             FROM pg_replication_slots WHERE NOT active ORDER BY 2 DESC NULLS LAST",
        )
        .await;
    let unread = match unread {
        Ok(unread) => unread,
        Err(unavailable) => return report.unavailable("slots", &unavailable, &server.grant()),
    };
    let retained = |slot: &Slot| slot.retained.unwrap_or_default();
    let words: Vec<String> = unread
        .iter()
        .map(|slot| format!("{} keeps {}", slot.name, bytes(retained(slot))))
        .collect();
    let text = if words.is_empty() {
        "none unread".to_owned()
    } else {
        words.join(", ")
    };
    report.note("slots", text, json!({ "unread": unread.len() }));
    for slot in unread.iter().filter(|slot| retained(slot) > RETAINED) {
        report.find(
            Level::Warn,
            "unread-slot",
            format!(
                "replication slot {} keeps {} of WAL that nobody reads",
                slot.name,
                bytes(retained(slot))
            ),
            "It fills the disk, and then the server stops. Start its reader, or drop the slot.",
            vec![format!(
                "SELECT pg_drop_replication_slot('{}');",
                slot.name.replace('\'', "''")
            )],
        );
    }
}
