//! What a bucket takes and gives: `cargo run --release -p larder-storage-s3 --example measure [MiB] [FILES]`, with the server in the
//! environment as `cargo xtask s3` puts it there.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_storage_core::{Body, GetOptions, Key, PutOptions, Store};
use larder_storage_s3::{Credentials, S3Options, S3Store};
use std::{env, error::Error, time::Instant};

const BLOCK: usize = 1 << 20;
const SMALL: usize = 64 << 10;
const AT_ONCE: usize = 32;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "it is what was asked for")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = env::args().skip(1).map(|number| number.parse::<usize>());
    let (blocks, files) = (numbers.next().transpose()?.unwrap_or(1024), numbers.next().transpose()?.unwrap_or(2_000));
    let mut options = S3Options::new(env::var("S3_BUCKET")?, Credentials::Chain);
    options.endpoint = env::var("S3_ENDPOINT").ok();
    options.create_bucket = true;
    options.prefix = "measure".into();
    let store = S3Store::connect(options).await?;
    store.open().await?;
    println!("{:?}", store.profile().await?);

    let key = Key::new("large")?;
    let block = Bytes::from((0..BLOCK).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let body = stream::repeat(block.clone()).take(blocks).map(Ok).boxed();
    let since = Instant::now();
    store.put(&key, Body::once(body, None), PutOptions::replace()).await?;
    println!("up    {:>8.1} MiB/s", blocks as f64 / since.elapsed().as_secs_f64());
    let since = Instant::now();
    let object = store.get(&key, GetOptions::default()).await?;
    let read = object.body.try_fold(0, |sum, block| async move { Ok(sum + block.len()) }).await;
    assert_eq!(read.map_err(|error| error.to_string())?, blocks * BLOCK);
    println!("down  {:>8.1} MiB/s", blocks as f64 / since.elapsed().as_secs_f64());

    let keys = (0..files).map(|at| Key::new(format!("small/{at}"))).collect::<Result<Vec<_>, _>>()?;
    let since = Instant::now();
    stream::iter(&keys)
        .map(|key| store.put(key, Body::from(block.slice(..SMALL)), PutOptions::replace()))
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    println!("small {:>8.1} files/s of 64 KiB, {AT_ONCE} at once", files as f64 / since.elapsed().as_secs_f64());
    for gone in store.delete_many(&keys).await {
        gone?;
    }
    store.delete(&key).await?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: unknown"));
    Ok(())
}
