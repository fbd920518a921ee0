//! Thousands of seeded histories of whole installations, and proof that the checker bites.
//!
//! `LARDER_SIM_HISTORIES=100000` lives through so many, `LARDER_SIM_SEED=7` replays one, `LARDER_SIM_PROFILE=disk` does so with
//! that profile. A failure prints seed, profile and the last steps.
#![allow(clippy::unwrap_used)]

#[path = "support/secrets.rs"]
mod secrets;

use larder_files::simulation::{Bug, Profile, simulate};
use std::{
    collections::BTreeMap,
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

const HISTORIES: u64 = 2_000;
/// On stores that don't stage.
const HISTORIES_UNSTAGED: u64 = 1_200;
/// On stores that keep no conditions.
const HISTORIES_CONDITIONLESS: u64 = 600;
/// Of files with several copies.
const HISTORIES_REPLICATED: u64 = 1_000;

/// Of clients that meet over names.
const HISTORIES_OF_NAMES: u64 = 900;

/// Of nodes that may take each other for dead.
const HISTORIES_OF_BURIED: u64 = 600;

/// Of clients that begin direct uploads.
const HISTORIES_OF_DIRECT: u64 = 600;

/// What seeds are spread over.
const PROFILES: [Profile; 4] = [Profile::CALM, Profile::DISK, Profile::PAIR, Profile::MIRROR];
const UNSTAGED: [Profile; 3] = [Profile::CLOUD, Profile::MIXED, Profile::FLEET];
const REPLICATED: [Profile; 7] = Profile::REPLICATED;

fn one_of(profiles: &[Profile], seed: u64) -> Profile {
    profiles[usize::try_from(seed).unwrap() % profiles.len()]
}

const UNSYNCED: &str = "a tombstone that a dead process had made visible was believed before it was durable";

/// Histories that once broke a promise, and why.
const FOUND: [(u64, Profile, &str); 16] = [
    (1781, Profile::DISK, "a leftover that the ledger refused once was forgotten, and its claim settled without it"),
    (1285, Profile::DISK, UNSYNCED),
    (326, Profile::PAIR, UNSYNCED),
    (
        38,
        Profile::PAIR,
        "a start beside a node that still settled a dead one's leftovers gave up its idempotency keys: one create made two files",
    ),
    (
        1050,
        Profile::CLOUD,
        "a mark that arrived late, after a rebuild had read the marks, made its database an older one",
    ),
    (840, Profile::CLOUD, "a marker of a rebuild that had broken off arrived late, and its epoch refused every start"),
    (2076, Profile::CLOUD, "a tombstone that arrived late said another time of purge than the ledger"),
    (
        4904,
        Profile::MIXED,
        "a node that died after a start had looked for its intents lost its idempotency keys to that start: one create made two files",
    ),
    (
        39429,
        Profile::DISK,
        "a leftover that waited for its ledger took a repeat's idempotency key for its own: one create made two files",
    ),
    (86791, Profile::MIRROR, "bytes that a dead process had withdrawn without a sync came back after a power cut"),
    (67318, Profile::CLOUD, "a mark that arrived late lowered a newer one, and an older database went unseen"),
    (309, Profile::REPLICAS, "a claim whose answer was lost stayed open for as long as its node lived"),
    (
        114,
        Profile::REPLICAS,
        "of two who found a copy damaged the slower one moved away what the other had made anew, and the row said verified",
    ),
    (668, Profile::MOVES, "the copy that stayed had rotted since it was verified, and the good one was dropped"),
    (
        399,
        Profile::SAFE,
        "a change that had come to one store was not answered, but its repeat was: there was nothing to change",
    ),
    (1175, Profile::MIXED, "the sealed record of a bucket that had lost its name arrived late, and stayed for ever"),
];

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Lives through these seeds on every core; answers the reports of those that failed, one of each kind.
fn failures(seeds: u64, profile: impl Fn(u64) -> Profile + Sync) -> Vec<String> {
    let (next, kinds) = (AtomicU64::new(0), Mutex::new(BTreeMap::<String, (u64, String)>::new()));
    let live = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            if let Err(violation) = simulate(seed, profile(seed)) {
                let words = violation.why.chars().filter(|c| !c.is_ascii_digit());
                let kind = format!("{} {}", violation.profile.name, words.take(32).collect::<String>());
                let mut kinds = kinds.lock().unwrap();
                kinds.entry(kind).or_insert_with(|| (0, violation.to_string())).0 += 1;
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(live))));
    kinds.into_inner().unwrap().into_values().map(|(count, report)| format!("{report}\n({count} like this)")).collect()
}

