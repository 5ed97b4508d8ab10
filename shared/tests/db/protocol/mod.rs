//! The write protocol under random faults: messages that are late, lost, cut or delivered twice, paths that hang,
//! sessions that are terminated, rows that are locked, conditions that change, a server that crashes, and a failover.
//!
//! A round is one logical write, sent by one environment or by two with one client's key. When all late messages have
//! arrived, no write may have been applied twice, every acknowledged one must be there, and none that was finally
//! refused. Round `n` of a run derives all random choices from `PROTOCOL_SEED` + n, so that one round can be repeated,
//! as far as scheduling allows, with its own seed and `PROTOCOL_ROUNDS=1`.
//!
//! ```text
//! PROTOCOL_ROUNDS=5000 cargo test -p shared --test db protocol::random -- --nocapture
//! ```

mod direct;
mod environment;
mod oracle;
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::{join, join_all};
use local::postgres::{Cluster, Replication, Settings};
use shared::config::DatabaseUrl;
use shared::db::{IdempotencyKey, migrate};
use tokio::time::sleep;
use uuid::Uuid;

use super::bench::{NOTES, first_bytes, until};
use direct::Direct;
use environment::{Environment, Input, Outcome};
use oracle::{Report, Round};
use plan::{Disturbance, Key, Plan};

/// Rounds that run concurrently.
const WORKERS: usize = 12;

/// A worker judges this many rounds together, so that late messages of one arrive in those after it.
const BATCH: usize = 8;

/// One crash of the server in this many rounds.
const CRASH_EVERY: usize = 150;

/// Two environments that send rounds, one after the other.
struct Worker {
    environments: [Environment; 2],
    direct: Direct,
    others: [Direct; 2],
    number: usize,
}

impl Worker {
    async fn new(number: usize, cluster: &Cluster) -> Self {
        let url = cluster.url();
        let environment = |which: usize| {
            let name = format!("protocol-{number}-{which}");
            Environment::new(name, cluster.port(), &url)
        };
        Self {
            environments: [environment(0).await, environment(1).await],
            direct: Direct::new(&url),
            others: [Direct::new(&url), Direct::new(&url)],
            number,
        }
    }

    async fn round(&mut self, seed: u64, plan: Plan, row: i32) -> Round {
        let logical = Uuid::now_v7();
        let taken = Uuid::now_v7();
        let mut begin = format!("UPDATE rows SET open = {} WHERE number = {row};", !plan.closed);
        if plan.taken {
            begin.push_str(&format!(
                "INSERT INTO entities VALUES ('{taken}') ON CONFLICT DO NOTHING"
            ));
        }
        self.direct.rows(&begin).await;
        let mut name = logical.to_string();
        let key = |name: &str, body: usize| match plan.key {
            Key::Generated => IdempotencyKey::generated(),
            Key::Client => IdempotencyKey::from_client("caller", name, &[b"body"]),
            Key::Reused => IdempotencyKey::from_client("caller", name, &[&[u8::from(body > 0)]]),
        };
        let input = || {
            let id = Uuid::now_v7();
            let entity = plan.creates.then_some(if plan.taken { taken } else { id });
            Input {
                logical,
                id,
                row,
                entity,
            }
        };
        if plan.expired {
            let earlier = Input {
                logical: Uuid::now_v7(),
                entity: None,
                ..input()
            };
            let earliest = self.environments[0]
                .send(Duration::from_secs(5), &key(&name, 0), &earlier, plan.transaction)
                .await;
            let expire = format!(
                "UPDATE receipts SET expires_at = now() - interval '1 second' WHERE id = '{}'",
                earlier.id
            );
            self.direct.rows(&expire).await;
            // A receipt that may still arrive would be replayed.
            if !matches!(earliest, Outcome::Done(_)) {
                name = Uuid::now_v7().to_string();
            }
        }
        if plan.buried {
            let key = first_bytes(&[b"keyed", b"caller", name.as_bytes()]);
            let bury = format!(
                "INSERT INTO receipts (key, request, nonce, expires_at) \
                 VALUES ('{key}', gen_random_uuid(), gen_random_uuid(), now() + interval '1 day') ON CONFLICT DO NOTHING"
            );
            self.direct.rows(&bury).await;
        }
        let keys: Vec<_> = (0..plan.requests.len()).map(|body| key(&name, body)).collect();
        let inputs: Vec<_> = plan.requests.iter().map(|_| input()).collect();
        for (environment, request) in self.environments.iter_mut().zip(&plan.requests) {
            environment.connect().await;
            environment.order(&request.effects);
        }
        let sends = plan.requests.iter().enumerate().map(|(which, request)| {
            let environment = &self.environments[which];
            let (key, input) = (&keys[which], inputs[which]);
            async move {
                sleep(request.start).await;
                let outcome = environment.send(request.deadline, key, &input, plan.transaction).await;
                (input, outcome)
            }
        });
        let [locker, other] = &mut self.others;
        let (answers, ()) = join(
            join_all(sends),
            disturb(&plan.disturbances, locker, other, self.number, row),
        )
        .await;
        for environment in &self.environments {
            environment.withdraw();
        }
        Round { seed, plan, answers }
    }

