//! Pictures that want to be fatal, made byte by byte. What they claim is in their names.

use super::{RED, animated_gif, chunk, marked, picture, png, tiff};

/// What must become of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// A limit names what is too large.
    TooLarge,
    /// It is no right picture, or one that is not read.
    Refused,
    /// It is as harmless as it looks.
    Rendered,
    /// Either is fine, as long as it is soon.
    Any,
}

use Fate::{Any, Refused, Rendered, TooLarge};

pub struct Bomb {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub recipe: &'static str,
    pub fate: Fate,
}

fn bomb(name: &'static str, bytes: Vec<u8>, fate: Fate) -> Bomb {
    Bomb { name, bytes, recipe: "w_100", fate }
}

/// All of them, made one format after the other: some are large.
pub fn all() -> impl Iterator<Item = Bomb> {
    let makers = [png_bombs, jpeg_bombs, gif_bombs, webp_bombs, tiff_bombs, bmp_and_ico_bombs, svg_bombs, avif_bombs];
    makers.into_iter().flat_map(|make| make())
}

/// The header of a PNG with these sides, and chunks.
fn png_of(width: u32, height: u32, depth: u8, kind: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, kind, 0, 0, 0]].concat();
    let start = [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &header)].concat();
    [start, chunks.concat(), chunk(b"IEND", b"")].concat()
}

/// A zlib stream that inflates to about `length` zeros: a run of 258 in 13 bits.
fn zeros(length: usize) -> Vec<u8> {
    let (mut out, mut bits, mut held) = (vec![0x78, 0x01], 0_u64, 0_u32);
    // A last block with fixed codes, and a zero to be repeated: then length 258 (code 285) at distance 1 (code 0).
    let run = (0b1010_0011_u64, 8 + 5);
    let pieces =
        [(0b011, 3), (0b0000_1100, 8)].into_iter().chain(std::iter::repeat_n(run, length / 258)).chain([(0, 7)]);
    for (piece, count) in pieces {
        bits |= piece << held;
        held += count;
        while held >= 8 {
            out.push(bits as u8);
            (bits, held) = (bits >> 8, held - 8);
        }
    }
    out.push(bits as u8);
    // The checksum of zeros.
    let sum = (((length / 258 * 258 + 1) % 65_521) as u32) << 16 | 1;
    out.extend(sum.to_be_bytes());
    out
}

fn small_png_with(extra: Vec<u8>) -> Vec<u8> {
    let whole = png(&marked(), |_| {});
    [&whole[..33], &extra, &whole[33..]].concat()
}

pub fn png_bombs() -> Vec<Bomb> {
    let gigabyte = zeros(1 << 30);
    let named = |prefix: &[u8]| [prefix, &gigabyte].concat();
    let idat = chunk(b"IDAT", &zeros(1 << 20));
    let frames = chunk(b"acTL", &[0xff; 8]);
    vec![
        bomb("PNG of 30,000 pixels squared", png_of(30_000, 30_000, 8, 6, std::slice::from_ref(&idat)), TooLarge),
        bomb(
            "PNG of 10,000 pixels squared, 1 bit each",
            png_of(10_000, 10_000, 1, 0, std::slice::from_ref(&idat)),
            TooLarge,
        ),
        bomb(
            "PNG of 2^31 - 1 pixels squared",
            png_of(i32::MAX as u32, i32::MAX as u32, 16, 6, std::slice::from_ref(&idat)),
            TooLarge,
        ),
        bomb("PNG of 2^32 - 1 pixels squared", png_of(u32::MAX, u32::MAX, 8, 6, std::slice::from_ref(&idat)), Refused),
        bomb("PNG without pixels", png_of(0, 0, 8, 6, std::slice::from_ref(&idat)), Refused),
        bomb("PNG with a text of 1 GB", small_png_with(chunk(b"zTXt", &named(b"a\0\0"))), Rendered),
        bomb(
            "PNG with an international text of 1 GB",
            small_png_with(chunk(b"iTXt", &named(b"a\0\x01\0\0\0"))),
            Rendered,
        ),
        bomb("PNG with a profile of 1 GB", small_png_with(chunk(b"iCCP", &named(b"a\0\0"))), Rendered),
        bomb("PNG with 1 GB for one pixel", png_of(1, 1, 8, 6, &[chunk(b"IDAT", &gigabyte)]), Any),
        bomb("PNG with a chunk of 4 GB", png_of(9, 9, 8, 6, &[b"\xff\xff\xff\xffabcd".to_vec()]), Refused),
        bomb("PNG without a palette", png_of(9, 9, 8, 3, std::slice::from_ref(&idat)), Refused),
        bomb("PNG with 4 billion frames", small_png_with(frames), Any),
    ]
}

