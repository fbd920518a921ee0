//! Where things lie on a store: the keys of bytes, and of what Larder keeps for itself below `.larder/`.

use crate::{BucketId, BucketName, DirectId, Environment, FileId, Timestamp, UserId, UserName};
use larder_storage_core::{Key, Prefix};
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

/// The most characters and bytes of a key's last component; the attributes' suffix still fits a file system's 255.
const LAST_CHARS_MAX: usize = 200;
const LAST_BYTES_MAX: usize = 240;

/// Makes the key of a new revision's bytes:
/// `{bucket}/{owner}/{yyyy}/{mm}/{dd}/{hh}/{stem}_{owner}_{timestamp}_{short}.{ext}`. Never the same twice: `{short}` has 80
/// random bits. The user's name for the file only makes it recognisable.
pub(crate) fn bytes_key(env: &Environment, bucket: &BucketName, owner: &UserName, at: Timestamp, name: &str) -> Key {
    let short = data_encoding::BASE32_NOPAD.encode(&env.random::<10>()).to_ascii_lowercase();
    let text = at.to_string();
    let (year, month, day, hour) = (&text[..4], &text[5..7], &text[8..10], &text[11..13]);
    let timestamp = format!("{year}{month}{day}T{hour}{}{}", &text[14..16], &text[17..19]);
    let last = name.rsplit('/').next().unwrap_or_default();
    let (stem, extension) = split_extension(last);
    let tail = format!("_{owner}_{timestamp}_{short}{extension}");
    let stem = fit(&clean(stem), LAST_CHARS_MAX - tail.chars().count(), LAST_BYTES_MAX - tail.len());
    Key::new(format!("{bucket}/{owner}/{year}/{month}/{day}/{hour}/{stem}{tail}")).expect("every part is checked")
}

/// What a key of bytes says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParsedKey {
    pub(crate) bucket: BucketName,
    pub(crate) owner: UserName,
}

/// Reads a key made by [`bytes_key`], from the right; `None` where it is not of that form.
pub(crate) fn parse(key: &Key) -> Option<ParsedKey> {
    let parts: Vec<&str> = key.segments().collect();
    let [bucket, owner, year, month, day, hour, last] = parts[..] else { return None };
    let (bucket, owner) = (BucketName::new(bucket).ok()?, UserName::new(owner).ok()?);
    let (rest, end) = last.rsplit_once('_')?;
    let (short, extension) = end.split_once('.').unwrap_or((end, ""));
    let is_short = short.len() == 16 && short.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
    let is_extension = extension.len() <= 16 && extension.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let (rest, timestamp) = rest.rsplit_once('_')?;
    let stem = rest.strip_suffix(owner.as_str())?.strip_suffix('_')?;
    let dated = timestamp.len() == 15 && timestamp.starts_with(&format!("{year}{month}{day}T{hour}"));
    (is_short && is_extension && dated && !stem.is_empty()).then_some(ParsedKey { bucket, owner })
}

/// The stem and the extension with its dot: at most 16 of `[a-z0-9]`, else none.
fn split_extension(name: &str) -> (&str, String) {
    match name.rsplit_once('.') {
        Some((stem, end)) if (1..=16).contains(&end.len()) && end.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            (stem, format!(".{}", end.to_ascii_lowercase()))
        }
        _ => (name, String::new()),
    }
}

fn clean(stem: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' };
    let clean: String = stem.nfc().map(kept).collect();
    let clean = clean.trim_start_matches('.');
    if clean.is_empty() { "file".into() } else { clean.into() }
}

/// `stem` within so many characters and bytes, cut at a character's boundary with an ellipsis.
fn fit(stem: &str, chars_max: usize, bytes_max: usize) -> String {
    if stem.chars().count() <= chars_max && stem.len() <= bytes_max {
        return stem.into();
    }
    let mut cut = String::new();
    for (count, c) in stem.chars().enumerate() {
        if count + 1 >= chars_max || cut.len() + c.len_utf8() + '…'.len_utf8() > bytes_max {
            break;
        }
        cut.push(c);
    }
    cut + "…"
}

/// The installation's marker on a store.
pub(crate) fn instance() -> Key {
    fixed(".larder/instance.json")
}

/// The rising number that tells an older database.
pub(crate) fn mark() -> Key {
    fixed(".larder/mark")
}