    /// Switches to another server from now on.
    fn follow(&mut self, url: &str) {
        for direct in [&mut self.direct].into_iter().chain(&mut self.others) {
            direct.follow(url);
        }
    }

    /// Waits until nothing of the rounds is in progress, and judges them.
    async fn judge(&mut self, report: &mut Report, rounds: Vec<Round>) {
        for environment in &mut self.environments {
            environment.quiet(&mut self.direct).await;
        }
        report.judge(&mut self.direct, rounds).await;
    }
}

async fn disturb(
    disturbances: &[(Duration, Disturbance)],
    locker: &mut Direct,
    other: &mut Direct,
    worker: usize,
    row: i32,
) {
    let lock = async {
        for (start, disturbance) in disturbances {
            if let Disturbance::Lock(held) = disturbance {
                sleep(*start).await;
                let lock = format!(
                    "BEGIN; SET LOCAL lock_timeout = '300ms'; SELECT FROM rows WHERE number = {row} FOR UPDATE; \
                     SELECT pg_sleep({}); ROLLBACK",
                    held.as_secs_f64()
                );
                locker.tried(lock).await;
            }
        }
    };
    let disturb = async {
        for (start, disturbance) in disturbances {
            let sql = match disturbance {
                Disturbance::Kill => format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE application_name LIKE 'protocol-{worker}-%'"
                ),
                Disturbance::Toggle => format!(
                    "BEGIN; SET LOCAL lock_timeout = '200ms'; \
                     UPDATE rows SET open = NOT open WHERE number = {row}; COMMIT"
                ),
                Disturbance::Lock(_) => continue,
            };
            sleep(*start).await;
            other.tried(sql).await;
        }
    };
    join(lock, disturb).await;
}

/// Creates a migrated cluster with the tables of the rounds.
async fn cluster(rounds: usize) -> Cluster {
    let settings = Settings {
        max_connections: 300,
        ..Settings::default()
    };
    let cluster = Cluster::throwaway(settings).await.unwrap();
    migrate::migrate(&DatabaseUrl::parse(&cluster.url()).unwrap(), &NOTES)
        .await
        .unwrap();
    let tables = format!(
        "CREATE TABLE rows (number int PRIMARY KEY, open bool NOT NULL, version int NOT NULL);\
         CREATE TABLE entities (id uuid PRIMARY KEY);\
         CREATE TABLE applied (logical uuid NOT NULL, id uuid NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());\
         CREATE INDEX ON applied (logical); CREATE INDEX ON receipts (id);\
         INSERT INTO rows SELECT n, true, 0 FROM generate_series(0, {rounds}) AS n"
    );
    Direct::new(&cluster.url()).rows(&tables).await;
    cluster
}

#[expect(clippy::disallowed_methods, reason = "a test's own variables")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

