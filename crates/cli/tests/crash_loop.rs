//! Clients of every operation against the real server, which is killed at a random moment, again and again. Each client knows what
//! it was told: what was acknowledged holds; what was not is absent or whole; nothing is left over; and a rebuild brings back the
//! same.
//!
//! `LARDER_CRASH_ROUNDS` (20; half of it over two stores, PostgreSQL or a bucket, a twentieth over PostgreSQL with one),
//! `LARDER_CRASH_SEED` (random; printed), `LARDER_CRASH_CLIENTS` (16).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails loudly and tells what it skips")]

#[path = "common/bucket.rs"]
mod bucket;
mod common;

use bucket::Bucket;
use common::{Client, DEADLINE, Larder, Reply, Server, sha256};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    time::{Duration, Instant},
};

/// SplitMix64 (Steele, Lea, Flood 2014): one number decides a whole run of a client.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Mostly small content, sometimes large enough for several blocks.
    fn content(&mut self) -> Vec<u8> {
        let size = match self.below(10) {
            0 => 0,
            1 => 1_000_000 + self.below(1_500_000),
            2 | 3 => self.below(200_000),
            _ => self.below(5_000),
        };
        let mut content = Vec::with_capacity(size as usize + 8);
        while (content.len() as u64) < size {
            content.extend_from_slice(&self.next().to_le_bytes());
        }
        content.truncate(size as usize);
        content
    }
}

/// What a file may be.
#[derive(Clone, Debug, PartialEq)]
enum State {
    /// Never made, or purged.
    Gone,
    Here {
        sha256: String,
        name: String,
        tags: Vec<String>,
        in_trash: bool,
    },
}

/// A file as its client knows it: more than one state where an operation was not acknowledged.
struct Known {
    /// Unknown where the create was not acknowledged.
    id: Option<String>,
    /// Of the create: unique in the whole run.
    first_name: String,
    content: Vec<u8>,
    possible: Vec<State>,
    /// Old revisions whose purge was acknowledged.
    purged: BTreeSet<u64>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {:?} made as `{}`, possibly {:?}", self.id, self.first_name, self.possible)
    }
}

impl Known {
    fn state(&self) -> Option<&State> {
        if let [state] = &self.possible[..] { Some(state) } else { None }
    }

    fn is_settled(&self) -> bool {
        self.possible.len() == 1 && self.id.is_some()
    }
}

/// One client and all that it was ever told.
struct Oracle {
    /// Which of the users it is.
    user: usize,
    number: usize,
    random: Random,
    made: u64,
    files: Vec<Known>,
    acknowledged: u64,
}

/// Method, path below the file's own, headers, body.
type Request<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Option<&'a [u8]>);

/// The connection broke off: nobody knows.
struct Broken;

impl Oracle {
    fn new(number: usize, users: usize, seed: u64) -> Self {
        let random = Random(seed ^ (number as u64).wrapping_mul(0xd134_2543_de82_ef95));
        Self { user: number % users, number, random, made: 0, files: Vec::new(), acknowledged: 0 }
    }

    /// Works until the connection breaks.
    fn work(&mut self, client: &Client, acknowledged: &mpsc::Sender<()>) {
        while self.operate(client).is_ok() {
            self.acknowledged += 1;
            if acknowledged.send(()).is_err() {
                return;
            }
        }
    }

    fn operate(&mut self, client: &Client) -> Result<(), Broken> {
        let settled: Vec<usize> = (0..self.files.len()).filter(|&at| self.files[at].is_settled()).collect();
        let here: Vec<usize> =
            settled.into_iter().filter(|&at| matches!(self.files[at].state(), Some(State::Here { .. }))).collect();
        if here.is_empty() || (here.len() < 12 && self.random.below(3) == 0) {
            return self.create(client);
        }
        let at = here[self.random.below(here.len() as u64) as usize];
        match self.random.below(8) {
            0 => self.replace(client, at),
            1 => self.patch(client, at),
            2 => self.trash(client, at),
            3 => self.restore(client, at),
            4 => self.purge(client, at),
            5 => self.read(client, at),
            6 => self.purge_revision(client, at),
            _ => self.list(client),
        }
    }

