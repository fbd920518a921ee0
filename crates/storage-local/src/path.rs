//! How a key becomes a path: as it is, wherever a file system can take it, so that plain tools read what is kept.
//!
//! 1. `%` becomes `%25`; nothing else of an ordinary key changes.
//! 2. A segment of more than 255 bytes becomes nested folders; the name of each but the last ends in `%+`.
//! 3. `.larder/staging` is the store's own: as a key it becomes `.larder/%73taging`.
//!
//! No two keys share a path, and a path that is not exactly what its key becomes is no object.

use larder_storage_core::{Key, Prefix};

/// The longest name of a file or folder, in bytes.
const NAME_MAX: usize = 255;
/// Ends the name of a folder that holds the rest of a long segment.
const GOES_ON: &str = "%+";
/// The store's own folder.
pub(crate) const STAGING: &str = ".larder/staging";

/// The path of `key` below the root: relative, no component empty, `.` or `..`, at most 3,100 bytes.
pub(crate) fn of_key(key: &Key) -> String {
    encode(key.as_str())
}

/// The path of a folder; empty for the root itself.
pub(crate) fn of_prefix(prefix: &Prefix) -> String {
    prefix.as_str().strip_suffix('/').map(encode).unwrap_or_default()
}

/// The key that became `path`, or `None` of a path that no key becomes.
pub(crate) fn to_key(path: &str) -> Option<Key> {
    let mut text = String::with_capacity(path.len());
    let mut inside = true;
    for name in path.split('/') {
        if !inside {
            text.push('/');
        }
        let (name, goes_on) = name.strip_suffix(GOES_ON).map_or((name, false), |name| (name, true));
        decode_into(&mut text, name)?;
        inside = goes_on;
    }
    (!inside && encode(&text) == path).then(|| Key::new(&text).ok()).flatten()
}

/// The folder of `path`; empty where that is the root.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The folder and the name of `path`.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// `name` in `folder`.
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn encode(text: &str) -> String {
    let mut path = String::with_capacity(text.len() + 8);
    let below_larder = text.starts_with(".larder/");
    for (depth, segment) in text.split('/').enumerate() {
        if depth > 0 {
            path.push('/');
        }
        match segment {
            "staging" if depth == 1 && below_larder => path.push_str("%73taging"),
            segment => encode_segment(&mut path, segment),
        }
    }
    path
}

fn encode_segment(path: &mut String, segment: &str) {
    let escaped = segment.replace('%', "%25");
    let mut rest = &escaped[..];
    while rest.len() > NAME_MAX {
        let (name, after) = rest.split_at(cut(rest));
        path.push_str(name);
        path.push_str(GOES_ON);
        path.push('/');
        rest = after;
    }
    // Never `.` or `..`: a cut leaves at least three bytes.
    path.push_str(rest);
}

/// The last place that leaves room for the mark and splits neither a character nor an escape.
fn cut(text: &str) -> usize {
    let splits = |at: usize| !text.is_char_boundary(at) || text[..at].ends_with('%') || text[..at].ends_with("%2");
    let most = NAME_MAX - GOES_ON.len();
    (most - 6..=most).rev().find(|&at| !splits(at)).unwrap_or(most)
}

fn decode_into(text: &mut String, name: &str) -> Option<()> {
    let mut rest = name;
    while let Some((plain, escaped)) = rest.split_once('%') {
        text.push_str(plain);
        text.push(match escaped.get(..2)? {
            "25" => '%',
            "73" => 's',
            _ => return None,
        });
        rest = &escaped[2..];
    }
    text.push_str(rest);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for text in ["documents/ivanov/2026/report.pdf", "Отчёт за март.pdf", ".larder/instance.json", "a b/+&?*\"'\\"]
        {
            assert_eq!(of_key(&key(text)), text);
        }
    }

    #[test]
    fn the_stores_own_folder_is_out_of_reach() {
        assert_eq!(of_key(&key(".larder/staging/x/lock")), ".larder/%73taging/x/lock");
        assert_eq!(of_key(&key("a/.larder/staging")), "a/.larder/staging");
        assert_eq!(to_key(".larder/staging/x/lock"), None);
    }

    #[test]
    fn what_a_cut_leaves_over_is_never_a_dot() {
        for dots in 1..=1024 - 253 {
            let text = format!("{}{}", "a".repeat(253), ".".repeat(dots));
            let path = of_key(&key(&text));
            assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..")), "{path}");
            assert_eq!(to_key(&path).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_path_that_no_key_becomes_is_no_object() {
        for path in ["a%", "a%2", "a%zz", "a%+", "%73taging", "%2E", "a%+/b", "a%25%", "ключ%2", "a%и"] {
            assert_eq!(to_key(path), None, "{path}");
        }
    }

    #[test]
    fn the_longest_keys_fit() {
        let many = vec!["x"; 512].join("/");
        let percent = "%".repeat(1024);
        for text in [many, "y".repeat(1024), "я".repeat(512), "𝄞".repeat(256), percent] {
            let path = of_key(&key(&text));
            assert!(path.len() < 3_200);
            assert_eq!(to_key(&path).unwrap().as_str(), text);
        }
    }

    fn any_key() -> impl Strategy<Value = Key> {
        let piece = prop_oneof![
            Just("%".to_owned()),
            Just("%+".to_owned()),
            Just("%25".to_owned()),
            Just(".".to_owned()),
            Just("/".to_owned()),
            Just("staging".to_owned()),
            Just(".larder/".to_owned()),
            "[a-zА-я𝄞]{1,5}",
            "[a.%]{200,300}",
        ];
        prop::collection::vec(piece, 1..12).prop_filter_map("not a key", |pieces| Key::new(pieces.concat()).ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn every_key_comes_back_from_its_path(key in any_key()) {
            prop_assert_eq!(to_key(&of_key(&key)), Some(key));
        }

        #[test]
        fn every_path_stays_below_the_root_in_names_that_fit(key in any_key()) {
            let path = of_key(&key);
            prop_assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..") && name.len() <= NAME_MAX));
            prop_assert!(path != STAGING && !path.starts_with(".larder/staging/"));
        }

        #[test]
        fn two_paths_are_equal_only_for_one_key(a in any_key(), b in any_key()) {
            prop_assert_eq!(of_key(&a) == of_key(&b), a == b);
        }

        #[test]
        fn any_text_is_decoded_without_a_panic(path in "[a%25E73+./ж]{0,40}") {
            if let Some(key) = to_key(&path) {
                prop_assert_eq!(of_key(&key), path);
            }
        }
    }
}
