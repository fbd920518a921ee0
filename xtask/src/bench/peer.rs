//! What Larder is held against where no ready-made server does the same: the least that a durable write costs.
//!
//! Both are programs a careful engineer would write in an afternoon, without the record, the owner, the recovery.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use super::wire::{BLOCK, Head, blocks, hex, noise};

/// Blocks on their way at once: enough that no thread waits for another's slow moment.
const BLOCKS: usize = 16;

/// The process that receives uploads into a directory: one thread receives, one hashes, one writes and fsyncs.
pub(crate) fn serve(arguments: &[String]) -> Result<()> {
    let [directory] = arguments else { bail!("bench-peer DIRECTORY") };
    let directory = PathBuf::from(directory);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let names = AtomicU64::new(0);
    thread::scope(|scope| {
        for stream in listener.incoming() {
            let (stream, directory, names) = (stream?, &directory, &names);
            scope.spawn(move || {
                if let Err(error) = converse(stream, directory, names) {
                    eprintln!("a connection failed: {error:#}");
                }
            });
        }
        Ok(())
    })
}

fn converse(mut stream: TcpStream, directory: &Path, names: &AtomicU64) -> Result<()> {
    stream.set_nodelay(true)?;
    // Smaller than a block, so that whole blocks are read past it without a copy.
    let mut input = BufReader::with_capacity(16 << 10, stream.try_clone()?);
    while let Some((request, head)) = next_head(&mut input)? {
        let answer = if request.starts_with("DELETE") {
            let id = request.split(['/', '?', ' ']).rfind(|part| part.starts_with("upload-"));
            fs::remove_file(directory.join(id.context("no id")?))?;
            "{}".to_owned()
        } else {
            let id = format!("upload-{}", names.fetch_add(1, Ordering::Relaxed));
            let sha256 = receive(&mut input, head.body, &directory.join(&id))?;
            File::open(directory)?.sync_all()?;
            format!(r#"{{"id":"{id}","sha256":"{sha256}"}}"#)
        };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())?;
    }
    Ok(())
}

fn next_head(input: &mut impl BufRead) -> Result<Option<(String, Head)>> {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        if input.read_line(&mut text)? == 0 {
            ensure!(text.is_empty(), "a head was broken off");
            return Ok(None);
        }
    }
    let head = Head::parse(text.as_bytes())?.context("a head without an end")?;
    Ok(Some((text.lines().next().unwrap_or_default().to_owned(), head)))
}

/// Blocks go round: receiver → hasher → writer → receiver, so that nothing is allocated on the way.
fn receive(input: &mut impl Read, size: u64, path: &Path) -> Result<String> {
    let file = File::create_new(path)?;
    let (to_hash, received) = channel();
    let (to_write, hashed) = channel();
    let (give_back, empty) = channel();
    for _ in 0..BLOCKS {
        give_back.send(vec![0; BLOCK])?;
    }
    thread::scope(|scope| {
        let hasher = scope.spawn(move || hash(&received, &to_write));
        let writer = scope.spawn(move || write(file, &hashed, &give_back));
        for length in blocks(size) {
            let mut block: Vec<u8> = empty.recv().context("the writing thread gave up")?;
            block.resize(length, 0);
            input.read_exact(&mut block)?;
            to_hash.send(block)?;
        }
        drop(to_hash);
        let sha256 = hasher.join().expect("hashing does not panic");
        writer.join().expect("writing does not panic")?;
        Ok(sha256)
    })
}

fn hash(received: &Receiver<Vec<u8>>, to_write: &Sender<Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    for block in received {
        hash.update(&block);
        // A writer that gave up says why itself.
        let _ = to_write.send(block);
    }
    hex(&hash.finalize())
}

fn write(mut file: File, hashed: &Receiver<Vec<u8>>, give_back: &Sender<Vec<u8>>) -> std::io::Result<()> {
    for block in hashed {
        file.write_all(&block)?;
        // After the last block nobody waits for it.
        let _ = give_back.send(block);
    }
    file.sync_all()
}

/// Makes small files durable from 16 threads in 16 directories and returns how many a second:
/// create, write, fsync, link, fsync of the directory.
pub(crate) fn small_files(directory: &Path, bytes: usize, duration: Duration) -> Result<f64> {
    let content = vec![7; bytes];
    let until = Instant::now() + duration;
    let done = thread::scope(|scope| {
        let content = &content;
        let threads: Vec<_> = (0..16)
            .map(|number| scope.spawn(move || small_files_in(&directory.join(format!("d{number}")), content, until)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a writing thread does not panic")).sum::<Result<u64>>()
    })?;
    Ok(done as f64 / duration.as_secs_f64())
}

fn small_files_in(directory: &Path, content: &[u8], until: Instant) -> Result<u64> {
    fs::create_dir_all(directory)?;
    let opened = File::open(directory)?;
    let mut done = 0;
    loop {
        let (temporary, name) = (directory.join(format!("{done}.tmp")), directory.join(format!("{done}")));
        let mut file = File::create_new(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::hard_link(&temporary, &name)?;
        opened.sync_all()?;
        if Instant::now() >= until {
            return Ok(done);
        }
        done += 1;
    }
}

/// Streams noise into a file and fsyncs it.
pub(crate) fn big_file(path: &Path, size: u64) -> Result<()> {
    let block = noise();
    let mut file = File::create(path)?;
    for length in blocks(size) {
        file.write_all(&block[..length])?;
    }
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::super::wire::noise_sha256;
    use super::*;

    #[test]
    fn what_is_received_is_written_and_hashed() {
        let folder = std::env::temp_dir().join(format!("xtask-peer-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let size = 20 * BLOCK as u64 + 3;
        let body: Vec<u8> = noise().into_iter().cycle().take(size as usize).collect();
        assert_eq!(receive(&mut &body[..], size, &folder.join("x")).unwrap(), noise_sha256(size));
        assert!(fs::read(folder.join("x")).unwrap() == body);
        assert!(receive(&mut &body[..5], size, &folder.join("short")).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
