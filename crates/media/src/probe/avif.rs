//! AVIF: the boxes of its `meta`, with the properties of the primary item.

use super::Probe;
use crate::{
    Error, Format, Orientation, Result,
    bytes::{be16, be32, be64},
    geometry::Size,
};

/// Boxes are looked at up to this many in one box, and items and properties as well.
const COUNT_MAX: usize = 1_000;

/// What is known of the primary picture.
#[derive(Debug)]
pub(crate) struct Avif<'a> {
    pub(crate) size: Size,
    pub(crate) orientation: Orientation,
    pub(crate) profile: Option<&'a [u8]>,
    pub(crate) alpha: bool,
    /// A sequence of frames, of which only the first is a picture of its own.
    pub(crate) animated: bool,
}

pub(super) fn probe(bytes: &[u8]) -> Result<Probe> {
    let avif = Avif::read(bytes)?;
    Ok(Probe {
        orientation: avif.orientation,
        alpha: avif.alpha,
        profile: avif.profile.is_some(),
        frames: if avif.animated { super::FRAMES_COUNTED } else { 1 },
        ..Probe::still(Format::Avif, avif.size.width, avif.size.height)
    })
}

impl<'a> Avif<'a> {
    /// Reads the boxes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where there is no primary item of a known size.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self> {
        let missing = |what: &'static str| move || Error::corrupt(Format::Avif, what);
        let meta = find(bytes, b"meta").and_then(|meta| meta.get(4..)).ok_or_else(missing("it has no `meta` box"))?;
        let primary = find(meta, b"pitm").and_then(item_id).ok_or_else(missing("it has no primary item"))?;
        let properties = Properties::read(meta).ok_or_else(missing("it has no properties"))?;
        let size = properties.of(primary).find_map(|(name, payload)| size(name, payload));
        Ok(Self {
            size: size.ok_or_else(missing("its primary item has no size"))?,
            orientation: orientation(&properties, primary),
            profile: properties.of(primary).find_map(|(name, payload)| profile(name, payload)),
            alpha: alpha_item(meta, &properties, primary).is_some(),
            animated: bytes.get(8..12) == Some(b"avis".as_slice()),
        })
    }
}

/// The boxes that follow each other: name and payload. A box that is longer than what is there ends where that does.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let next = move || {
        let (short, name) = (be32(bytes, 0)?, bytes.get(4..8)?);
        let (header, size) = match short {
            0 => (8, bytes.len()),
            1 => (16, usize::try_from(be64(bytes, 8)?).ok()?),
            size => (8, size as usize),
        };
        let end = size.min(bytes.len());
        let payload = bytes.get(header..end)?;
        bytes = &bytes[end..];
        Some((name, payload))
    };
    std::iter::from_fn(next).take(COUNT_MAX)
}

fn find<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    boxes(bytes).find(|(found, _)| *found == name).map(|(_, payload)| payload)
}

/// The item of a box that begins with version and flags; version 0 has short numbers.
fn item_id(payload: &[u8]) -> Option<u32> {
    if payload.first() == Some(&0) { be16(payload, 4).map(u32::from) } else { be32(payload, 4) }
}

/// The properties of all items: a list, and which item has which of them.
struct Properties<'a> {
    list: Vec<(&'a [u8], &'a [u8])>,
    /// Item and place in the list, from 1.
    owners: Vec<(u32, usize)>,
}

impl<'a> Properties<'a> {
    fn read(meta: &'a [u8]) -> Option<Self> {
        let both = find(meta, b"iprp")?;
        let owners = boxes(both).filter(|(name, _)| *name == b"ipma").filter_map(|(_, payload)| owners(payload));
        Some(Self { list: boxes(find(both, b"ipco")?).collect(), owners: owners.flatten().collect() })
    }

    fn of(&self, item: u32) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let places = self.owners.iter().filter(move |(owner, _)| *owner == item).map(|(_, place)| *place);
        places.filter_map(|place| self.list.get(place.checked_sub(1)?).copied())
    }
}

/// Reads `ipma`: for each item the places of its properties.
fn owners(payload: &[u8]) -> Option<Vec<(u32, usize)>> {
    let (version, wide) = (*payload.first()?, payload.get(3)? & 1 == 1);
    let (mut at, mut owners) = (8, Vec::new());
    for _ in 0..(be32(payload, 4)? as usize).min(COUNT_MAX) {
        let item = if version == 0 { be16(payload, at)?.into() } else { be32(payload, at)? };
        at += if version == 0 { 2 } else { 4 };
        let count = usize::from(*payload.get(at)?);
        at += 1;
        for _ in 0..count {
            let place =
                if wide { usize::from(be16(payload, at)? & 0x7fff) } else { usize::from(payload.get(at)? & 0x7f) };
            owners.push((item, place));
            at += if wide { 2 } else { 1 };
        }
        if owners.len() > COUNT_MAX {
            return None;
        }
    }
    Some(owners)
}

fn size(name: &[u8], payload: &[u8]) -> Option<Size> {
    (name == b"ispe").then_some(())?;
    Some(Size { width: be32(payload, 4)?, height: be32(payload, 8)? })
}

fn profile<'a>(name: &[u8], payload: &'a [u8]) -> Option<&'a [u8]> {
    let kind = payload.get(..4).filter(|_| name == b"colr")?;
    (kind == b"prof" || kind == b"rICC").then(|| &payload[4..])
}

/// First turned counter-clockwise by `irot`, then mirrored by `imir`.
fn orientation(properties: &Properties<'_>, item: u32) -> Orientation {
    let value =
        |wanted: &[u8]| properties.of(item).find(|(name, _)| *name == wanted).and_then(|(_, payload)| payload.first());
    let turns = value(b"irot").map_or(0, |turns| turns & 3);
    // 0 exchanges top and bottom, 1 left and right.
    let number = match (turns, value(b"imir").map(|axis| axis & 1)) {
        (0, None) => 1,
        (1, None) => 8,
        (2, None) => 3,
        (_, None) => 6,
        (0, Some(1)) | (2, Some(0)) => 2,
        (0, Some(_)) | (2, Some(_)) => 4,
        (1, Some(1)) | (3, Some(0)) => 7,
        (_, Some(_)) => 5,
    };
    Orientation::from_exif(number)
}

/// The item that is the transparency of the primary one.
fn alpha_item(meta: &[u8], properties: &Properties<'_>, primary: u32) -> Option<u32> {
    let references = find(meta, b"iref")?;
    let wide = *references.first()? != 0;
    let id = |payload: &[u8], at: usize| if wide { be32(payload, at) } else { be16(payload, at).map(u32::from) };
    let to_at = if wide { 6 } else { 4 };
    let mut auxiliary = boxes(references.get(4..)?)
        .filter(|(name, payload)| *name == b"auxl" && id(payload, to_at) == Some(primary))
        .filter_map(|(_, payload)| id(payload, 0));
    let is_alpha = |item: &u32| {
        properties.of(*item).any(|(name, payload)| name == b"auxC" && payload.windows(5).any(|part| part == b"alpha"))
    };
    auxiliary.find(is_alpha)
}