/// A JPEG up to its frame header.
fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
    let frame = [
        b"\xff\xc0\0\x11\x08".as_slice(),
        &height.to_be_bytes(),
        &width.to_be_bytes(),
        b"\x03\x01\x11\0\x02\x11\0\x03\x11\0",
    ];
    [b"\xff\xd8", frame.concat().as_slice(), b"\xff\xda\0\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0", &[0; 100]].concat()
}

fn jpeg_bombs() -> Vec<Bomb> {
    let mut scans = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut scans, 80);
    encoder.set_progressive(true);
    encoder.encode(&marked(), 48, 32, jpeg_encoder::ColorType::Rgb).expect("an encoder");
    let last = scans.windows(2).rposition(|pair| pair == b"\xff\xda").expect("it has scans");
    let scan = scans[last..scans.len() - 2].to_vec();
    let many = [&scans[..last], &scan.repeat(1_000), b"\xff\xd9"].concat();
    vec![
        bomb("JPEG of 65,500 pixels squared", jpeg_of(65_500, 65_500), TooLarge),
        bomb("JPEG of 16,000 pixels squared", jpeg_of(16_000, 16_000), TooLarge),
        bomb("JPEG with 1,000 scans", many, TooLarge),
        bomb("JPEG whose height comes later", jpeg_of(100, 0), Refused),
        bomb("JPEG without tables", jpeg_of(100, 100), Refused),
        bomb("JPEG that ends in a segment", [b"\xff\xd8".as_slice(), &b"\xff\xe1\xff\xff".repeat(9)].concat(), Refused),
        bomb("JPEG of fill bytes", [b"\xff\xd8".as_slice(), &[0xff; 1 << 20]].concat(), Refused),
        bomb("JPEG of empty segments", [b"\xff\xd8".as_slice(), &b"\xff\xfe\0\x02".repeat(1 << 18)].concat(), Refused),
    ]
}

/// A GIF with a canvas and blocks.
fn gif_of(width: u16, height: u16, blocks: &[u8]) -> Vec<u8> {
    let table = [0, 0, 0, 255, 255, 255];
    [b"GIF89a".as_slice(), &width.to_le_bytes(), &height.to_le_bytes(), b"\x80\0\0", &table, blocks, b";"].concat()
}

/// A frame of one pixel that claims a place and a size.
fn gif_frame(left: u16, top: u16, width: u16, height: u16) -> Vec<u8> {
    let place = [left, top, width, height].map(u16::to_le_bytes).concat();
    [b",".as_slice(), &place, b"\0\x02\x02\x44\x01\0"].concat()
}

fn gif_bombs() -> Vec<Bomb> {
    let many = gif_of(1, 1, &gif_frame(0, 0, 1, 1).repeat(100_000));
    let script = [animated_gif(&[RED]), b"*/=1;alert(1)//".to_vec()].concat();
    let endless = [gif_of(10, 10, &[]).split_last().expect("not empty").1, &[0x21, 0xfe], &[0xff; 1 << 20]].concat();
    vec![
        bomb("GIF with a canvas of 65,535 pixels squared", gif_of(65_535, 65_535, &gif_frame(0, 0, 1, 1)), TooLarge),
        Bomb { recipe: "f_gif", ..bomb("GIF of 100,000 frames, animated", many.clone(), TooLarge) },
        Bomb { recipe: "f_jpeg", ..bomb("GIF of 100,000 frames, the first", many, Rendered) },
        bomb("GIF with a frame of 65,535 pixels squared", gif_of(10, 10, &gif_frame(0, 0, 65_535, 65_535)), Any),
        bomb("GIF with a frame of 60,000 by 1,000 pixels", gif_of(10, 10, &gif_frame(0, 0, 60_000, 1_000)), Any),
        bomb("GIF with a frame outside", gif_of(10, 10, &gif_frame(60_000, 60_000, 5, 5)), Any),
        bomb("GIF with a comment without end", endless, Any),
        bomb("GIF that is a script, too", script, Rendered),
        bomb("GIF without frames", gif_of(10, 10, &[]), Refused),
    ]
}

