//! Cursors of lists: a place as opaque text. It gives no right to anything: a made-up one only begins a list elsewhere.

use data_encoding::BASE64URL_NOPAD;
use larder_files::{FileId, Position};
use uuid::Uuid;

/// Which place it is comes first, then the file's id, then what the list is sorted by.
pub(crate) fn text(place: &Position) -> String {
    let (kind, id, value) = match place {
        Position::Created(id) => (b'c', id, vec![]),
        Position::Name(name, id) => (b'n', id, name.clone().into_bytes()),
        Position::Size(size, id) => (b's', id, size.to_be_bytes().to_vec()),
    };
    BASE64URL_NOPAD.encode(&[&[kind][..], id.0.as_bytes(), &value].concat())
}

/// `None` of a text that is none of ours.
pub(crate) fn place(text: &str) -> Option<Position> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    let (kind, rest) = bytes.split_first()?;
    let (id, value) = rest.split_at_checked(16)?;
    let id = FileId(Uuid::from_slice(id).ok()?);
    match kind {
        b'c' if value.is_empty() => Some(Position::Created(id)),
        b'n' => Some(Position::Name(String::from_utf8(value.to_vec()).ok()?, id)),
        b's' => Some(Position::Size(u64::from_be_bytes(value.try_into().ok()?), id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_made() {
        let id = FileId(Uuid::from_u128(7));
        let places = [Position::Created(id), Position::Name("a/\u{10ffff}".into(), id), Position::Size(u64::MAX, id)];
        for at in places {
            assert_eq!(place(&text(&at)), Some(at));
        }
    }

    #[test]
    fn nothing_else_is_a_cursor() {
        let id = [7; 16];
        let made = [
            &b""[..],
            b"c",
            &[&b"c"[..], &id, b"x"].concat(),
            &[&b"s"[..], &id].concat(),
            &[&b"n"[..], &id, &[0xff]].concat(),
        ];
        for bytes in made {
            assert_eq!(place(&BASE64URL_NOPAD.encode(bytes)), None, "{bytes:?}");
        }
        assert_eq!(place("?"), None);
    }
}