    fn create(&mut self, client: &Client) -> Result<(), Broken> {
        self.made += 1;
        let name = format!("c{}/{}", self.number, self.made);
        let content = self.random.content();
        let here = State::Here { sha256: sha256(&content), name: name.clone(), tags: vec![], in_trash: false };
        let possible = vec![State::Gone, here.clone()];
        self.files.push(Known { id: None, first_name: name, content, possible, purged: BTreeSet::new() });
        let known = self.files.last_mut().unwrap();
        let reply = upload(client, known)?;
        if reply.status == 201 {
            known.id = Some(reply.json()["id"].as_str().unwrap().to_owned());
            known.possible = vec![here];
        }
        expect(&reply, &[201])
    }

    fn replace(&mut self, client: &Client, at: usize) -> Result<(), Broken> {
        let content = self.random.content();
        let headers = [("Content-Type", "application/octet-stream")];
        let change = |state: &mut State| {
            if let State::Here { sha256: hash, .. } = state {
                *hash = sha256(&content);
            }
        };
        self.change(client, at, ("PUT", "/content", &headers, Some(&content)), &[200], change)
    }

    fn patch(&mut self, client: &Client, at: usize) -> Result<(), Broken> {
        let number = self.random.below(1_000_000);
        let (new_name, new_tags) = (format!("c{}/renamed {number}", self.number), vec![format!("tag{number}")]);
        let body = json!({"name": new_name, "tags": new_tags}).to_string();
        let headers = [("Content-Type", "application/merge-patch+json")];
        let change = |state: &mut State| {
            if let State::Here { name, tags, .. } = state {
                (*name, *tags) = (new_name.clone(), new_tags.clone());
            }
        };
        self.change(client, at, ("PATCH", "", &headers, Some(body.as_bytes())), &[200], change)
    }

    fn trash(&mut self, client: &Client, at: usize) -> Result<(), Broken> {
        self.change(client, at, ("DELETE", "", &[], None), &[204], |state| put_in_trash(state, true))
    }

    fn restore(&mut self, client: &Client, at: usize) -> Result<(), Broken> {
        self.change(client, at, ("POST", "/restore", &[], None), &[200], |state| put_in_trash(state, false))
    }

    fn purge(&mut self, client: &Client, at: usize) -> Result<(), Broken> {
        self.change(client, at, ("DELETE", "?purge=true", &[], None), &[204], |state| *state = State::Gone)
    }

    /// The oldest revision, if there is a newer one: whatever becomes of it, the file stays as it is.
    fn purge_revision(&mut self, client: &Client, at: usize) -> Result<(), Broken> {
        let known = &mut self.files[at];
        let path = format!("/api/v1/files/{}/revisions", known.id.as_ref().unwrap());
        let listed = client.send("GET", &path, &[], None).map_err(|_| Broken)?;
        expect(&listed, &[200])?;
        let numbers = revisions(&listed.json());
        let [oldest, _, ..] = numbers[..] else { return Ok(()) };
        let reply = client.send("DELETE", &format!("{path}/{oldest}"), &[], None).map_err(|_| Broken)?;
        if reply.status == 204 {
            known.purged.insert(oldest);
        }
        expect(&reply, &[204])
    }

