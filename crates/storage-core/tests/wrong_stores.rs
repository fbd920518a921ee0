//! The suite is tested by stores that are wrong on purpose: each breaks one promise, and the law about it must notice.

#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use larder_storage_core::{
    Body, ByteRange, ETag, Error, ErrorKind, GetOptions, Key, Leftover, Limits, ListOptions, Listed, MemoryDisk,
    MemoryOptions, MemoryStore, Multipart, NodeId, Object, ObjectMeta, Op, OpId, OpenUpload, Pair, Part, PartNumber,
    Prefix, PutMode, PutOptions, Result, Staged, Staging, Store, StoreExt, UploadId, UploadedPart, Written,
    conformance::{Harness, prove},
};
use std::{
    fmt,
    sync::{Arc, Mutex},
};

/// What a store gets wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    CreateOverwrites,
    CreateLooksFirstThenWrites,
    ReplaceIfIgnoresTheCondition,
    ReplaceWritesInPlace,
    BrokenBodiesArePublished,
    ShortBodiesArePublished,
    LettersLoseTheirCase,
    PrefixesAreOnlyLetters,
    TheHiddenIsListed,
    ListingsStartAnew,
    ListingsForgetTheLast,
    ListingsSayOtherValidators,
    ValidatorsAreSizes,
    RangesLackTheirLastByte,
    RangesPastTheEndAreEmpty,
    IfMatchIsIgnored,
    ReadersFollowAReplace,
    DeleteOfNothingFails,
    DeleteTakesTheFolder,
    CopyOverwrites,
    CopyOfNothingIsEmpty,
    OutagesForAbsences,
    ErrorsNameNoKey,
    DisplaysTwoLines,
    HasMultipartUndeclared,
    HasNoStaging,
    NestingIsUndeclared,
    StagedIsListed,
    PublishLeavesBytesOfAConflict,
    PublishFailsTheWholeBatch,
    WithdrawTakesAnything,
    StagedDigestsAreOfNothing,
    EverybodyIsAlive,
    LeftoversLoseOne,
    LeftoversAreOfTheLiving,
    LeftoversAreGivenTwice,
    LeftoversForgetWhoseTheyWere,
    FinishBringsNoBytesBack,
    FinishWantsSomethingStaged,
    UploadsLoseTheirLastPart,
    OpenUploadsAreSeen,
    TheFirstPartOfANumberStays,
    PartsAreUntold,
    BrokenPartsAreKept,
    EndedUploadsAreEmpty,
    AnyPartWillDo,
    UploadsOverwrite,
    UploadsNeverReplace,
    AbortDoesNothing,
    UploadsOfAKeyAreThoseOfAll,
    OpenUploadsAreUntold,
    HoldsNothing,
    HoldsEqualBytes,
}

