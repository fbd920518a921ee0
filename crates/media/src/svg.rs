//! SVG to pixels, by resvg: without files, network, fonts, scripts or pictures inside the picture. A drawing is a program, so its cost
//! is estimated before it is run, and one that multiplies itself is refused.
//!
//! Text is not drawn: that would take the fonts of whatever machine this is, and renditions would differ from machine to machine.

use crate::{Error, Format, Limits, Result, geometry::Size, pixels::Pixels};
use resvg::{
    tiny_skia,
    usvg::{self, roxmltree},
};
use roxmltree::{Document, Node, NodeId};
use std::collections::{HashMap, HashSet};

/// XML nodes of a drawing.
const NODES_MAX: u32 = 200_000;
/// Elements one in the other, references counted.
const DEPTH_MAX: usize = 128;
/// Elements that are drawn, each as often as it is referred to.
const DRAWN_MAX: u64 = 100_000;
/// References and children that are looked at while a drawing's cost is estimated: what a style sheet refers to counts at each element.
const STEPS_MAX: usize = 20_000_000;
/// Bytes of a drawing: it is text, and drawing it can't be broken off.
const BYTES_MAX: u64 = 16 << 20;
/// Pixels that all layers have together; filters, masks and groups with opacity take one each.
const LAYER_PIXELS_MAX: u64 = 1 << 28;
/// The root must begin within this many bytes.
const PROLOG_BYTES_MAX: usize = 64 << 10;

/// Filters whose time grows with their numbers and not with the pixels.
const FILTERS_REFUSED: [&str; 3] = ["feTurbulence", "feMorphology", "feConvolveMatrix"];
/// Attributes that make an element a layer of its own.
const LAYERED: [&str; 6] = ["filter", "mask", "clip-path", "opacity", "mix-blend-mode", "style"];

/// The tag of the root element, if it is `svg`: what stands between `<` and `>`.
pub(crate) fn root_tag(bytes: &[u8]) -> Option<&str> {
    let text = &bytes[..bytes.len().min(PROLOG_BYTES_MAX)];
    let mut rest = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    while let Some(end) = end_of_misc(rest) {
        rest = rest.get(end..)?.trim_ascii_start();
    }
    let tag = std::str::from_utf8(&rest[1..end_of_tag(rest)?]).ok()?;
    let name = tag.split(|letter: char| letter.is_ascii_whitespace() || letter == '/').next()?;
    (name == "svg" || name.ends_with(":svg")).then_some(tag)
}

/// Where a declaration, a comment or a document type at the front ends.
fn end_of_misc(text: &[u8]) -> Option<usize> {
    let after = |end: &[u8]| Some(text.windows(end.len()).position(|part| part == end)? + end.len());
    match text {
        [b'<', b'?', ..] => after(b"?>"),
        [b'<', b'!', b'-', b'-', ..] => after(b"-->"),
        [b'<', b'!', ..] => {
            let plain = after(b">")?;
            if text[..plain].contains(&b'[') { after(b"]>") } else { Some(plain) }
        }
        _ => None,
    }
}

/// Where the tag at the front ends; a `>` in an attribute is not the end.
fn end_of_tag(text: &[u8]) -> Option<usize> {
    let mut quote = None;
    let open = text.first() == Some(&b'<');
    let end = text.iter().position(|byte| {
        match (quote, *byte) {
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
        quote.is_none() && *byte == b'>'
    });
    end.filter(|_| open)
}

/// The size in pixels that the root's attributes give; `None` where they give none or less than a pixel.
pub(crate) fn size(root_tag: &str) -> Option<Size> {
    let view_box = attribute(root_tag, "viewBox").and_then(view_box);
    let side = |name| attribute(root_tag, name).and_then(length);
    let (width, height) = match (side("width"), side("height"), view_box) {
        (Some(width), Some(height), _) => (width, height),
        (Some(width), None, Some((wide, high))) => (width, width * high / wide),
        (None, Some(height), Some((wide, high))) => (height * wide / high, height),
        (None, None, Some((wide, high))) => (wide, high),
        (width, height, None) => (width.unwrap_or(100.0), height.unwrap_or(100.0)),
    };
    let side = |length: f64| (0.5..1e9).contains(&length).then(|| length.round() as u32);
    Some(Size { width: side(width)?, height: side(height)? })
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let starts = tag.match_indices(name).map(|(at, _)| at);
    let separate = |at: &usize| tag[..*at].ends_with(|before: char| before.is_ascii_whitespace());
    let value = |at: usize| tag[at + name.len()..].trim_start().strip_prefix('=').map(str::trim_start);
    let quoted = starts.filter(separate).find_map(value)?;
    let quote = quoted.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    quoted[1..].split(quote).next()
}

/// A length in pixels; a percentage of something unknown is none.
fn length(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 6] =
        [("px", 1.0), ("pt", 4.0 / 3.0), ("pc", 16.0), ("mm", 96.0 / 25.4), ("cm", 96.0 / 2.54), ("in", 96.0)];
    let text = text.trim();
    let unit = UNITS.iter().find_map(|(unit, pixels)| Some((text.strip_suffix(unit)?, *pixels)));
    let (number, pixels) = unit.unwrap_or((text, 1.0));
    number.parse::<f64>().ok().map(|number| number * pixels).filter(|length| length.is_finite() && *length > 0.0)
}

