//! [`Client`]: asks for one thing after the other of whichever node is up, and tells the oracle what it was answered.

use super::{
    executor::{Process, lock},
    oracle::{Change, Floor, Oracle, Verdict, is_refusal},
    random::Random,
    world::World,
};
use crate::{
    Caller, Content, Created, DirectId, Error, File, FileId, Files, IdempotencyKey, ListFiles, NewDirect, NewFile,
    OnConflict, Patch, Receive, Result, Sha256, ledger::Announced,
};
use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::{self, BoxFuture, Either},
    stream,
};
use larder_storage_core::Body;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::oneshot;

/// How long a client waits before it hangs up.
const PATIENCE: Duration = Duration::from_secs(900);

pub(super) struct Client {
    pub(super) world: Arc<World>,
    pub(super) oracle: Arc<Mutex<Oracle>>,
    pub(super) random: Random,
    pub(super) number: usize,
}

/// What a client asks for, and how often against the others.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Create,
    Replace,
    Update,
    Remove,
    Restore,
    Purge,
    PurgeRevision,
    Read,
    List,
    Put,
    Rename,
    Move,
}

const WISHES: [(Wish, u64); 9] = [
    (Wish::Create, 25),
    (Wish::Replace, 14),
    (Wish::Update, 18),
    (Wish::Remove, 7),
    (Wish::Restore, 7),
    (Wish::Purge, 8),
    (Wish::PurgeRevision, 8),
    (Wish::Read, 18),
    (Wish::List, 5),
];

/// The same where clients meet over names.
const WISHES_OF_NAMES: [(Wish, u64); 9] = [
    (Wish::Put, 42),
    (Wish::Rename, 14),
    (Wish::Move, 8),
    (Wish::Replace, 5),
    (Wish::Remove, 10),
    (Wish::Restore, 10),
    (Wish::Purge, 5),
    (Wish::Read, 4),
    (Wish::List, 2),
];
const NAMES: [&str; 3] = ["a.txt", "b.txt", "c.txt"];
/// The bucket of unique names.
pub(super) const UNIQUE: &str = "wiki";

impl Client {
    /// Does so many things, one after the other.
    pub(super) async fn run(mut self, wishes: usize) {
        for number in 0..wishes {
            let wish = self.wish();
            let verdict = match self.target() {
                Some(id) => self.act(wish, id, number).await,
                None if self.world.profile.names => self.put(number).await,
                None => self.create(number).await,
            };
            let verdict = verdict.and_then(|()| self.world.check_names());
            if let Err(why) = verdict {
                return self.world.violate(why);
            }
            if self.random.chance(150) {
                let pause = self.random.below(10_000);
                self.world.executor.sleep(Duration::from_millis(pause)).await;
            }
        }
    }

    async fn act(&mut self, wish: Wish, id: FileId, number: usize) -> Verdict {
        match wish {
            Wish::Create => self.create(number).await,
            Wish::Replace => self.replace(id, number).await,
            Wish::Update => self.update(id, number).await,
            Wish::Remove => {
                let version = self.condition(id);
                let what = format!("remove {id}");
                let change = Change::Remove;
                self.change(id, change, what, move |files| {
                    async move { files.remove(&Caller::local(), id, version).await }.boxed()
                })
                .await
            }
            Wish::Restore => {
                let version = self.condition(id);
                let what = format!("restore {id}");
                let change = Change::Restore;
                self.change(id, change, what, move |files| {
                    async move { files.restore(&Caller::local(), id, version).await }.boxed()
                })
                .await
            }
            Wish::Purge => self.purge(id).await,
            Wish::PurgeRevision => self.purge_revision(id).await,
            Wish::Read => self.read(id).await,
            Wish::List => self.list().await,
            Wish::Put => self.put(number).await,
            Wish::Rename => {
                let (name, version) = (self.name(), self.condition(id));
                let what = format!("rename {id} to {name}");
                let patch = Patch { name: Some(name.clone()), ..Patch::default() };
                self.change(id, Change::Update { name }, what, move |files| {
                    async move { files.update(&Caller::local(), id, patch, version).await }.boxed()
                })
                .await
            }
            Wish::Move => {
                let (bucket, version) = (self.bucket(), self.condition(id));
                let what = format!("move {id} to {bucket}");
                let patch = Patch { bucket: Some(bucket.clone()), ..Patch::default() };
                self.change(id, Change::Move { bucket }, what, move |files| {
                    async move { files.update(&Caller::local(), id, patch, version).await }.boxed()
                })
                .await
            }
        }
    }