/// Which law each of them breaks.
const BROKEN: &[(Fault, &str)] = &[
    (Fault::CreateOverwrites, "create_refuses_an_object_that_is_there"),
    (Fault::CreateLooksFirstThenWrites, "of_16_racing_creates_exactly_one_wins"),
    (Fault::ReplaceIfIgnoresTheCondition, "replace_if_takes_only_the_expected_object"),
    (Fault::ReplaceWritesInPlace, "readers_of_a_replaced_object_see_one_whole"),
    (Fault::BrokenBodiesArePublished, "a_body_that_breaks_off_publishes_nothing"),
    (Fault::ShortBodiesArePublished, "a_body_shorter_than_announced_publishes_nothing"),
    (Fault::LettersLoseTheirCase, "upper_and_lower_case_are_different_keys"),
    (Fault::PrefixesAreOnlyLetters, "a_prefix_ends_at_a_slash"),
    (Fault::TheHiddenIsListed, "the_hidden_folder_is_listed_only_when_asked_for"),
    (Fault::ListingsStartAnew, "a_listing_goes_on_behind_every_item"),
    (Fault::ListingsForgetTheLast, "a_listing_gives_each_object_once"),
    (Fault::ListingsSayOtherValidators, "head_get_and_list_agree"),
    (Fault::ValidatorsAreSizes, "a_validator_changes_with_the_bytes"),
    (Fault::RangesLackTheirLastByte, "a_range_between_holds_both_ends"),
    (Fault::RangesPastTheEndAreEmpty, "a_range_past_the_end_is_invalid"),
    (Fault::IfMatchIsIgnored, "a_get_under_another_validator_is_refused"),
    (Fault::ReadersFollowAReplace, "a_reader_keeps_its_revision_through_a_replace"),
    (Fault::DeleteOfNothingFails, "an_absent_object_is_deleted_already"),
    (Fault::DeleteTakesTheFolder, "a_delete_of_a_folder_leaves_what_is_below"),
    (Fault::CopyOverwrites, "a_copy_refuses_an_object_that_is_there"),
    (Fault::CopyOfNothingIsEmpty, "a_copy_of_nothing_is_not_found"),
    (Fault::OutagesForAbsences, "an_absent_object_is_not_found"),
    (Fault::ErrorsNameNoKey, "an_error_names_what_was_tried_on_what_and_where"),
    (Fault::DisplaysTwoLines, "the_store_displays_itself_on_one_line"),
    (Fault::HasMultipartUndeclared, "multipart_is_there_exactly_where_it_is_declared"),
    (Fault::HasNoStaging, "staging_is_there_exactly_where_it_is_declared"),
    (Fault::NestingIsUndeclared, "objects_lie_below_objects_exactly_as_declared"),
    (Fault::StagedIsListed, "what_is_staged_is_not_seen"),
    (Fault::PublishLeavesBytesOfAConflict, "attributes_in_the_way_keep_the_bytes_away"),
    (Fault::PublishFailsTheWholeBatch, "a_conflict_of_one_pair_leaves_the_others"),
    (Fault::WithdrawTakesAnything, "withdraw_takes_only_its_own"),
    (Fault::StagedDigestsAreOfNothing, "a_staged_part_has_the_right_digests"),
    (Fault::HoldsNothing, "what_is_on_its_way_is_held_until_it_is_discarded"),
    (Fault::HoldsEqualBytes, "only_the_very_object_that_was_staged_is_held"),
    (Fault::EverybodyIsAlive, "a_node_knows_itself_alive_and_no_stranger"),
    (Fault::LeftoversLoseOne, "what_the_dead_left_is_found_once"),
    (Fault::LeftoversAreOfTheLiving, "the_living_leave_nothing_over"),
    (Fault::LeftoversAreGivenTwice, "what_the_dead_left_is_found_once"),
    (Fault::LeftoversForgetWhoseTheyWere, "what_the_dead_left_is_found_once"),
    (Fault::FinishBringsNoBytesBack, "a_leftover_can_be_finished"),
    (Fault::FinishWantsSomethingStaged, "what_lies_at_its_key_is_finished_though_nothing_is_staged"),
    (Fault::WithdrawTakesAnything, "a_leftover_can_be_withdrawn_and_discarded"),
];

/// The same of stores that take uploads in parts.
const BROKEN_IN_PARTS: &[(Fault, &str)] = &[
    (Fault::UploadsLoseTheirLastPart, "parts_are_joined_by_their_numbers"),
    (Fault::OpenUploadsAreSeen, "an_open_upload_is_not_seen"),
    (Fault::TheFirstPartOfANumberStays, "a_later_part_takes_the_place_of_an_earlier"),
    (Fault::PartsAreUntold, "the_parts_of_an_upload_are_told"),
    (Fault::BrokenPartsAreKept, "a_part_that_breaks_off_is_no_part"),
    (Fault::EndedUploadsAreEmpty, "an_unknown_upload_is_not_found"),
    (Fault::AnyPartWillDo, "an_upload_of_another_part_is_refused"),
    (Fault::UploadsOverwrite, "an_upload_completes_only_where_nothing_is"),
    (Fault::UploadsNeverReplace, "an_upload_replaces_when_told_to"),
    (Fault::AbortDoesNothing, "an_aborted_upload_is_gone"),
    (Fault::UploadsOfAKeyAreThoseOfAll, "the_open_uploads_of_a_key_are_told"),
    (Fault::OpenUploadsAreUntold, "all_open_uploads_are_told"),
];

#[test]
fn each_wrong_store_breaks_its_law() {
    let all = BROKEN.iter().map(|broken| (broken, false)).chain(BROKEN_IN_PARTS.iter().map(|broken| (broken, true)));
    let unnoticed: Vec<_> =
        all.filter(|((fault, law), parts)| prove(law, || async { wrong(Some(*fault), *parts) }).is_ok()).collect();
    assert!(unnoticed.is_empty(), "faults whose laws did not notice: {unnoticed:?}");
}