fn view_box(text: &str) -> Option<(f64, f64)> {
    let numbers: Vec<f64> = text.split([' ', ',', '\t', '\n']).filter_map(|number| number.parse().ok()).collect();
    let [_, _, width, height] = numbers[..] else { return None };
    (width > 0.0 && height > 0.0).then_some((width, height))
}

/// Draws an SVG at this size.
///
/// # Errors
/// [`Error::Corrupt`] where it is no such drawing, [`Error::Unsupported`] for entities and costly filters, [`Error::TooLarge`] where
/// it would draw too much.
pub(crate) fn draw(bytes: &[u8], size: Size, limits: &Limits) -> Result<Pixels> {
    limits.check_rendition(size, Format::Svg)?;
    let instead = "simplify the drawing";
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Error::TooLarge {
            what: "size of the SVG in bytes",
            found: bytes.len() as u64,
            limit: BYTES_MAX,
            instead,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Error::corrupt(Format::Svg, "it is not UTF-8"))?;
    if text.contains("<!ENTITY") {
        return Err(Error::unsupported("an SVG with entities", "save it without"));
    }
    let xml = roxmltree::ParsingOptions { allow_dtd: true, nodes_limit: NODES_MAX, ..Default::default() };
    let document = Document::parse_with_options(text, xml).map_err(|fault| Error::corrupt(Format::Svg, fault))?;
    Cost::of(&document)?.check(size)?;
    let tree = usvg::Tree::from_xmltree(&document, &closed()).map_err(|fault| Error::corrupt(Format::Svg, fault))?;
    let mut canvas = tiny_skia::Pixmap::new(size.width, size.height)
        .ok_or_else(|| Error::corrupt(Format::Svg, "its size cannot be drawn"))?;
    let (across, down) = (size.width as f32 / tree.size().width(), size.height as f32 / tree.size().height());
    resvg::render(&tree, tiny_skia::Transform::from_scale(across, down), &mut canvas.as_mut());
    let bytes = canvas.pixels().iter().flat_map(|pixel| {
        let colour = pixel.demultiply();
        [colour.red(), colour.green(), colour.blue(), colour.alpha()]
    });
    Ok(Pixels::new(size, true, bytes.collect()).expect("the canvas has this size"))
}

/// Nothing outside the document is reached: neither files nor pictures in data URLs.
fn closed() -> usvg::Options<'static> {
    let image_href_resolver =
        usvg::ImageHrefResolver { resolve_data: Box::new(|_, _, _| None), resolve_string: Box::new(|_, _| None) };
    usvg::Options { resources_dir: None, image_href_resolver, ..usvg::Options::default() }
}

/// What drawing would take at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Cost {
    /// Elements, each as often as it is referred to.
    drawn: u64,
    /// Those of them that need a canvas of their own.
    layers: u64,
}

impl Cost {
    fn of(document: &Document<'_>) -> Result<Self> {
        let ids = document.descendants().filter_map(|node| Some((node.attribute("id")?, node.id()))).collect();
        let styles: Vec<&str> =
            document.descendants().filter(|node| node.has_tag_name("style")).filter_map(|node| node.text()).collect();
        let mut estimate = Estimate { document, ids, styled: vec![], known: HashMap::new(), steps: 0 };
        // What a style sheet refers to may apply to any element. Gradients are as cheap as colours.
        let named: HashSet<NodeId> = styles.iter().flat_map(|text| estimate.targets(text)).collect();
        estimate.styled = named.into_iter().collect();
        estimate
            .styled
            .retain(|id| document.get_node(*id).is_some_and(|node| !node.tag_name().name().ends_with("Gradient")));
        estimate.node(document.root_element(), 0)
    }