/// Where marks lie of a store that can't compare and replace one.
pub(crate) fn marks() -> Prefix {
    Prefix::new(".larder/marks").expect("a good prefix")
}

/// One of them.
pub(crate) fn numbered_mark(number: u64) -> Key {
    fixed(&format!(".larder/marks/{number:020}"))
}

/// Reads the key of one of them.
pub(crate) fn parse_mark(key: &Key) -> Option<u64> {
    key.as_str().strip_prefix(marks().as_str())?.parse().ok()
}

/// Where overlays lie.
pub(crate) fn overlays() -> Prefix {
    Prefix::new(".larder/attributes").expect("a good prefix")
}

/// Newer attributes of a file whose sidecar can't be replaced.
pub(crate) fn overlay(id: FileId, epoch: u64, version: u64) -> Key {
    fixed(&format!(".larder/attributes/{id}.{epoch}.{version}.json"))
}

/// Reads the key of an overlay: file, epoch, version.
pub(crate) fn parse_overlay(key: &Key) -> Option<(FileId, u64, u64)> {
    let rest = key.as_str().strip_prefix(overlays().as_str())?.strip_suffix(".json")?;
    let mut parts = rest.split('.');
    let found = (FileId::parse(parts.next()?)?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(found)
}

/// Where content lies that was sent to a store and is no file's yet.
pub(crate) fn incoming() -> Prefix {
    Prefix::new(".larder/incoming").expect("a good prefix")
}

/// A part of a direct upload. All lie in one folder: one for each upload would stay when it is empty.
pub(crate) fn incoming_part(id: DirectId, number: u64) -> Key {
    fixed(&format!(".larder/incoming/{id}.{number:05}"))
}

/// Reads the key of a part: whose it is.
pub(crate) fn parse_incoming(key: &Key) -> Option<DirectId> {
    let (id, _) = key.as_str().strip_prefix(incoming().as_str())?.split_once('.')?;
    DirectId::parse(id)
}

/// Where what can be made again lies, of all files.
pub(crate) fn renditions() -> Prefix {
    Prefix::new(".larder/renditions").expect("a good prefix")
}

/// The same of one file. `FILE` in the bytes of the prefix is followed by `/`, so no other's begins so.
pub(crate) fn renditions_of(file: FileId) -> Prefix {
    Prefix::new(format!(".larder/renditions/{file}")).expect("made of an id")
}

/// One of them, by the hash of what it is made of.
pub(crate) fn rendition(file: FileId, recipe: &[u8; 16]) -> Key {
    fixed(&format!(".larder/renditions/{file}/{}", data_encoding::HEXLOWER.encode(recipe)))
}

/// Reads the key of one of them.
pub(crate) fn parse_rendition(key: &Key) -> Option<(FileId, [u8; 16])> {
    let (file, recipe) = key.as_str().strip_prefix(renditions().as_str())?.split_once('/')?;
    let recipe = data_encoding::HEXLOWER.decode(recipe.as_bytes()).ok()?;
    Some((FileId::parse(file)?, recipe.try_into().ok()?))
}

/// Where tombstones lie.
pub(crate) fn tombstones() -> Prefix {
    Prefix::new(".larder/tombstones").expect("a good prefix")
}

/// Where sealed records of users lie.
pub(crate) fn accounts() -> Prefix {
    Prefix::new(".larder/accounts").expect("a good prefix")
}

/// Where sealed records of buckets lie.
pub(crate) fn buckets() -> Prefix {
    Prefix::new(".larder/buckets").expect("a good prefix")
}

/// A user's sealed record.
pub(crate) fn account(id: UserId, epoch: u64, version: u64) -> Key {
    fixed(&format!(".larder/accounts/{id}.{epoch}.{version}"))
}

/// A bucket's sealed record.
pub(crate) fn bucket(id: BucketId, epoch: u64, version: u64) -> Key {
    fixed(&format!(".larder/buckets/{id}.{epoch}.{version}"))
}

/// Reads the key of a sealed record below its folder: whose it is, epoch, version.
pub(crate) fn parse_sealed(folder: &Prefix, key: &Key) -> Option<(Uuid, u64, u64)> {
    let mut parts = key.as_str().strip_prefix(folder.as_str())?.trim_start_matches('/').split('.');
    let found = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(found)
}

fn fixed(text: &str) -> Key {
    Key::new(text).expect("made of ids and numbers")
}