/// A WebP of chunks.
fn webp_of(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let body: Vec<u8> = chunks
        .iter()
        .flat_map(|(name, payload)| {
            [name.as_slice(), &(payload.len() as u32).to_le_bytes(), payload, &[0][..payload.len() % 2]].concat()
        })
        .collect();
    [b"RIFF".as_slice(), &(body.len() as u32 + 4).to_le_bytes(), b"WEBP", &body].concat()
}

/// The header of an extended WebP: flags and a canvas.
fn canvas(flags: u8, width: u32, height: u32) -> (&'static [u8; 4], Vec<u8>) {
    let less_one = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    (b"VP8X", [vec![flags, 0, 0, 0], less_one(width), less_one(height)].concat())
}

fn webp_bombs() -> Vec<Bomb> {
    let still = picture(larder_media::Format::Webp, 1);
    let lossless = still.windows(4).position(|name| name == b"VP8L").expect("it is lossless");
    let length = u32::from_le_bytes(still[lossless + 4..lossless + 8].try_into().expect("four bytes")) as usize;
    let pixels = still[lossless + 8..lossless + 8 + length].to_vec();
    let frame = |place: u8, width: u8| {
        let header = [place, 0, 0, place, 0, 0, width, 0, 0, width, 0, 0, 10, 0, 0, 0];
        [&header[..], b"VP8L", &(length as u32).to_le_bytes(), &pixels].concat()
    };
    let animated = |frames: Vec<(&'static [u8; 4], Vec<u8>)>| {
        webp_of(&[vec![canvas(2, 48, 32), (b"ANIM", vec![0; 6])], frames].concat())
    };
    let mut cut = still.clone();
    cut[lossless + 4..lossless + 8].copy_from_slice(&u32::MAX.to_le_bytes());
    vec![
        bomb(
            "WebP with a canvas of 16 million pixels squared",
            webp_of(&[canvas(2, 1 << 24, 1 << 24), (b"ANIM", vec![0; 6])]),
            TooLarge,
        ),
        bomb(
            "WebP whose canvas is not its picture",
            webp_of(&[canvas(0, 4_000, 4_000), (b"VP8L", pixels.clone())]),
            Refused,
        ),
        bomb("WebP with a chunk of 4 GB", cut, Any),
        bomb("WebP with a lossless header only", webp_of(&[(b"VP8L", b"\x2f\xff\xff\xff\x0f".to_vec())]), TooLarge),
        bomb(
            "WebP with a lossy header only",
            webp_of(&[(b"VP8 ", b"\x10\0\0\x9d\x01\x2a\x64\0\x64\0".to_vec())]),
            Refused,
        ),
        bomb("WebP with a frame outside", animated(vec![(b"ANMF", frame(200, 47)); 3]), Any),
        bomb("WebP with a frame that is not its picture", animated(vec![(b"ANMF", frame(0, 255)); 3]), Any),
        bomb("WebP of 100,000 empty frames", animated(vec![(b"ANMF", vec![0; 16]); 100_000]), TooLarge),
    ]
}

