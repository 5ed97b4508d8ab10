//! A round, generated from its seed.

use std::time::Duration;

use fastrand::Rng;
use local::proxy::{Cut, Effect};

/// Late messages are delayed by at most this many milliseconds.
const LATEST: u64 = 600;

/// One logical write: its requests, and the faults that affect them.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) key: Key,
    /// An earlier request under the same key has left a receipt that has expired.
    pub(super) expired: bool,
    /// An earlier request was refused, and has left a tombstone under the key.
    pub(super) buried: bool,
    /// Several statements in a transaction instead of one.
    pub(super) transaction: bool,
    /// The write also inserts a row with a primary key of its own.
    pub(super) creates: bool,
    /// That row exists already: the write violates another constraint than the receipt's.
    pub(super) taken: bool,
    /// The write's condition does not hold when the round begins.
    pub(super) closed: bool,
    /// One, or two with one client's key.
    pub(super) requests: Vec<Request>,
    pub(super) disturbances: Vec<(Duration, Disturbance)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Generated,
    /// Both requests are the same.
    Client,
    /// The second request has another body under the same key.
    Reused,
}

/// A request, in an environment of its own.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) start: Duration,
    pub(super) deadline: Duration,
    /// For its statements that access the receipts, in order.
    pub(super) effects: Vec<Effect>,
}

/// Another session's action during the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disturbance {
    /// Terminates the sessions of the environments.
    Kill,
    /// Locks the row for this long.
    Lock(Duration),
    /// Negates the condition of the write.
    Toggle,
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let key = match rng.u32(..100) {
            ..30 => Key::Generated,
            30..92 => Key::Client,
            _ => Key::Reused,
        };
        let both = key == Key::Reused || key == Key::Client && share(&mut rng, 60);
        let contended = both && share(&mut rng, 45);
        let creates = share(&mut rng, 40);
        let left = if key == Key::Generated { 0 } else { rng.u32(..100) };
        Self {
            key,
            expired: (1..15).contains(&left),
            buried: left >= 70,
            transaction: share(&mut rng, 30),
            creates,
            taken: creates && share(&mut rng, 15),
            closed: share(&mut rng, 15),
            requests: if contended {
                contenders(&mut rng).into()
            } else {
                (0..1 + usize::from(both)).map(|_| request(&mut rng)).collect()
            },
            disturbances: if contended {
                vec![(
                    Duration::ZERO,
                    Disturbance::Lock(Duration::from_millis(rng.u64(750..1_100))),
                )]
            } else {
                disturbances(&mut rng)
            },
        }
    }
}

fn request(rng: &mut Rng) -> Request {
    let deadline = match rng.u32(..100) {
        ..25 => rng.u64(150..500),
        25..60 => rng.u64(500..1_200),
        _ => rng.u64(1_500..4_000),
    };
    let start = if share(rng, 50) { 0 } else { rng.u64(..400) };
    Request {
        start: Duration::from_millis(start),
        deadline: Duration::from_millis(deadline),
        effects: (0..rng.usize(0..=4)).map(|_| effect(rng)).collect(),
    }
}

/// Two requests that wait for the row: the second is refused meanwhile, while its statement and the first one's
/// continue.
fn contenders(rng: &mut Rng) -> [Request; 2] {
    let mut contender = |deadline| Request {
        start: Duration::from_millis(rng.u64(30..100)),
        deadline,
        effects: Vec::new(),
    };
    let short = Duration::from_millis(1_000);
    [contender(4 * short), contender(short)]
}

fn effect(rng: &mut Rng) -> Effect {
    let place = match rng.u32(..4) {
        0 => Cut::BeforeServer,
        1 => Cut::BeforeSync,
        2 => Cut::AfterServer,
        _ => Cut::BeforeAcknowledgement,
    };
    let held = Duration::from_millis(rng.u64(10..LATEST));
    match rng.u32(..100) {
        ..25 => Effect::Nothing,
        25..50 => Effect::Cut(place),
        50..56 => Effect::Hang(place),
        56..82 => Effect::LateRequest(held),
        82..92 => Effect::LateReply(held),
        _ => Effect::Twice,
    }
}

fn disturbances(rng: &mut Rng) -> Vec<(Duration, Disturbance)> {
    let mut disturbances = Vec::new();
    for (percent, disturbance) in [
        (20, Disturbance::Kill),
        (50, Disturbance::Lock(Duration::from_millis(rng.u64(20..900)))),
        (30, Disturbance::Toggle),
        (10, Disturbance::Toggle),
    ] {
        if share(rng, percent) {
            let start = if share(rng, 40) { 0 } else { rng.u64(..400) };
            disturbances.push((Duration::from_millis(start), disturbance));
        }
    }
    disturbances
}

fn share(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(..100) < percent
}