    fn plus(self, other: Self) -> Self {
        Self { drawn: self.drawn.saturating_add(other.drawn), layers: self.layers.saturating_add(other.layers) }
    }

    fn check(self, canvas: Size) -> Result<()> {
        let instead = "simplify the drawing";
        let limits = [
            ("number of elements that the SVG draws", self.drawn, DRAWN_MAX),
            (
                "number of pixels in the layers of the SVG",
                self.layers.saturating_mul(canvas.pixels()),
                LAYER_PIXELS_MAX,
            ),
        ];
        match limits.into_iter().find(|(_, found, limit)| found > limit) {
            Some((what, found, limit)) => Err(Error::TooLarge { what, found, limit, instead }),
            None => Ok(()),
        }
    }
}

/// The walk that adds up a [`Cost`].
struct Estimate<'a, 'input> {
    document: &'a Document<'input>,
    ids: HashMap<&'a str, NodeId>,
    styled: Vec<NodeId>,
    /// What was added up already. An element that is being added up counts as nothing: a circle is broken there, as in drawing.
    known: HashMap<NodeId, Cost>,
    steps: usize,
}

impl<'a> Estimate<'a, '_> {
    fn node(&mut self, node: Node<'a, '_>, depth: usize) -> Result<Cost> {
        if let Some(known) = self.known.get(&node.id()) {
            return Ok(*known);
        }
        if depth > DEPTH_MAX {
            let (found, limit) = (depth as u64, DEPTH_MAX as u64);
            return Err(Error::TooLarge { what: "depth of the SVG", found, limit, instead: "simplify the drawing" });
        }
        let name = node.tag_name().name();
        if let Some(refused) = FILTERS_REFUSED.iter().find(|refused| **refused == name) {
            return Err(Error::unsupported(format_args!("`{refused}` in an SVG"), "save it without"));
        }
        self.known.insert(node.id(), Cost::default());
        let mut cost = own(&node);
        let reached = self.reached(&node);
        self.steps += reached.len();
        if self.steps > STEPS_MAX {
            let (found, limit) = (self.steps as u64, STEPS_MAX as u64);
            let what = "number of references in the SVG";
            return Err(Error::TooLarge { what, found, limit, instead: "simplify the drawing" });
        }
        for reached in reached {
            let reached = self.document.get_node(reached).expect("the id is of this document");
            cost = cost.plus(self.node(reached, depth + 1)?);
        }
        self.known.insert(node.id(), cost);
        Ok(cost)
    }

    /// The children of an element and all that it refers to.
    fn reached(&self, node: &Node<'a, '_>) -> Vec<NodeId> {
        let children = node.children().filter(Node::is_element).map(|child| child.id());
        let referred = node
            .attributes()
            .filter(|attribute| attribute.name() != "id")
            .flat_map(|attribute| self.targets(attribute.value()));
        children.chain(referred).chain(self.styled.iter().copied()).collect()
    }

    /// The elements that a value refers to: `#id`, or `url(#id)` as often as it stands there.
    fn targets(&self, value: &str) -> Vec<NodeId> {
        let names =
            value.split('#').skip(1).map(|rest| rest.split([')', '"', '\'', ' ', ';']).next().unwrap_or_default());
        names.filter_map(|name| self.ids.get(name).copied()).collect()
    }
}

