//! Files in a program of one's own, without HTTP: a directory, a database beside it, and what they are asked for. Then the database is
//! lost, and made again from the directory.
//!
//! `cargo run --package larder-cli --example embed -- DIRECTORY`; without one it works in a temporary directory.
#![allow(clippy::print_stdout, reason = "a program that shows what it does")]

use anyhow::{Result, ensure};
use futures_util::{TryStreamExt, future::BoxFuture};
use larder_files::{
    Body, ByteRange, Caller, Clock, Content, Entropy, Environment, File, Files, ListFiles, Mount, NewFile, Parts,
    RebuildOptions, Receive, Secrets, Settings, Spawn, StoreMode, StoreName, Timestamp, rebuild,
};
use larder_ledger::{Open, SqlLedger};
use larder_storage_local::{LocalOptions, LocalStore};
use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args_os().nth(1) {
        Some(directory) => keep_and_lose(Path::new(&directory)).await,
        None => keep_and_lose(tempfile::tempdir()?.path()).await,
    }
}

async fn keep_and_lose(directory: &Path) -> Result<()> {
    // A program keeps its secret: 32 random bytes, made once. Without it nobody opens what is sealed beside the files.
    let mut master = [0; 32];
    getrandom::fill(&mut master).expect("the kernel gives random bytes");

    let (files, ledger) = start(directory, "first.db", master).await?;
    let kept = keep(&files, "report.txt", "a report that must outlive its database").await?;
    println!("kept {} as {}", kept.attributes.name, kept.attributes.key);
    println!("its first words: {}", text(&files, &kept, Some(ByteRange::Between { first: 0, last: 7 })).await?);
    files.stop().await;
    drop(files);
    ledger.close().await;

    fs::remove_file(directory.join("first.db"))?;
    println!("the database is gone");

    let ledger = SqlLedger::open(&directory.join("second.db"), Open { create: true }).await?;
    let parts = parts(directory, &ledger, master)?;
    let brought = rebuild(parts, Settings::default(), None, RebuildOptions::default(), &mut |finding| {
        println!("not brought back: {finding:?}");
    })
    .await?;
    ledger.close().await;
    println!("brought back: {} file", brought.files);

    let (files, ledger) = start(directory, "second.db", master).await?;
    let page = files.list(&Caller::local(), ListFiles { limit: 10, ..ListFiles::default() }).await?;
    ensure!(page.items.len() == 1, "one was kept");
    let file = &page.items[0];
    ensure!(file.attributes == kept.attributes, "with its name, its owner and the time at which it was made");
    println!("it says: {}", text(&files, file, None).await?);
    files.stop().await;
    ledger.close().await;
    Ok(())
}

/// One node over one directory and one database. What a killed run has left is settled here.
async fn start(directory: &Path, database: &str, master: [u8; 32]) -> Result<(Files, SqlLedger)> {
    fs::create_dir_all(directory)?;
    let ledger = SqlLedger::open(&directory.join(database), Open { create: true }).await?;
    let (files, _recovered) = Files::start(parts(directory, &ledger, master)?, Settings::default()).await?;
    Ok((files, ledger))
}

fn parts(directory: &Path, ledger: &SqlLedger, master: [u8; 32]) -> Result<Parts> {
    let store = LocalStore::open(LocalOptions::new(directory.join("objects")))?;
    let mount = Mount { name: StoreName::new("objects")?, store: Arc::new(store), mode: StoreMode::Edit };
    let environment = Environment {
        clock: Arc::new(Time(Instant::now())),
        entropy: Arc::new(Random),
        spawn: Arc::new(Tasks(tokio::runtime::Handle::current())),
    };
    Ok(Parts {
        stores: vec![mount],
        ledger: Arc::new(ledger.clone()),
        environment,
        secrets: Secrets::new(master),
        roll: None,
    })
}

/// Durable when it is answered: bytes, attributes and row.
async fn keep(files: &Files, name: &str, content: &'static str) -> Result<File> {
    let caller = Caller::local();
    let receive = Receive { bucket: "documents".into(), name_hint: name.into(), ..Receive::default() };
    let received = files.receive(&caller, receive, Body::from(content)).await?;
    Ok(files.create(&caller, received, NewFile { name: name.into(), ..NewFile::default() }).await?.file)
}

/// Content of a small file; a large one is read as it comes.
async fn text(files: &Files, file: &File, range: Option<ByteRange>) -> Result<String> {
    let Content { body, .. } = files.open(&Caller::local(), file, None, range).await?;
    let blocks: Vec<_> = body.try_collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok(String::from_utf8(blocks.concat())?)
}

/// The protocol has no clock, no randomness and no runtime of its own: a test gives it others.
struct Time(Instant);

impl Clock for Time {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

struct Random;

impl Entropy for Random {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel gives random bytes");
    }
}

struct Tasks(tokio::runtime::Handle);

impl Spawn for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(self.0.spawn(task));
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn what_is_kept_outlives_its_database() {
        super::keep_and_lose(tempfile::tempdir().unwrap().path()).await.unwrap();
    }
}