/// Lives through `histories` spread over `profiles`, or what the environment asks for.
fn hold(profiles: &[Profile], histories: u64) {
    let named = env::var("LARDER_SIM_PROFILE").ok();
    let all = Profile::ALL.into_iter().chain(Profile::NAMED).chain(REPLICATED).chain(Profile::CONDITIONLESS);
    let mut all = all.chain(UNSTAGED).chain(Profile::DIRECT).chain(Profile::ON_ROLL);
    let named = named.map(|name| all.find(|profile| profile.name == name).unwrap());
    if named.is_some_and(|named| !profiles.contains(&named)) {
        return;
    }
    let profile = |seed| named.unwrap_or_else(|| one_of(profiles, seed));
    if let Some(seed) = number("LARDER_SIM_SEED") {
        simulate(seed, profile(seed)).unwrap();
        return;
    }
    let failures = failures(number("LARDER_SIM_HISTORIES").unwrap_or(histories), profile);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn whatever_befalls_an_installation_its_promises_hold() {
    hold(&PROFILES, HISTORIES);
}

#[test]
fn whatever_befalls_stores_that_do_not_stage_the_promises_hold() {
    hold(&UNSTAGED, HISTORIES_UNSTAGED);
}

#[test]
fn whatever_befalls_stores_that_keep_no_conditions_the_promises_hold() {
    hold(&Profile::CONDITIONLESS, HISTORIES_CONDITIONLESS);
}

#[test]
fn whoever_is_taken_for_dead_the_promises_hold() {
    hold(&Profile::ON_ROLL, HISTORIES_OF_BURIED);
}

#[test]
fn whatever_befalls_direct_uploads_the_promises_hold() {
    hold(&Profile::DIRECT, HISTORIES_OF_DIRECT);
}

#[test]
fn whoever_meets_over_a_name_the_promises_hold() {
    hold(&Profile::NAMED, HISTORIES_OF_NAMES);
}

#[test]
fn whatever_befalls_files_with_several_copies_the_promises_hold() {
    hold(&REPLICATED, HISTORIES_REPLICATED);
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 100..109 {
        let profile = match seed {
            ..104 => one_of(&PROFILES, seed),
            104..106 => one_of(&UNSTAGED, seed),
            _ => one_of(&REPLICATED, seed),
        };
        assert_eq!(simulate(seed, profile).unwrap(), simulate(seed, profile).unwrap(), "seed {seed}");
    }
}

#[test]
fn what_was_found_once_stays_mended() {
    // The master of every history.
    secrets::keep_bytes(&[7; 32]);
    let _watch = secrets::Watch::begin();
    for (seed, profile, what) in FOUND {
        if let Err(violation) = simulate(seed, profile) {
            panic!("{violation}\nagain: {what}");
        }
    }
}

/// One of the first histories shows the bug, and is as it should be without it.
fn bites(bug: Bug, profile: Profile, seeds: u64) {
    let wrong = |seed| simulate(seed, profile.with(bug)).err().filter(|_| simulate(seed, profile).is_ok());
    let found = (0..seeds).find_map(wrong);
    assert!(found.is_some(), "{bug:?} is not seen in {seeds} histories");
}

macro_rules! bugs {
    ($($name:ident: $bug:ident, $profile:ident, $seeds:literal;)*) => {
        $(#[test]
        fn $name() {
            bites(Bug::$bug, Profile::$profile, $seeds);
        })*
    };
}

bugs! {
    a_disk_that_lies_about_syncs_is_seen: LostFsync, DISK, 100;
    a_recovery_that_is_skipped_is_seen: RecoverySkipped, DISK, 100;
    attributes_before_their_bytes_are_seen: AttributesFirst, CLOUD, 300;
    a_forgotten_tombstone_is_seen: TombstoneForgotten, DISK, 100;
    a_tombstone_that_is_not_durable_is_seen: TombstoneNotDurable, DISK, 300;
    a_delete_that_is_not_durable_is_seen: DeleteNotDurable, DISK, 300;
    an_update_that_is_not_durable_is_seen: UpdateNotDurable, DISK, 300;
    a_write_that_comes_too_late_is_seen: WrittenLate, CLOUD, 300;
    a_forgotten_intent_is_seen: IntentForgotten, CLOUD, 300;
    an_intent_after_the_first_request_is_seen: IntentTooLate, CLOUD, 300;
    an_upload_that_is_undone_before_its_lease_is_over_is_seen: LeaseIgnored, CLOUD, 4_000;
    a_second_look_that_is_skipped_is_seen: SecondLookSkipped, CLOUD, 1_000;
    a_claim_that_two_hold_is_seen: ClaimShared, DISK, 300;
    a_version_that_is_used_twice_is_seen: VersionReused, DISK, 100;
    an_answer_before_its_commit_is_seen: AnswersBeforeCommit, DISK, 100;
    a_forgotten_idempotency_key_is_seen: KeyForgotten, DISK, 100;
    a_forgotten_name_is_seen: NameForgotten, NAMES, 100;
    a_name_of_the_dead_that_is_given_away_is_seen: NameGivenAway, NAMES, 3_000;
    a_mark_that_stays_behind_is_seen: MarkForgotten, DISK, 2_000;
    an_outage_that_looks_like_an_absence_is_seen: OutageAsAbsence, DISK, 2_000;
    a_copy_that_is_recorded_before_it_is_durable_is_seen: CopyNotDurable, REPLICAS, 300;
    a_copy_without_attributes_is_seen: CopyWithoutAttributes, REPLICAS, 100;
    a_copy_that_a_change_left_behind_is_seen: CopyLeftBehind, REPLICAS, 100;
    a_note_of_a_copy_that_is_forgotten_is_seen: NoteForgotten, REPLICAS, 100;
    a_drop_that_is_taken_for_done_before_it_is_over_is_seen: DropForgotten, MOVES_CLOUDS, 2_000;
    one_who_was_taken_for_dead_and_goes_on_is_seen: BuriedGoesOn, BURIED, 4_000;
    twin_who_was_taken_for_dead_and_goes_on_is_seen: BuriedGoesOn, BURIED_TWINS, 2_000;
    a_note_of_what_a_store_missed_that_is_forgotten_is_seen: MissedForgotten, REPLICAS, 300;
}