#[test]
fn a_store_without_a_fault_breaks_none_of_these_laws() {
    for (_, law) in BROKEN {
        prove(law, || async { wrong(None, false) }).unwrap();
    }
    for (_, law) in BROKEN_IN_PARTS {
        prove(law, || async { wrong(None, true) }).unwrap();
    }
}

#[test]
fn an_unknown_law_is_broken_by_every_store() {
    assert!(prove("no_such_law", || async { wrong(None, false) }).is_err());
}

/// A store whose process can die, with this fault in every process.
fn wrong(fault: Option<Fault>, parts: bool) -> Harness {
    let multipart = parts || fault == Some(Fault::HasMultipartUndeclared);
    let disk = MemoryDisk::new(MemoryOptions { multipart, ..MemoryOptions::with_staging() });
    let node = |number| NodeId::from_random([number; 16]);
    let open = move |disk: &MemoryDisk, number| {
        let inner = MemoryStore::open(disk, "right", node(number));
        Wrong { inner, fault, staged: Mutex::default(), left: Mutex::default() }
    };
    let harness = Harness::new(open(&disk, 1)).staging().nested_keys(0).successor(move |store| {
        drop(store);
        disk.kill(&node(1));
        let next: Arc<dyn Store> = Arc::new(open(&disk, 2));
        async { next }
    });
    if parts { harness.multipart() } else { harness }
}

/// A right store, and the one thing that is wrong with it.
#[derive(Debug)]
struct Wrong {
    inner: MemoryStore,
    fault: Option<Fault>,
    /// What this process has staged.
    staged: Mutex<Vec<OpId>>,
    /// The leftovers that were given out.
    left: Mutex<Vec<Leftover>>,
}

impl Wrong {
    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn key(&self, key: &Key) -> Key {
        let lost = self.is(Fault::LettersLoseTheirCase);
        if lost { Key::new(key.as_str().to_lowercase()).unwrap() } else { key.clone() }
    }

    fn meta(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if self.is(Fault::ValidatorsAreSizes) {
            meta.etag = ETag::new(meta.size.to_string());
        }
        meta
    }

    fn written(&self, mut written: Written) -> Written {
        if self.is(Fault::ValidatorsAreSizes) {
            written.etag = ETag::new(written.size.to_string());
        }
        written
    }

    fn error(&self, error: Error) -> Error {
        match self.fault {
            Some(Fault::ErrorsNameNoKey) => Error::new(error.op(), "it", self, error.kind().clone()),
            Some(Fault::OutagesForAbsences) if error.is_not_found() => {
                Error::new(error.op(), "it", self, ErrorKind::Unavailable)
            }
            _ => error,
        }
    }

    fn mode(&self, mode: PutMode) -> PutMode {
        match (self.fault, &mode) {
            (Some(Fault::CreateOverwrites), PutMode::Create) => PutMode::Replace,
            (Some(Fault::ReplaceIfIgnoresTheCondition), PutMode::ReplaceIf(_)) => PutMode::Replace,
            _ => mode,
        }
    }

    /// Looks whether there is an object, then takes its time to write one.
    async fn look_then_write(&self, key: &Key, body: Body) -> Result<Written> {
        if self.inner.exists(key).await? {
            return Err(Error::new(Op::Put, key, self, ErrorKind::AlreadyExists));
        }
        self.inner.put(key, body, PutOptions::replace()).await
    }

    /// Writes each block where readers see it.
    async fn write_in_place(&self, key: &Key, body: Body) -> Result<Written> {
        let mut stream = body.into_stream().await.unwrap();
        let mut seen = Vec::new();
        while let Ok(Some(block)) = stream.try_next().await {
            seen.extend_from_slice(&block);
            self.inner.put(key, seen.clone().into(), PutOptions::replace()).await?;
        }
        self.inner.put(key, seen.into(), PutOptions::replace()).await
    }

    /// Takes a body for whole at its first error, if the error is one that `forgiven` takes.
    async fn write_what_came(&self, key: &Key, body: Body, forgiven: fn(&str) -> bool) -> Result<Written> {
        let mut stream = body.into_stream().await.unwrap();
        let mut seen = Vec::new();
        while let Some(block) = stream.next().await {
            match block {
                Ok(block) => seen.extend_from_slice(&block),
                Err(error) if forgiven(&error.to_string()) => break,
                Err(error) => return Err(Error::new(Op::Put, key, self, ErrorKind::Body).because(error)),
            }
        }
        self.inner.put(key, seen.into(), PutOptions::create()).await
    }