    fn name(&mut self) -> String {
        (*self.random.pick(&NAMES)).into()
    }

    fn bucket(&mut self) -> String {
        if self.random.chance(650) { UNIQUE.into() } else { "documents".into() }
    }

    fn wish(&mut self) -> Wish {
        let wishes = if self.world.profile.names { WISHES_OF_NAMES } else { WISHES };
        let total = wishes.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.below(total);
        for (wish, weight) in wishes {
            if at < weight {
                return wish;
            }
            at -= weight;
        }
        Wish::Read
    }

    /// A file to act on: a hot one, so that clients meet; now and then one that was purged.
    fn target(&mut self) -> Option<FileId> {
        let oracle = lock(&self.oracle);
        let all = if self.random.chance(80) { oracle.known() } else { oracle.targets() };
        let hot = if self.random.chance(700) { all.len().min(2) } else { all.len() };
        (hot > 0).then(|| all[self.random.index(hot)])
    }

    /// Now and then the version that the file was last known at.
    fn condition(&mut self, id: FileId) -> Option<u64> {
        if self.random.chance(200) { lock(&self.oracle).version(id) } else { None }
    }

    fn body(&mut self, number: usize) -> (Vec<u8>, Sha256) {
        let len = if self.random.chance(20) { 70_000 } else { self.random.below(200) };
        let mut body = format!("client {} wish {number} ", self.number).into_bytes();
        let filler = u8::try_from(self.random.below(256)).expect("a byte");
        body.extend(std::iter::repeat_n(filler, usize::try_from(len).expect("small")));
        let sha256 = lock(&self.oracle).wrote(body.clone());
        (body, sha256)
    }

    async fn create(&mut self, number: usize) -> Verdict {
        if self.world.profile.direct && self.random.chance(600) {
            return self.create_of_parts(number).await;
        }
        let (body, sha256) = self.body(number);
        let name = format!("c{}-{number}.txt", self.number);
        let creation = lock(&self.oracle).creates(&name, sha256);
        let key = self.random.chance(500).then(|| IdempotencyKey { key: name.clone(), request: Sha256::of(b"POST") });
        let what = format!("create {name}");
        let ask = |files, key, stream| create(files, name.clone(), body.clone(), key, stream).boxed();
        let told = |oracle: &mut Oracle, created: &Created| {
            oracle.created(creation, &created.file, created.repeated.is_some())
        };
        self.make(creation, what, key, ask, told).await
    }

    /// Begins a direct upload, and has it completed as often as it takes, by whichever node is up.
    async fn create_of_parts(&mut self, number: usize) -> Verdict {
        let (body, sha256) = self.body(number);
        let name = format!("c{}-{number}.txt", self.number);
        let file = Announced { bucket: "documents".into(), name: name.clone(), ..Announced::default() };
        let sha = self.random.chance(500).then_some(sha256);
        let size = body.len() as u64;
        let new = NewDirect {
            file: Announced { sha256: sha, ..file },
            size,
            part_bytes: None,
            lifetime: Duration::from_secs(12 * 3600),
            past_server: false,
        };
        let begun = self
            .call(format!("begin {name}"), move |files| {
                async move { files.open_direct(&Caller::local(), new).await }.boxed()
            })
            .await;
        let id = match begun {
            Some(Ok(direct)) => direct.upload.id,
            Some(Err(error)) => return self.permitted(&error, false),
            None => return Ok(()),
        };
        let creation = lock(&self.oracle).creates(&name, sha256);
        // Only that there is one counts: the upload has its own.
        let key = Some(IdempotencyKey { key: name.clone(), request: Sha256::of(b"") });
        let ask = |files, _, as_stream| send_and_complete(files, id, body.clone(), as_stream).boxed();
        let told = |oracle: &mut Oracle, created: &Created| {
            oracle.created(creation, &created.file, created.repeated.is_some())
        };
        self.make(creation, format!("send {name}"), key, ask, told).await
    }

