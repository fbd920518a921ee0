//! SVG: the attributes of its root.

use super::Probe;
use crate::{Error, Format, Result, svg};

pub(super) fn probe(bytes: &[u8]) -> Result<Probe> {
    let size = svg::root_tag(bytes).and_then(svg::size);
    let size = size.ok_or_else(|| Error::corrupt(Format::Svg, "its root gives no size that could be drawn"))?;
    Ok(Probe { alpha: true, ..Probe::still(Format::Svg, size.width, size.height) })
}
