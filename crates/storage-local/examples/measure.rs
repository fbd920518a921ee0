//! Measures what a directory as a store costs on this machine:
//! `cargo run --release -p larder-storage-local --example measure [FOLDER]`.
//!
//! FOLDER is on the disk in question, else the system's own for temporary files is taken. Writes up to 3.2 GiB and takes it
//! away again. Prints large uploads and downloads with the memory they took, small ones a second, and the listing of a folder
//! with a million names.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "it is what this program is for, and it may fail loudly")]

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};
use larder_storage_core::{Body, GetOptions, Hasher, Key, ListOptions, OpId, Pair, Part, Staging, Store};
use larder_storage_local::{LocalOptions, LocalStore};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    // One after the other: the directory of each goes when it is done.
    large_uploads_and_downloads(&open(&folder).1).await;
    small_uploads_and_downloads(&open(&folder).1).await;
    a_folder_of_a_million_names(&folder).await;
}

fn open(folder: &Path) -> (tempfile::TempDir, LocalStore) {
    let place = tempfile::tempdir_in(folder).unwrap();
    let store = LocalStore::open(LocalOptions::new(place.path())).unwrap();
    (place, store)
}

fn op(number: usize) -> OpId {
    OpId::from_random((number as u128).to_be_bytes())
}

fn pair(number: usize) -> Pair {
    let bytes = Key::new(format!("b/{}/{number}.bin", number % 16)).unwrap();
    Pair { op: op(number), attributes: bytes.with_suffix(".attr.json").unwrap(), bytes }
}

/// The value of a line of /proc/self/status, in MiB.
fn memory(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    value.trim_matches([':', '\t', ' ', 'k', 'B']).parse::<usize>().unwrap() / 1024
}

fn blocks(mib: u64) -> Body {
    let block = Bytes::from((0..=255).cycle().take(64 << 10).collect::<Vec<u8>>());
    Body::once(stream::iter((0..mib * 16).map(move |_| Ok(block.clone()))).boxed(), Some(mib << 20))
}

async fn large_uploads_and_downloads(store: &LocalStore) {
    for number in 0..3 {
        let begun = Instant::now();
        store.stage(&op(number), Part::Bytes, blocks(1024)).await.unwrap();
        println!("1 GiB hashed, written and synced: {:?}, peak {} MiB", begun.elapsed(), memory("VmHWM"));
        store.stage(&op(number), Part::Attributes, Body::from("{}")).await.unwrap();
        store.publish(&[pair(number)]).await.pop().unwrap().unwrap();
        let begun = Instant::now();
        let mut body = store.get(&pair(number).bytes, GetOptions::default()).await.unwrap().body;
        let mut size = 0;
        while let Some(block) = body.try_next().await.unwrap() {
            size += block.len();
        }
        println!("{size} bytes read: {:?}", begun.elapsed());
        store.discard(&op(number)).await.unwrap();
        store.delete(&pair(number).bytes).await.unwrap();
    }
    let begun = Instant::now();
    let mut hasher = Hasher::new();
    let block = vec![7; 1 << 20];
    (0..1024).for_each(|_| hasher.update(&block));
    println!("1 GiB hashed alone: {:?}", begun.elapsed());
    assert_ne!(hasher.finish().crc64nvme, 0);
    let ops: Vec<OpId> = (100..150).map(op).collect();
    let begun = Instant::now();
    join_all(ops.iter().map(|op| store.stage(op, Part::Bytes, blocks(64))))
        .await
        .into_iter()
        .for_each(|staged| assert_eq!(staged.unwrap().size, 64 << 20));
    println!("50 times 64 MiB at once: {:?}, peak {} MiB", begun.elapsed(), memory("VmHWM"));
}

async fn small_uploads_and_downloads(store: &LocalStore) {
    for round in 0..3 {
        let begun = Instant::now();
        let (count, each) = (4096, 64);
        for first in (0..count).step_by(each) {
            let numbers: Vec<usize> = (first..first + each).map(|number| round * count + number).collect();
            join_all(numbers.iter().map(async |&number| {
                let (op, attributes) = (op(number), Body::from(vec![b' '; 600]));
                tokio::try_join!(
                    store.stage(&op, Part::Bytes, Body::from(vec![7; 4096])),
                    store.stage(&op, Part::Attributes, attributes)
                )
                .unwrap();
            }))
            .await;
            let pairs: Vec<Pair> = numbers.iter().map(|&number| pair(number)).collect();
            store.publish(&pairs).await.into_iter().for_each(|published| published.unwrap());
            join_all(pairs.iter().map(async |pair| store.discard(&pair.op).await.unwrap())).await;
        }
        println!("{:.0} uploads of 4 KiB a second", count as f64 / begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        for number in 0..100_000 {
            let mut object = store.get(&pair(number % count).bytes, GetOptions::default()).await.unwrap();
            assert_eq!(object.body.try_next().await.unwrap().unwrap().len(), 4096);
        }
        println!("{:.0} downloads of 4 KiB a second, one after the other", 1e5 / begun.elapsed().as_secs_f64());
    }
}

async fn a_folder_of_a_million_names(folder: &Path) {
    let (place, store) = open(folder);
    std::fs::create_dir(place.path().join("many")).unwrap();
    let source = place.path().join("many/report_ivanov_20261121T153045_0000000");
    std::fs::write(&source, "").unwrap();
    // Links, at most 60,000 to a file: a million files would take the disk minutes.
    let mut from = source;
    for number in 1..1_000_000 {
        let name = place.path().join(format!("many/report_ivanov_20261121T153045_{number:07}"));
        if number % 60_000 == 0 {
            std::fs::write(&name, "").unwrap();
            from = name;
        } else {
            std::fs::hard_link(&from, &name).unwrap();
        }
    }
    let (before, begun) = (memory("VmRSS"), Instant::now());
    let listed = store.list(ListOptions::default()).try_fold(0, async |count, _| Ok(count + 1)).await.unwrap();
    println!("{listed} names listed: {:?}, peak {} MiB, {before} before", begun.elapsed(), memory("VmHWM"));
}