    /// Puts content under a name that others want too.
    async fn put(&mut self, number: usize) -> Verdict {
        let (body, sha256) = self.body(number);
        let (bucket, name) = (self.bucket(), self.name());
        let on_conflict = *self.random.pick(&[
            OnConflict::KeepBoth,
            OnConflict::Replace,
            OnConflict::Replace,
            OnConflict::Fail,
            OnConflict::Fail,
        ]);
        let creation = lock(&self.oracle).puts(&bucket, &name, sha256, on_conflict);
        let key = format!("c{}-{number}", self.number);
        let key = self.random.chance(500).then(|| IdempotencyKey { key, request: Sha256::of(b"POST") });
        let what = format!("put {name} in {bucket} {on_conflict:?}");
        let new = NewFile { name, on_conflict, ..NewFile::default() };
        let ask = |files, key, stream| put(files, bucket.clone(), new.clone(), body.clone(), key, stream).boxed();
        self.make(creation, what, key, ask, |oracle, created| oracle.put(creation, created)).await
    }

    /// Asks for a file until the answer is known; with a key now and then once more.
    async fn make(
        &mut self,
        creation: usize,
        what: String,
        key: Option<IdempotencyKey>,
        ask: impl Fn(Files, Option<IdempotencyKey>, bool) -> BoxFuture<'static, Result<Created>> + Sync,
        told: impl Fn(&mut Oracle, &Created) -> Verdict,
    ) -> Verdict {
        let attempts = if key.is_some() { 1 + self.random.below(4) } else { 1 };
        for _ in 0..attempts {
            let (stream, again, key) = (self.random.chance(300), self.random.chance(250), key.clone());
            match self.call(what.clone(), |files| ask(files, key, stream)).await {
                Some(Ok(created)) => {
                    told(&mut lock(&self.oracle), &created)?;
                    self.world.check_held(&created.file)?;
                    if !again {
                        return Ok(());
                    }
                }
                Some(Err(error)) if is_refusal(&error) => self.permitted(&error, false)?,
                _ => lock(&self.oracle).may_have_created(creation),
            }
            let pause = self.random.below(20_000);
            self.world.executor.sleep(Duration::from_millis(pause)).await;
        }
        Ok(())
    }

    async fn replace(&mut self, id: FileId, number: usize) -> Verdict {
        let (body, sha256) = self.body(number);
        let change = Change::Replace { sha256 };
        self.change(id, change, format!("replace {id}"), move |files| {
            async move {
                let received = files.receive_revision(&Caller::local(), id, body.into()).await?;
                files.replace(&Caller::local(), id, received, None, None).await
            }
            .boxed()
        })
        .await
    }

    async fn update(&mut self, id: FileId, number: usize) -> Verdict {
        let name = format!("u{}-{number}.txt", self.number);
        let version = self.condition(id);
        let patch = Patch { name: Some(name.clone()), tags: Some(vec![format!("t{number}")]), ..Patch::default() };
        self.change(id, Change::Update { name }, format!("update {id}"), move |files| {
            async move { files.update(&Caller::local(), id, patch, version).await }.boxed()
        })
        .await
    }

    async fn change(
        &mut self,
        id: FileId,
        change: Change,
        what: String,
        ask: impl FnOnce(Files) -> BoxFuture<'static, Result<File>> + Send,
    ) -> Verdict {
        let number = lock(&self.oracle).changes(id, change);
        match self.call(what, ask).await {
            Some(Ok(file)) => {
                lock(&self.oracle).changed(id, number, &file)?;
                self.world.check_held(&file)
            }
            Some(Err(error)) if is_refusal(&error) => {
                lock(&self.oracle).refused(id, number);
                // What lies in the trash takes no change: it answers as an absent one to some.
                self.refused(id, &error, true)
            }
            _ => Ok(()),
        }
    }

    async fn purge(&mut self, id: FileId) -> Verdict {
        lock(&self.oracle).purges(id);
        let answer = self
            .call(format!("purge {id}"), move |files| {
                async move { files.purge(&Caller::local(), id, None).await }.boxed()
            })
            .await;
        match answer {
            Some(Ok(())) => {
                lock(&self.oracle).purged(id);
                self.world.check_buried(id)?;
            }
            Some(Err(Error::Gone)) => lock(&self.oracle).purged(id),
            Some(Err(error)) => self.permitted(&error, false)?,
            None => {}
        }
        Ok(())
    }