fn tiff_bombs() -> Vec<Bomb> {
    let with = |extra: &[(u16, u16, u32, u32)]| tiff(&marked(), 1, extra);
    let mut circle = with(&[]);
    let directory = u32::from_le_bytes(circle[4..8].try_into().expect("four bytes"));
    let last = circle.len() - 4;
    circle[last..].copy_from_slice(&directory.to_le_bytes());
    let mut everywhere = with(&[]);
    everywhere[directory as usize..][..2].copy_from_slice(&u16::MAX.to_le_bytes());
    let mut nowhere = with(&[]);
    nowhere[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    // The compressed strip lies behind the directory.
    let place = circle.len() as u32;
    let gigabyte = zeros(1 << 30);
    let deflated = [with(&[(259, 3, 1, 8), (273, 4, 1, place), (279, 4, 1, gigabyte.len() as u32)]), gigabyte].concat();
    vec![
        bomb("TIFF of 2^32 - 1 pixels squared", with(&[(256, 4, 1, u32::MAX), (257, 4, 1, u32::MAX)]), TooLarge),
        bomb("TIFF whose directories go in a circle", circle, Any),
        bomb("TIFF with a directory of 65,535 entries", everywhere, Any),
        bomb("TIFF whose directory is elsewhere", nowhere, Refused),
        bomb("TIFF with a strip of 4 GB", with(&[(279, 4, 1, u32::MAX)]), Any),
        bomb("TIFF with 4 billion strips", with(&[(273, 4, u32::MAX, 8), (279, 4, u32::MAX, 8)]), Refused),
        bomb("TIFF with no rows in a strip", with(&[(278, 4, 1, 0)]), Any),
        bomb("TIFF with 65,535 samples in a pixel", with(&[(277, 3, 1, 65_535)]), Refused),
        bomb(
            "TIFF with a tile of 2^31 pixels squared",
            with(&[(322, 4, 1, 1 << 31), (323, 4, 1, 1 << 31), (324, 4, 1, 8), (325, 4, 1, 9)]),
            Any,
        ),
        bomb("TIFF with 1 GB in a strip of 4 KB", deflated, Any),
    ]
}

/// A BMP with the usual second header.
fn bmp_of(width: i32, height: i32, depth: u16, compression: u32, pixels: &[u8]) -> Vec<u8> {
    let header = bitmap_header(width, height, depth, compression);
    [b"BM\0\0\0\0\0\0\0\0\x36\0\0\0".as_slice(), &header, pixels].concat()
}

fn bitmap_header(width: i32, height: i32, depth: u16, compression: u32) -> Vec<u8> {
    let sides = [40, width.cast_unsigned(), height.cast_unsigned()].map(u32::to_le_bytes).concat();
    [&sides[..], &1_u16.to_le_bytes(), &depth.to_le_bytes(), &compression.to_le_bytes(), &[0; 20]].concat()
}

/// An icon whose directory has this many entries, all for the same payload.
fn ico_of(entries: u16, length: u32, payload: &[u8]) -> Vec<u8> {
    let place = 6 + u32::from(entries) * 16;
    let entry = [b"\0\0\0\0\x01\0\x20\0".as_slice(), &length.to_le_bytes(), &place.to_le_bytes()].concat();
    [b"\0\0\x01\0".as_slice(), &entries.to_le_bytes(), &entry.repeat(entries.into()), payload].concat()
}

fn bmp_and_ico_bombs() -> Vec<Bomb> {
    let ico = |entries: u16, payload: &[u8]| ico_of(entries, payload.len() as u32, payload);
    let huge = png_of(30_000, 30_000, 8, 6, &[]);
    let bitmap = [bitmap_header(i32::MAX, i32::MAX, 32, 0), vec![0; 99]].concat();
    vec![
        bomb("BMP of 2^31 - 1 pixels squared", bmp_of(i32::MAX, i32::MAX, 24, 0, &[]), TooLarge),
        bomb("BMP of -2^31 pixels squared", bmp_of(i32::MIN, i32::MIN, 24, 0, &[]), TooLarge),
        bomb("BMP of 7,000 pixels squared without any", bmp_of(100, 16_000, 24, 0, &[]), Any),
        bomb("BMP of runs that go on for ever", bmp_of(100, 100, 8, 1, &[255; 10_000]), Any),
        bomb("BMP that jumps far", bmp_of(100, 100, 8, 1, &[0, 2, 255, 255].repeat(10_000)), Any),
        bomb("ICO with a PNG of 30,000 pixels squared", ico(1, &huge), TooLarge),
        bomb("ICO with a BMP of 2^31 - 1 pixels", ico(1, &bitmap), TooLarge),
        bomb("ICO with 65,535 entries", ico(65_535, &png(&marked(), |_| {})), Rendered),
        bomb("ICO whose icon is elsewhere", ico_of(9, u32::MAX, &[0; 99]), Refused),
        bomb("ICO with an icon in an icon", ico(1, &ico(1, &huge)), Any),
    ]
}

fn svg_bombs() -> Vec<Bomb> {
    let svg = |root: &str, inside: &str| {
        format!(r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {root}>{inside}</svg>"#).into_bytes()
    };
    let small = |inside: &str| svg(r#"width="100" height="100""#, inside);
    let entity = |name: char, text: &str| format!("<!ENTITY {name} '{text}'>");
    let laughs: String =
        ('b'..='j').map(|name| entity(name, &format!("&{};", (name as u8 - 1) as char).repeat(10))).collect();
    let laughs = format!("<!DOCTYPE svg [{}{laughs}]><svg width='9' height='9'>&j;</svg>", entity('a', "ha"));
    let external = "<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg width='9' height='9'>&x;</svg>";
    let uses: String =
        (0..30).map(|n| format!(r##"<g id="u{n}"><use href="#u{m}"/><use href="#u{m}"/></g>"##, m = n + 1)).collect();
    let bomb_inside = data_encoding::BASE64.encode(&png_of(30_000, 30_000, 8, 6, &[]));
    let blur = r##"<filter id="f" x="-1e9" y="-1e9" width="2e9" height="2e9"><feGaussianBlur stdDeviation="1e9"/></filter><rect width="99" height="99" filter="url(#f)"/>"##;
    let dashes = r#"<path d="M0 0 H 10000000" stroke="red" stroke-dasharray="0.0001"/>"#;
    let pattern = r##"<pattern id="p" width="1e-9" height="1e-9" patternUnits="userSpaceOnUse"><rect width="1" height="1"/></pattern><rect fill="url(#p)" width="1e9" height="1e9"/>"##;
    let path = format!(r#"<path d="M0 0 {}"/>"#, "L 99 99 L 0 99 ".repeat(100_000));
    vec![
        bomb("SVG that laughs a billion times", laughs.into_bytes(), Refused),
        bomb("SVG with a file as an entity", external.into(), Refused),
        bomb("SVG that uses itself 2^30 times", small(&uses), TooLarge),
        bomb("SVG of 100,000 groups in groups", small(&("<g>".repeat(100_000) + &"</g>".repeat(100_000))), Any),
        bomb("SVG of a million elements", small(&"<g/>".repeat(1_000_000)), Any),
        bomb("SVG of a billion pixels squared", svg(r#"width="999999999" height="999999999""#, ""), TooLarge),
        bomb("SVG of less than nothing", svg(r#"width="-5" height="1e-300" viewBox="0 0 0 0""#, ""), Any),
        bomb("SVG with a blur of a billion", small(blur), Any),
        bomb(
            "SVG with a file as a picture",
            small(r#"<image href="file:///etc/passwd" width="9" height="9"/>"#),
            Rendered,
        ),
        bomb(
            "SVG with a host as a picture",
            small(r#"<image href="http://127.0.0.1:1/" width="9" height="9"/>"#),
            Rendered,
        ),
        bomb(
            "SVG with a bomb inside",
            small(&format!(r#"<image href="data:image/png;base64,{bomb_inside}" width="9" height="9"/>"#)),
            Rendered,
        ),
        bomb("SVG with a style from elsewhere", small("<style>@import url(file:///etc/passwd);</style>"), Rendered),
        bomb("SVG with 100 billion dashes", small(dashes), Any),
        bomb("SVG with a pattern of nearly nothing", small(pattern), Any),
        bomb("SVG with a path of 200,000 lines", small(&path), Any),
        bomb("SVG whose style sheet names 20,000 elements, each of 100,000 times", named_by_its_style(), TooLarge),
        bomb("SVG of 17 MiB", small(&" ".repeat(17 << 20)), TooLarge),
        bomb("SVG with a script", small("<script>while(true){}</script>"), Rendered),
    ]
}

fn named_by_its_style() -> Vec<u8> {
    let ids: String = (0..20_000).map(|number| format!("<g id='i{number}'/>")).collect();
    let named: String = (0..20_000).map(|number| format!("#i{number} ")).collect();
    let style = format!("<style>{}</style>", named.repeat(5));
    format!("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>{style}{ids}{}</svg>", "<g/>".repeat(150_000))
        .into()
}

fn avif_bombs() -> Vec<Bomb> {
    let boxed =
        |name: &[u8; 4], payload: &[u8]| [&(payload.len() as u32 + 8).to_be_bytes()[..], name, payload].concat();
    let brand = boxed(b"ftyp", b"avif\0\0\0\0avifmif1");
    let size = boxed(b"ispe", &[[0; 4], [0x7f, 0xff, 0xff, 0xff], [0x7f, 0xff, 0xff, 0xff]].concat());
    let owners = boxed(b"ipma", b"\0\0\0\0\0\0\0\x01\0\x01\x01\x01");
    let properties = boxed(b"iprp", &[boxed(b"ipco", &size), owners].concat());
    let meta = boxed(b"meta", &[vec![0; 4], boxed(b"pitm", b"\0\0\0\0\0\x01"), properties].concat());
    vec![
        bomb("AVIF of 2^31 - 1 pixels squared", [brand.clone(), meta].concat(), TooLarge),
        bomb("AVIF of empty boxes", [brand.clone(), b"\0\0\0\x08free".repeat(1 << 17)].concat(), Refused),
        bomb(
            "AVIF of boxes of no length",
            [brand.clone(), b"\0\0\0\x01free\0\0\0\0\0\0\0\0".repeat(1 << 10)].concat(),
            Refused,
        ),
        bomb(
            "AVIF with a box of 2^64 bytes",
            [brand, b"\0\0\0\x01meta\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()].concat(),
            Refused,
        ),
    ]
}