fn seed() -> u64 {
    variable("PROTOCOL_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs() * 100_000
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn random_faults_break_no_promise() {
    let seed = seed();
    let rounds = usize::try_from(variable("PROTOCOL_ROUNDS").unwrap_or(300)).unwrap();
    let cluster = cluster(rounds).await;
    let (next, running) = (AtomicUsize::new(0), AtomicUsize::new(WORKERS.min(rounds)));
    let workers = (0..WORKERS.min(rounds)).map(async |number| {
        let mut worker = Worker::new(number, &cluster).await;
        let mut report = Report::default();
        let mut batch = Vec::new();
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round < rounds {
                let (seed, row) = (seed + round as u64, i32::try_from(round).unwrap());
                batch.push(worker.round(seed, Plan::new(seed), row).await);
            }
            if batch.len() == BATCH || round >= rounds {
                worker.judge(&mut report, std::mem::take(&mut batch)).await;
            }
            if round >= rounds {
                running.fetch_sub(1, Ordering::Relaxed);
                return report;
            }
        }
    });
    let crashes = async {
        for at in (CRASH_EVERY / 2..rounds).step_by(CRASH_EVERY) {
            while next.load(Ordering::Relaxed) < at && running.load(Ordering::Relaxed) > 0 {
                sleep(Duration::from_millis(5)).await;
            }
            cluster.kill().await.unwrap();
            cluster.start().await.unwrap();
        }
    };
    let (reports, ()) = join(join_all(workers), crashes).await;
    conclude(seed, rounds, reports);
}

/// The old server continues alone for a while, as before a DNS record changes: without its standby it acknowledges
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn failover_breaks_no_promise() {
    let seed = seed();
    let rounds = 60;
    let primary = cluster(rounds).await;
    let standby = primary.standby("next", Replication::Synchronous).await.unwrap();
    let workers = join_all((0..WORKERS / 2).map(|number| Worker::new(number, &primary))).await;
    let environments = workers.iter().flat_map(|worker| &worker.environments);
    let proxies: Vec<_> = environments.map(|environment| Arc::clone(&environment.proxy)).collect();
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let workers = workers.into_iter().map(async |mut worker| {
        let mut done = Vec::new();
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round >= rounds {
                return (worker, done);
            }
            if over.load(Ordering::Relaxed) {
                worker.follow(&standby.url());
            }
            let (seed, row) = (seed + round as u64, i32::try_from(round).unwrap());
            // Its receipt would expire on only one of the servers.
            let plan = Plan {
                expired: false,
                ..Plan::new(seed)
            };
            done.push(worker.round(seed, plan, row).await);
        }
    });
    let failover = async {
        let begun = async |part: usize| until("rounds are over", async || next.load(Ordering::Relaxed) >= part).await;
        begun(rounds / 4).await;
        standby.promote().await.unwrap();
        begun(rounds * 3 / 4).await;
        over.store(true, Ordering::Relaxed);
        for proxy in &proxies {
            proxy.redirect(([127, 0, 0, 1], standby.port()).into());
        }
    };
    let (workers, ()) = join(join_all(workers), failover).await;
    primary.kill().await.unwrap();
    let mut report = Report::default();
    for (mut worker, rounds) in workers {
        worker.follow(&standby.url());
        worker.judge(&mut report, rounds).await;
    }
    conclude(seed, rounds, vec![report]);
}

fn conclude(seed: u64, rounds: usize, reports: Vec<Report>) {
    let mut whole = Report::default();
    for report in reports {
        whole.rounds += report.rounds;
        whole.applied += report.applied;
        for (kind, count) in report.answers {
            *whole.answers.entry(kind).or_default() += count;
        }
        whole.violations.extend(report.violations);
    }
    println!(
        "PROTOCOL_SEED={seed}: {} rounds, {} applied, {:?}, {} violations",
        whole.rounds,
        whole.applied,
        whole.answers,
        whole.violations.len()
    );
    assert!(
        whole.violations.is_empty(),
        "PROTOCOL_SEED={seed} PROTOCOL_ROUNDS={rounds}:\n{}",
        whole.violations.join("\n")
    );
    assert_eq!(whole.rounds, rounds);
}