    /// Reads each block from whatever is there when its turn comes.
    fn follow(&self, object: Object) -> Object {
        let (inner, key) = (self.inner.clone(), object.meta.key.clone());
        let blocks = object.range.clone().step_by(50_000).map(move |first| (inner.clone(), key.clone(), first));
        let end = object.range.end;
        let body = stream::iter(blocks)
            .then(move |(inner, key, first)| async move {
                let range = Some(ByteRange::Between { first, last: (first + 50_000).min(end) - 1 });
                let part = inner.get(&key, GetOptions { range, if_match: None }).await?;
                let blocks: Vec<Bytes> = part.body.try_collect().await?;
                Ok(blocks.concat().into())
            })
            .boxed();
        Object { body, ..object }
    }

    async fn delete_below(&self, key: &Key) -> Result<()> {
        let below = ListOptions::below(Prefix::new(key).unwrap());
        let found: Vec<Listed> = self.inner.list(below).try_collect().await?;
        for item in found {
            self.inner.delete(&item.object.key).await?;
        }
        Ok(())
    }

    fn item(&self, mut item: Listed) -> Listed {
        item.object = self.meta(item.object);
        if self.is(Fault::ListingsSayOtherValidators) {
            item.object.etag = ETag::new("listed");
        }
        item
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = if self.is(Fault::DisplaysTwoLines) { "\n" } else { "" };
        write!(f, "wrong({}{line})", self.inner)
    }
}

#[async_trait]
impl Store for Wrong {
    async fn put(&self, key: &Key, body: Body, mut options: PutOptions) -> Result<Written> {
        let key = &self.key(key);
        options.mode = self.mode(options.mode);
        let written = match (self.fault, &options.mode) {
            (Some(Fault::CreateLooksFirstThenWrites), PutMode::Create) => self.look_then_write(key, body).await,
            (Some(Fault::ReplaceWritesInPlace), PutMode::Replace) => self.write_in_place(key, body).await,
            (Some(Fault::BrokenBodiesArePublished), PutMode::Create) => self.write_what_came(key, body, |_| true).await,
            (Some(Fault::ShortBodiesArePublished), PutMode::Create) => {
                self.write_what_came(key, body, |error| error.contains("were announced")).await
            }
            _ => self.inner.put(key, body, options).await,
        };
        written.map(|written| self.written(written)).map_err(|error| self.error(error))
    }

    async fn get(&self, key: &Key, mut options: GetOptions) -> Result<Object> {
        let key = &self.key(key);
        match (self.fault, &mut options.range) {
            (Some(Fault::IfMatchIsIgnored), _) => options.if_match = None,
            (Some(Fault::RangesLackTheirLastByte), Some(ByteRange::Between { first, last })) => {
                *last = last.saturating_sub(1).max(*first);
            }
            _ => {}
        }
        match self.inner.get(key, options).await {
            Ok(object) if self.is(Fault::ReadersFollowAReplace) => Ok(self.follow(object)),
            Ok(object) => Ok(Object { meta: self.meta(object.meta), ..object }),
            Err(error) if self.is(Fault::RangesPastTheEndAreEmpty) && !error.is_not_found() => {
                let meta = self.inner.head(key).await?;
                Ok(Object { range: meta.size..meta.size, meta, body: stream::empty().boxed() })
            }
            Err(error) => Err(self.error(error)),
        }
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let meta = self.inner.head(&self.key(key)).await;
        meta.map(|meta| self.meta(meta)).map_err(|error| self.error(error))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let key = &self.key(key);
        match self.fault {
            Some(Fault::DeleteOfNothingFails) => drop(self.inner.head(key).await?),
            Some(Fault::DeleteTakesTheFolder) => self.delete_below(key).await?,
            _ => {}
        }
        self.inner.delete(key).await
    }