    /// A change of one file: until it is acknowledged the file may be as it was or as it will be.
    fn change(
        &mut self,
        client: &Client,
        at: usize,
        (method, path, headers, body): Request<'_>,
        good: &[u16],
        change: impl Fn(&mut State),
    ) -> Result<(), Broken> {
        let known = &mut self.files[at];
        let before = known.possible[0].clone();
        let mut after = before.clone();
        change(&mut after);
        known.possible = vec![before.clone(), after.clone()];
        known.possible.dedup();
        let path = format!("/api/v1/files/{}{path}", known.id.as_ref().unwrap());
        let reply = client.send(method, &path, headers, body).map_err(|_| Broken)?;
        if good.contains(&reply.status) {
            known.possible = vec![after];
        } else if reply.status < 500 {
            // A change that the file's state does not allow: of what lies in the trash.
            let in_trash = matches!(&before, State::Here { in_trash: true, .. });
            assert!(in_trash && [404, 409].contains(&reply.status), "{method} {path} {before:?}: {}", reply.text());
            known.possible = vec![before];
        }
        expect(&reply, &[good, &[404, 409]].concat())
    }

    fn read(&mut self, client: &Client, at: usize) -> Result<(), Broken> {
        let known = &self.files[at];
        let path = format!("/api/v1/files/{}/content", known.id.as_ref().unwrap());
        let reply = client.send("GET", &path, &[], None).map_err(|_| Broken)?;
        match known.state() {
            Some(State::Here { sha256: hash, in_trash: false, .. }) => {
                assert_eq!((reply.status, sha256(&reply.body)), (200, hash.clone()), "{path}");
            }
            _ => assert_eq!(reply.status, 404, "{path}: {known:?}"),
        }
        Ok(())
    }

    /// Everything of this client that is certain must be there, and nothing else of what it knows.
    fn list(&mut self, client: &Client) -> Result<(), Broken> {
        let path = format!("/api/v1/files?limit=1000&prefix=c{}/", self.number);
        let reply = client.send("GET", &path, &[], None).map_err(|_| Broken)?;
        expect(&reply, &[200])?;
        let listed = by_id(&reply.json());
        for known in self.files.iter().filter(|known| known.is_settled()) {
            let is_live = matches!(known.state(), Some(State::Here { in_trash: false, .. }));
            assert_eq!(listed.contains_key(known.id.as_ref().unwrap()), is_live, "{known:?}");
        }
        Ok(())
    }

    /// After a restart: every file is as it may be, and from now on that is what it is.
    fn settle(&mut self, client: &Client, all: &mut BTreeMap<String, Value>) {
        for known in &mut self.files {
            if known.id.is_none() {
                // Half of them ask again, with the same key: then it must be there, and once.
                if self.random.below(2) == 0 {
                    let reply = repeat(client, known);
                    assert_eq!(reply.status, 201, "{}: {}", known.first_name, reply.text());
                    all.insert(reply.json()["id"].as_str().unwrap().to_owned(), reply.json());
                    known.possible.remove(0);
                }
                let of_name = |record: &&Value| record["name"] == known.first_name.as_str();
                let found: Vec<&Value> = all.values().filter(of_name).collect();
                assert!(found.len() <= 1, "made twice: {found:?}");
                known.id = found.first().map(|record| record["id"].as_str().unwrap().to_owned());
            }
            let state = match &known.id {
                Some(id) => observe(client, id),
                None => State::Gone,
            };
            assert!(known.possible.contains(&state), "{state:?} is none of {known:?}");
            if let (Some(id), State::Here { .. }) = (&known.id, &state) {
                let numbers = revisions(&client.get(&format!("/api/v1/files/{id}/revisions")).json());
                assert!(!numbers.iter().any(|number| known.purged.contains(number)), "{numbers:?}, {:?}", known.purged);
            }
            if let Some(id) = &known.id {
                assert_eq!(all.remove(id).is_some(), state != State::Gone, "{known:?}");
            }
            known.possible = vec![state];
        }
        // A create that came to nothing is done with.
        self.files.retain(|known| known.id.is_some());
    }
}

fn put_in_trash(state: &mut State, is_in_trash: bool) {
    if let State::Here { in_trash, .. } = state {
        *in_trash = is_in_trash;
    }
}