    /// Mostly an old one; now and then the newest, which is refused.
    async fn purge_revision(&mut self, id: FileId) -> Verdict {
        let newest = lock(&self.oracle).newest_revision(id);
        let revision = 1 + self.random.below(newest);
        let version = self.condition(id);
        lock(&self.oracle).purges_revision(id, revision);
        let answer = self
            .call(format!("purge revision {revision} of {id}"), move |files| {
                async move { files.purge_revision(&Caller::local(), id, revision, version).await }.boxed()
            })
            .await;
        match answer {
            Some(Ok(())) => lock(&self.oracle).purged_revision(id, revision),
            Some(Err(error)) => {
                if is_refusal(&error) {
                    lock(&self.oracle).kept_revision(id, revision);
                }
                if let Error::NotFound("revision") = error {
                    return lock(&self.oracle).absent_revision(id, revision);
                }
                self.refused(id, &error, false)?;
            }
            None => {}
        }
        Ok(())
    }

    async fn read(&mut self, id: FileId) -> Verdict {
        let turns = self.world.state().turns_of_index;
        let floor = lock(&self.oracle).floor(id);
        let old = self.random.chance(150);
        let answer =
            self.call(format!("read {id}"), move |files| async move { read(files, id, old).await }.boxed()).await;
        // A provisional index may be behind: what it says is something that was so once.
        let floor = floor.filter(|_| self.world.is_whole_since(turns));
        self.check_read(id, floor, answer)
    }

    fn check_read(&self, id: FileId, floor: Option<Floor>, answer: Option<Result<Read>>) -> Verdict {
        match answer {
            None => Ok(()),
            Some(Err(error)) => self.refused(id, &error, false),
            Some(Ok(Read { file, old, content })) => {
                lock(&self.oracle).seen(floor.as_ref(), &file)?;
                match (content, old) {
                    (Ok((content, Some(bytes))), _) => lock(&self.oracle).read(floor.as_ref(), &file, &content, &bytes),
                    (Ok((_, None)), _) => Ok(()),
                    (Err(Error::NotFound("revision")), Some(old)) => lock(&self.oracle).absent_revision(id, old),
                    (Err(error), _) => self.refused(id, &error, true),
                }
            }
        }
    }

    async fn list(&mut self) -> Verdict {
        let turns = self.world.state().turns_of_index;
        let begun: BTreeSet<_> = lock(&self.oracle).targets().into_iter().collect();
        let limit = *self.random.pick(&[1, 3, 1000]);
        let answer = self.call("list".into(), move |files| list_all(files, limit).boxed()).await;
        match answer {
            Some(Ok(_)) if !self.world.is_whole_since(turns) => Ok(()),
            Some(Ok(files)) => {
                let listed = files.iter().map(|file| file.attributes.id).collect();
                // A file may go to the trash, or come back, between the two walks.
                let oracle = lock(&self.oracle);
                let still = begun.into_iter().filter(|id| !oracle.was_moved(*id)).collect();
                oracle.listed(&still, &listed)
            }
            Some(Err(error)) => self.permitted(&error, false),
            None => Ok(()),
        }
    }

    /// Whether the answer may be given for this file: an absence only of what may be absent.
    fn refused(&self, id: FileId, error: &Error, in_trash: bool) -> Verdict {
        match error {
            Error::NotFound(_) => lock(&self.oracle).absent(id, in_trash),
            Error::Gone => lock(&self.oracle).absent(id, false),
            _ => self.permitted(error, in_trash),
        }
    }