    fn list(&self, mut options: ListOptions) -> BoxStream<'_, Result<Listed>> {
        match self.fault {
            Some(Fault::ListingsStartAnew) => options.after = None,
            Some(Fault::PrefixesAreOnlyLetters) => {
                let letters = options.prefix.as_str().trim_end_matches('/').to_owned();
                let like = move |item: &Result<Listed>| {
                    let like = item.as_ref().is_ok_and(|item| item.object.key.as_str().starts_with(&letters));
                    async move { like }
                };
                return self.inner.list(ListOptions { prefix: Prefix::all(), ..options }).filter(like).boxed();
            }
            Some(Fault::TheHiddenIsListed) if options.prefix == Prefix::all() => {
                let hidden = self.inner.list(ListOptions::below(Prefix::new(".larder").unwrap()));
                return self.inner.list(options).chain(hidden).boxed();
            }
            Some(Fault::ListingsForgetTheLast) => {
                let all = self.inner.list(options).collect::<Vec<_>>();
                let but_the_last = |mut items: Vec<_>| {
                    items.pop();
                    stream::iter(items)
                };
                return stream::once(all).map(but_the_last).flatten().boxed();
            }
            _ => {}
        }
        self.inner.list(options).map_ok(|item| self.item(item)).boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, mut options: PutOptions) -> Result<Written> {
        let (from, to) = (&self.key(from), &self.key(to));
        if self.is(Fault::CopyOverwrites) {
            options.mode = PutMode::Replace;
        }
        let written = match self.inner.copy(from, to, options.clone()).await {
            Err(error) if self.is(Fault::CopyOfNothingIsEmpty) && error.is_not_found() => {
                self.inner.put(to, Bytes::new().into(), options).await
            }
            written => written,
        };
        written.map(|written| self.written(written)).map_err(|error| self.error(error))
    }

    async fn sync(&self) -> Result<()> {
        self.inner.sync().await
    }

    fn limits(&self) -> Limits {
        let right = self.inner.limits();
        if self.is(Fault::NestingIsUndeclared) { Limits { nested_keys: usize::MAX, ..right } } else { right }
    }

    fn multipart(&self) -> Option<&dyn Multipart> {
        self.inner.multipart().map(|_| self as &dyn Multipart)
    }

    fn staging(&self) -> Option<&dyn Staging> {
        (!self.is(Fault::HasNoStaging)).then_some(self)
    }
}

#[async_trait]
impl Staging for Wrong {
    fn node(&self) -> NodeId {
        self.inner.node()
    }

    async fn is_alive(&self, node: &NodeId) -> Result<bool> {
        Ok(self.is(Fault::EverybodyIsAlive) || self.inner.is_alive(node).await?)
    }

    async fn stage(&self, op: &OpId, part: Part, body: Body) -> Result<Staged> {
        let mut staged = self.inner.stage(op, part, body).await?;
        self.staged.lock().unwrap().push(op.clone());
        if self.is(Fault::StagedIsListed) {
            let key = Key::new(format!(".larder/staging/{op}-{part:?}")).unwrap();
            self.inner.put(&key, "staged".into(), PutOptions::replace()).await?;
        }
        if self.is(Fault::StagedDigestsAreOfNothing) {
            staged.digests = larder_storage_core::Digests::of(b"");
        }
        Ok(staged)
    }

    async fn publish(&self, pairs: &[Pair]) -> Vec<Result<()>> {
        let mut results = self.inner.publish(pairs).await;
        let refused = results.iter().any(Result::is_err);
        for (pair, result) in pairs.iter().zip(&mut results).filter(|_| refused) {
            match self.fault {
                Some(Fault::PublishLeavesBytesOfAConflict) => {
                    let _ = self.inner.put(&pair.bytes, "left".into(), PutOptions::create()).await;
                }
                Some(Fault::PublishFailsTheWholeBatch) => {
                    let _ = self.inner.withdraw(&pair.op, &pair.bytes).await;
                    *result = Err(Error::new(Op::Publish, &pair.bytes, self, ErrorKind::AlreadyExists));
                }
                _ => {}
            }
        }
        results
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let mut found = self.inner.leftovers().await?;
        match self.fault {
            Some(Fault::LeftoversLoseOne) => drop(found.pop()),
            Some(Fault::LeftoversAreOfTheLiving) => {
                let own = |op: &OpId| Leftover { node: self.node(), op: op.clone(), bytes: None, attributes: None };
                found.extend(self.staged.lock().unwrap().iter().map(own));
            }
            Some(Fault::LeftoversAreGivenTwice) => {
                let mut left = self.left.lock().unwrap();
                left.extend(found);
                found = left.clone();
            }
            Some(Fault::LeftoversForgetWhoseTheyWere) => {
                found.iter_mut().for_each(|leftover| leftover.node = self.inner.node());
            }
            _ => {}
        }
        Ok(found)
    }