/// What an element costs without all that it reaches.
fn own(node: &Node<'_, '_>) -> Cost {
    let is_layer = node.tag_name().name().starts_with("fe") || LAYERED.iter().any(|name| node.has_attribute(*name));
    Cost { drawn: 1, layers: is_layer.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(svg: &str) -> Result<Pixels> {
        draw(svg.as_bytes(), Size { width: 10, height: 10 }, &Limits::default())
    }

    fn svg(inside: &str) -> String {
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="10" height="10">{inside}</svg>"#
        )
    }

    #[test]
    fn the_root_is_found_behind_what_may_stand_before_it() {
        let found = [
            "<svg/>",
            "\u{feff}<?xml version='1.0'?>\n<!-- a > b --><svg a='>' width='5'>",
            "<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'http://x/svg11.dtd'><svg:svg>",
            "<!DOCTYPE svg [<!ENTITY a 'b'>]><svg>",
        ];
        assert!(found.iter().all(|text| root_tag(text.as_bytes()).is_some()));
        let others = ["", "<", "<html><svg/></html>", "<!-- <svg> ", "<svgx>", "svg", "<?xml", "<!DOCTYPE svg ["];
        assert!(others.iter().all(|text| root_tag(text.as_bytes()).is_none()));
    }

    #[test]
    fn the_size_is_that_of_the_attributes_or_of_the_view_box() {
        let cases = [
            ("svg width='30' height='20px'", Some((30, 20))),
            ("svg width='1in' height='72pt'", Some((96, 96))),
            ("svg viewBox='0 0 30 20' width='60'", Some((60, 40))),
            ("svg width='100%' height='100%' viewBox='0,0,30,20'", Some((30, 20))),
            ("svg stroke-width='9' viewBox='0 0 3 2'", Some((3, 2))),
            ("svg", Some((100, 100))),
            ("svg width='1e300' height='5'", None),
            ("svg width='NaN' height='inf' viewBox='0 0 1e-9 1'", None),
        ];
        for (tag, expected) in cases {
            assert_eq!(size(tag).map(|size| (size.width, size.height)), expected, "{tag}");
        }
    }

    #[test]
    fn what_is_drawn_is_seen() {
        let pixels = drawn(&svg(r##"<rect width="5" height="10" fill="#ff0000"/>"##)).expect("a right drawing");
        assert_eq!(pixels.iter().next(), Some([255, 0, 0, 255].as_slice()));
        assert_eq!(pixels.iter().last(), Some([0, 0, 0, 0].as_slice()));
    }

    #[test]
    fn entities_are_refused() {
        let laughs = r#"<!DOCTYPE svg [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><svg width="1" height="1">&b;</svg>"#;
        assert!(matches!(drawn(laughs), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn a_drawing_that_multiplies_itself_is_refused() {
        for (element, attribute) in [("g", "xlink:href"), ("g", "href")] {
            let levels: String = (0..20)
                .map(|n| {
                    let uses = format!(r##"<use {attribute}="#l{}"/>"##, n + 1).repeat(10);
                    format!(r#"<{element} id="l{n}">{uses}</{element}>"#)
                })
                .collect();
            let refused = drawn(&svg(&(levels + r#"<rect id="l20" width="1" height="1"/>"#)));
            assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
        }
    }

    #[test]
    fn patterns_named_by_a_style_sheet_are_counted() {
        let levels: String = (0..20)
            .map(|n| {
                format!(
                    r#"<pattern id="p{n}" width="1" height="1">{}</pattern>"#,
                    format!(r#"<rect class="c{}"/>"#, n + 1).repeat(10)
                )
            })
            .collect();
        let sheet: String = (0..20).map(|n| format!(".c{n}{{fill:url(#p{n})}}")).collect();
        let refused = drawn(&svg(&format!("<style>{sheet}</style>{levels}")));
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    }

    #[test]
    fn a_drawing_that_refers_to_itself_ends() {
        assert!(drawn(&svg(r##"<g id="a"><use href="#a"/></g>"##)).is_ok());
        assert!(drawn(&svg(r##"<pattern id="p" width="1" height="1"><rect fill="url(#p)" width="1" height="1"/></pattern><rect fill="url(#p)" width="9" height="9"/>"##)).is_ok());
    }

    #[test]
    fn a_deep_drawing_is_refused() {
        let deep = svg(&("<g>".repeat(50_000) + &"</g>".repeat(50_000)));
        assert!(drawn(&deep).is_err());
    }

    #[test]
    fn costly_filters_and_too_many_layers_are_refused() {
        let turbulence =
            svg(r##"<filter id="f"><feTurbulence numOctaves="999999"/></filter><rect filter="url(#f)"/>"##);
        assert!(matches!(drawn(&turbulence), Err(Error::Unsupported { .. })));
        let layers = svg(&r#"<g opacity="0.5"><rect width="1" height="1"/></g>"#.repeat(300));
        let large = draw(layers.as_bytes(), Size { width: 4000, height: 4000 }, &Limits::default());
        assert!(matches!(large, Err(Error::TooLarge { .. })));
        assert!(drawn(&layers).is_ok());
    }

    #[test]
    fn nothing_outside_is_reached() {
        let file = std::env::temp_dir().join("larder-media-outside.svg");
        std::fs::write(&file, svg(r##"<rect width="10" height="10" fill="#ff0000"/>"##))
            .expect("the directory is there");
        let outside = svg(&format!(r#"<image xlink:href="{}" width="10" height="10"/>"#, file.display()));
        let pixels = drawn(&outside).expect("a right drawing");
        assert!(pixels.iter().all(|pixel| pixel[3] == 0));
        std::fs::remove_file(file).expect("it was written");
    }
}