    /// Whether an error is one that a right installation ever answers.
    fn permitted(&self, error: &Error, _in_trash: bool) -> Verdict {
        match error {
            Error::ContentLost(_) => Err(format!("I1: content is answered as lost: {error:?}")),
            Error::Internal(_) | Error::LedgerUnavailable(_) if !self.world.is_disturbed() => {
                Err(format!("failed without a fault: {error:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Asks one node. `None` where no answer came: the node died, the client hung up.
    async fn call<T: Send + 'static>(
        &mut self,
        what: String,
        ask: impl FnOnce(Files) -> BoxFuture<'static, Result<T>> + Send,
    ) -> Option<Result<T>> {
        let (process, files) = self.node().await?;
        self.world.note(format_args!("client {} asks p{}: {what}", self.number, process.0));
        let patience = match self.world.hangs_up() {
            true => Duration::from_millis(self.random.below(300)),
            false => PATIENCE,
        };
        let answer = ask_within(&self.world, process, ask(files), patience).await;
        let outcome = match &answer {
            None => "no answer".into(),
            Some(Ok(_)) => "done".into(),
            Some(Err(error)) => format!("{error:?}"),
        };
        self.world.note(format_args!("client {} is answered {what}: {outcome}", self.number));
        answer
    }

    /// A node that is up; waits for one.
    async fn node(&mut self) -> Option<(Process, Files)> {
        for _ in 0..3600 {
            let up: Vec<_> = {
                let state = self.world.state();
                state.slots.iter().filter_map(|slot| Some((slot.process, slot.files.clone()?))).collect()
            };
            if !up.is_empty() {
                return Some(up[self.random.index(up.len())].clone());
            }
            self.world.executor.sleep(Duration::from_secs(1)).await;
        }
        None
    }
}

/// Runs a request on its node until it answers, dies, or patience ends.
pub(super) async fn ask_within<T: Send + 'static>(
    world: &Arc<World>,
    process: Process,
    ask: BoxFuture<'static, T>,
    patience: Duration,
) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    let request = async move {
        let _ = answer.send(ask.await);
    };
    let task = world.executor.spawn(process, request.boxed());
    match future::select(answered, world.executor.sleep(patience)).await {
        Either::Left((answer, _)) => answer.ok(),
        Either::Right(_) => {
            world.executor.cancel(task);
            None
        }
    }
}

async fn create(
    files: Files,
    name: String,
    body: Vec<u8>,
    key: Option<IdempotencyKey>,
    as_stream: bool,
) -> Result<Created> {
    put(files, "documents".into(), NewFile { name, ..NewFile::default() }, body, key, as_stream).await
}

async fn put(
    files: Files,
    bucket: String,
    new: NewFile,
    body: Vec<u8>,
    key: Option<IdempotencyKey>,
    as_stream: bool,
) -> Result<Created> {
    let caller = Caller::local();
    let receive = Receive { bucket, owner: None, name_hint: new.name.clone(), idempotency: key };
    let body = if as_stream { in_blocks(body) } else { body.into() };
    let received = files.receive(&caller, receive, body).await?;
    files.create(&caller, received, new).await
}

/// Sends the one part, which an upload that is over takes no more, and has the upload completed.
async fn send_and_complete(files: Files, id: DirectId, body: Vec<u8>, as_stream: bool) -> Result<Created> {
    let body = if as_stream { in_blocks(body) } else { body.into() };
    match files.put_part(id, 1, body).await {
        Ok(()) | Err(Error::NotFound(_)) => files.complete_direct(&Caller::local(), id, None).await,
        Err(error) => Err(error),
    }
}

fn in_blocks(body: Vec<u8>) -> Body {
    let blocks: Vec<_> = body.chunks(100).map(|block| Ok(block.to_vec().into())).collect();
    Body::once(stream::iter(blocks).boxed(), None)
}

/// A record, and what came of reading its content; no bytes where the stream broke off.
pub(super) struct Read {
    file: File,
    /// The revision that was asked for, where it was not the newest.
    old: Option<u64>,
    content: Result<(crate::ledger::RevisionRow, Option<Vec<u8>>)>,
}

async fn read(files: Files, id: FileId, old: bool) -> Result<Read> {
    let caller = Caller::local();
    let file = files.describe(&caller, id).await?;
    let revision = match old {
        true => files.revisions(&caller, id).await?.first().map(|row| row.revision),
        false => None,
    };
    let content = match files.open(&caller, &file, revision, None).await {
        Ok(content) => Ok(collect(content).await),
        Err(error) => Err(error),
    };
    Ok(Read { file, old: revision, content })
}

/// The bytes, or `None` where they end in an error.
pub(super) async fn collect(content: Content) -> (crate::ledger::RevisionRow, Option<Vec<u8>>) {
    let Content { revision, body, .. } = content;
    let blocks: std::result::Result<Vec<_>, _> = body.try_collect().await;
    (revision, blocks.ok().map(|blocks| blocks.concat()))
}

/// Every file, the trash too, page by page.
pub(super) async fn list_all(files: Files, limit: usize) -> Result<Vec<File>> {
    let mut all = Vec::new();
    for deleted in [false, true] {
        let mut query = ListFiles { deleted, limit, ..ListFiles::default() };
        loop {
            let page = files.list(&Caller::local(), query.clone()).await?;
            all.extend(page.items);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
    }
    Ok(all)
}