fn upload(client: &Client, known: &Known) -> Result<Reply, Broken> {
    let path = format!("/api/v1/buckets/documents/files?name={}", known.first_name);
    let headers = [("Content-Type", "application/octet-stream"), ("Idempotency-Key", &*known.first_name)];
    client.send("POST", &path, &headers, Some(&known.content)).map_err(|_| Broken)
}

/// The same upload again, until it is known what became of the first: where a store does not stage, that takes a while.
fn repeat(client: &Client, known: &Known) -> Reply {
    let until = Instant::now() + DEADLINE;
    loop {
        let reply = upload(client, known).unwrap_or_else(|Broken| panic!("the server is up"));
        if ![409, 503].contains(&reply.status) || Instant::now() > until {
            return reply;
        }
        pause(MOMENT);
    }
}

const MOMENT: Duration = Duration::from_millis(100);

fn pause(time: Duration) {
    let (_never, nothing) = mpsc::channel::<()>();
    let _ = nothing.recv_timeout(time);
}

/// A good answer goes on; a 5xx leaves the file unsettled and goes on as well.
#[track_caller]
fn expect(reply: &Reply, good: &[u16]) -> Result<(), Broken> {
    assert!(good.contains(&reply.status) || reply.status == 503, "{}: {}", reply.status, reply.text());
    Ok(())
}

fn observe(client: &Client, id: &str) -> State {
    let reply = client.get(&format!("/api/v1/files/{id}"));
    if [404, 410].contains(&reply.status) {
        return State::Gone;
    }
    assert_eq!(reply.status, 200, "{}", reply.text());
    let record = reply.json();
    let in_trash = !record["deleted_at"].is_null();
    let content = client.get(&format!("/api/v1/files/{id}/content"));
    let hash = record["sha256"].as_str().unwrap().to_owned();
    if in_trash {
        assert_eq!(content.status, 404);
    } else {
        assert_eq!((content.status, sha256(&content.body)), (200, hash.clone()), "{record}");
        assert_eq!(record["size"], content.body.len() as u64);
    }
    let tags = record["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect();
    State::Here { sha256: hash, name: record["name"].as_str().unwrap().to_owned(), tags, in_trash }
}

fn revisions(page: &Value) -> Vec<u64> {
    page["items"].as_array().unwrap().iter().map(|row| row["revision"].as_u64().unwrap()).collect()
}

fn by_id(page: &Value) -> BTreeMap<String, Value> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|record| (record["id"].as_str().unwrap().to_owned(), record.clone())).collect()
}