    async fn finish(&self, pair: &Pair) -> Result<()> {
        match self.fault {
            Some(Fault::FinishBringsNoBytesBack) => Ok(()),
            Some(Fault::FinishWantsSomethingStaged) if !self.staged.lock().unwrap().contains(&pair.op) => {
                Err(Error::new(Op::Publish, &pair.bytes, self, ErrorKind::NotFound))
            }
            _ => self.inner.finish(pair).await,
        }
    }

    async fn withdraw(&self, op: &OpId, bytes: &Key) -> Result<bool> {
        if self.is(Fault::WithdrawTakesAnything) {
            self.inner.delete(bytes).await?;
            return Ok(true);
        }
        self.inner.withdraw(op, bytes).await
    }

    async fn holds(&self, bytes: &Key) -> Result<bool> {
        match self.fault {
            Some(Fault::HoldsNothing) => Ok(false),
            Some(Fault::HoldsEqualBytes) => Ok(self.inner.head(bytes).await.is_ok()),
            _ => self.inner.holds(bytes).await,
        }
    }

    async fn discard(&self, op: &OpId) -> Result<()> {
        self.inner.discard(op).await
    }
}

impl Wrong {
    fn parts_of(&self) -> &dyn Multipart {
        self.inner.multipart().unwrap()
    }
}

#[async_trait]
impl Multipart for Wrong {
    async fn begin(&self, key: &Key) -> Result<UploadId> {
        self.parts_of().begin(key).await
    }

    async fn put_part(&self, key: &Key, upload: &UploadId, number: PartNumber, body: Body) -> Result<UploadedPart> {
        let there = self.parts_of().parts(key, upload).await?.into_iter().find(|part| part.number == number);
        match (self.fault, there) {
            (Some(Fault::TheFirstPartOfANumberStays), Some(there)) => return Ok(there),
            (Some(Fault::OpenUploadsAreSeen), _) => {
                self.inner.put(key, "open".into(), PutOptions::replace()).await?;
            }
            (Some(Fault::BrokenPartsAreKept), _) => {
                let blocks: Vec<_> = body.into_stream().await.unwrap().collect().await;
                let came: Vec<Bytes> = blocks.into_iter().map_while(Result::ok).collect();
                self.parts_of().put_part(key, upload, number, came.concat().into()).await?;
                return Err(Error::new(Op::Multipart, key, self, ErrorKind::Body));
            }
            _ => {}
        }
        self.parts_of().put_part(key, upload, number, body).await
    }

    async fn parts(&self, key: &Key, upload: &UploadId) -> Result<Vec<UploadedPart>> {
        match self.parts_of().parts(key, upload).await {
            Ok(_) if self.is(Fault::PartsAreUntold) => Ok(vec![]),
            Err(_) if self.is(Fault::EndedUploadsAreEmpty) => Ok(vec![]),
            parts => parts,
        }
    }

    async fn complete(&self, key: &Key, upload: &UploadId, parts: &[UploadedPart], mode: PutMode) -> Result<Written> {
        let (mut parts, mut mode) = (parts.to_vec(), mode);
        match self.fault {
            Some(Fault::UploadsLoseTheirLastPart) => drop(parts.pop()),
            Some(Fault::AnyPartWillDo) => parts = self.parts_of().parts(key, upload).await?,
            Some(Fault::UploadsOverwrite) => mode = PutMode::Replace,
            Some(Fault::UploadsNeverReplace) => mode = PutMode::Create,
            _ => {}
        }
        self.parts_of().complete(key, upload, &parts, mode).await
    }

    async fn abort(&self, key: &Key, upload: &UploadId) -> Result<()> {
        if self.is(Fault::AbortDoesNothing) { Ok(()) } else { self.parts_of().abort(key, upload).await }
    }

    async fn open_uploads(&self, of: Option<Key>) -> Result<Vec<OpenUpload>> {
        match self.fault {
            Some(Fault::UploadsOfAKeyAreThoseOfAll) => self.parts_of().open_uploads(None).await,
            Some(Fault::OpenUploadsAreUntold) if of.is_none() => Ok(vec![]),
            _ => self.parts_of().open_uploads(of).await,
        }
    }
}