/// All files of all users, live and in the trash.
fn everything(client: &Client) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for deleted in ["false", "true"] {
        let mut cursor = String::new();
        loop {
            let page = client.get(&format!("/api/v1/files?limit=1000&deleted={deleted}{cursor}")).json();
            all.append(&mut by_id(&page));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
    all
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

/// How often installations of a kind are killed.
struct Rounds {
    /// Which part of those that are asked for.
    share: u64,
    /// How many there are from one rebuild to the next.
    rebuild_every: u64,
}

/// Kills installations of a kind, each so often and then the next. Ends early where there is nothing to make one of.
fn kill<Beside>(rounds: &Rounds, installation: impl Fn() -> Option<(Larder, Beside)>) {
    let Rounds { share, rebuild_every } = *rounds;
    let mut bits = [0; 8];
    getrandom::fill(&mut bits).unwrap();
    let seed = number("LARDER_CRASH_SEED", u64::from_le_bytes(bits));
    let rounds = number("LARDER_CRASH_ROUNDS", 20).div_ceil(share);
    let clients = number("LARDER_CRASH_CLIENTS", 16) as usize;
    println!("LARDER_CRASH_SEED={seed} LARDER_CRASH_ROUNDS={} LARDER_CRASH_CLIENTS={clients}", rounds * share);
    let mut random = Random(seed);
    for first in (1..=rounds).step_by(ROUNDS_OF_ONE as usize) {
        let Some((larder, _beside)) = installation() else { return };
        one_installation(&larder, first..=rounds.min(first + ROUNDS_OF_ONE - 1), rebuild_every, clients, &mut random);
    }
}

const ALWAYS: u64 = 1;
/// A rebuild over a bucket waits for what may be on its way there.
const SELDOM: u64 = 3;

#[test]
fn whatever_was_acknowledged_survives_every_kill() {
    kill(&Rounds { share: 1, rebuild_every: ALWAYS }, || Some((Larder::new(), ())));
}

#[test]
fn whatever_was_acknowledged_survives_every_kill_and_comes_to_both_of_two_stores() {
    kill(&Rounds { share: 2, rebuild_every: ALWAYS }, || Some((Larder::mirrored(), ())));
}

#[test]
fn whatever_was_acknowledged_survives_every_kill_over_postgresql() {
    kill(&Rounds { share: 2, rebuild_every: ALWAYS }, || Some((Larder::over_postgresql()?, ())));
}

/// What a bucket is waited for: what was on its way when a process was killed has arrived three times as long after.
const SHORT: &str = "create_bucket = true\nrequest_seconds = 2\npart_seconds = 2\ncomplete_seconds = 2\n";

fn over_a_bucket(before: &str) -> Option<(Larder, Bucket)> {
    let bucket = Bucket::new();
    Some((bucket.larder_with(before, SHORT), bucket))
}

#[test]
fn whatever_was_acknowledged_survives_every_kill_over_a_bucket_alone() {
    kill(&Rounds { share: 2, rebuild_every: SELDOM }, || over_a_bucket(""));
}

#[test]
fn whatever_was_acknowledged_survives_every_kill_over_a_disk_and_a_bucket() {
    let before = "placement = [\"local\", \"far\"]\n[stores.local]\n";
    kill(&Rounds { share: 2, rebuild_every: SELDOM }, || over_a_bucket(before));
}

/// With no directory there is no lock that a dead process lets go of: each kill costs the minute after which others bury it.
#[test]
fn whatever_was_acknowledged_survives_every_kill_over_postgresql_and_a_bucket() {
    kill(&Rounds { share: 20, rebuild_every: ALWAYS }, || {
        let (larder, bucket) = (Larder::over_postgresql()?, Bucket::new());
        larder.configure(&bucket.stores(SHORT));
        Some((larder, bucket))
    });
}

/// How often one installation is killed before the next one begins: it is checked whole after each round, so it must not grow for ever.
const ROUNDS_OF_ONE: u64 = 40;

fn one_installation(
    larder: &Larder,
    rounds: RangeInclusive<u64>,
    rebuild_every: u64,
    clients: usize,
    random: &mut Random,
) {
    let users = clients.min(4);
    larder.user("root", true);
    (0..users).for_each(|user| larder.user(&format!("user{user}"), false));
    let mut oracles: Vec<Oracle> = (0..clients).map(|number| Oracle::new(number, users, random.next())).collect();
    for round in rounds.clone() {
        let began = Instant::now();
        let mut people = People::log_in(larder, users);
        oracles = hammer(oracles, &people, random);
        people.server.kill();
        let recovered = check(larder, &mut oracles, &mut people.clients);
        if round.is_multiple_of(rebuild_every) || round == *rounds.end() {
            larder.assert_rebuilds_equal();
        }
        let (acknowledged, files): (u64, usize) =
            oracles.iter().fold((0, 0), |(sum, files), oracle| (sum + oracle.acknowledged, files + oracle.files.len()));
        println!("round {round}, {:?}: {acknowledged} acknowledged, {files} files known; {recovered}", began.elapsed());
    }
}

/// A server and those who speak to it: `user0`, `user1`, …, and the admin last.
struct People {
    server: Server,
    clients: Vec<Client>,
}

impl People {
    fn log_in(larder: &Larder, users: usize) -> Self {
        let server = larder.serve();
        let names = (0..users).map(|user| format!("user{user}")).chain(["root".to_owned()]);
        let clients = names.map(|name| server.client(&name)).collect();
        Self { server, clients }
    }
}

/// Has all clients work until a random number of their operations was acknowledged, and a random moment more.
fn hammer(oracles: Vec<Oracle>, people: &People, random: &mut Random) -> Vec<Oracle> {
    let (acknowledged, acknowledgements) = mpsc::channel();
    let threads: Vec<_> = oracles
        .into_iter()
        .map(|mut oracle| {
            let (client, acknowledged) = (people.clients[oracle.user].clone(), acknowledged.clone());
            std::thread::spawn(move || {
                oracle.work(&client, &acknowledged);
                oracle
            })
        })
        .collect();
    drop(acknowledged);
    for _ in 0..random.below(600) {
        acknowledgements.recv_timeout(DEADLINE).expect("somebody is served");
    }
    pause(Duration::from_micros(random.below(5_000)));
    people.server.send_kill();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Waits until it is known what became of everything that was under way, and nothing of it can turn up any more.
fn until_settled(larder: &Larder, server: &Server, root: &Client) {
    // A node without locks is taken for dead after a minute, and its claims are waited for as long again and half.
    let until = Instant::now() + 4 * DEADLINE;
    while !larder.has_locks() && !server.said().contains("are taken for dead") {
        assert!(Instant::now() < until, "nobody buries the node that was killed: {}", server.said());
        pause(MOMENT);
    }
    // Whoever asks too often takes the processors from those that it waits for.
    let mut moment = MOMENT;
    loop {
        let ready = root.get("/health/ready").text();
        let open = larder.run(&["fsck", "--json"]).stdout;
        if ready.contains("\"ready\"") && !open.contains("intent_open") {
            return;
        }
        assert!(Instant::now() < until, "it is never settled: {ready} {open}");
        pause(moment);
        moment = (moment * 2).min(20 * MOMENT);
    }
}

/// After the kill. Answers what the start said of it.
fn check(larder: &Larder, oracles: &mut [Oracle], clients: &mut [Client]) -> String {
    let server = larder.serve();
    let said = server.said();
    // A token outlives the process; only a rebuild ends it.
    clients.iter_mut().for_each(|client| client.move_to(&server));
    let (root, users) = clients.split_last().unwrap();
    until_settled(larder, &server, root);
    let mut all = everything(root);
    for oracle in oracles.iter_mut() {
        oracle.settle(&users[oracle.user], &mut all);
    }
    assert!(all.is_empty(), "nobody made these: {all:?}");
    larder.until_copied(root);
    // A copy that failed once is looked at again before its end.
    until_settled(larder, &server, root);
    assert!(server.stop().success());
    larder.assert_clean();
    if larder.second().exists() {
        larder.assert_mirrored();
    }
    said.lines().find(|line| line.starts_with("recovered")).unwrap_or("nothing was left").to_owned()
}

#[test]
fn the_oracle_bites_when_a_file_is_lost_changed_or_brought_back() {
    let larder = Larder::new();
    larder.user("user0", false);
    let server = larder.serve();
    let client = server.client("user0");
    let damage: [fn(&mut Known); 3] = [
        |known| known.possible = vec![State::Gone],
        |known| put_in_trash(&mut known.possible[0], true),
        |known| {
            if let State::Here { sha256, .. } = &mut known.possible[0] {
                sha256.replace_range(..1, "x");
            }
        },
    ];
    for (number, damage) in damage.into_iter().enumerate() {
        let mut oracle = Oracle::new(number, 1, 7);
        oracle.create(&client).unwrap_or_else(|Broken| panic!("the server is up"));
        damage(oracle.files.last_mut().unwrap());
        let settled = catch_unwind(AssertUnwindSafe(|| oracle.settle(&client, &mut everything(&client))));
        assert!(settled.is_err());
    }
}
