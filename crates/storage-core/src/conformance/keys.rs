//! Keys are kept as they are: whatever parses as a key works, and no two keys are the same object.

use super::harness::{Harness, Verdict, ensure_absent, fill, key, names, read};
use crate::Key;

/// Puts an object under each key, finds each by all means, and takes them away one by one without hurting the rest.
async fn each_is_kept(harness: &Harness, texts: &[&str]) -> Verdict {
    let store = &*harness.store;
    let mut sorted: Vec<_> = texts.iter().map(ToString::to_string).collect();
    sorted.sort_unstable();
    fill(store, texts).await?;
    ensure_eq!(names(store, "").await?, sorted, "the keys of a listing");
    for text in texts {
        ensure_eq!(read(store, &key(text)).await?, *text, "an object that holds its own key");
    }
    for (at, text) in texts.iter().enumerate() {
        store.delete(&key(text)).await?;
        ensure_absent(store, &key(text)).await?;
        for rest in &texts[at + 1..] {
            ensure_eq!(store.head(&key(rest)).await?.size, rest.len() as u64, "the size of a neighbour");
        }
    }
    Ok(())
}

pub(super) async fn a_segment_of_1024_bytes_is_kept(harness: Harness) -> Verdict {
    let text = "k".repeat(harness.store.limits().key_bytes_max.min(Key::BYTES_MAX));
    each_is_kept(&harness, &[&text, &text[1..], &text[2..]]).await
}

pub(super) async fn a_key_of_512_segments_is_kept(harness: Harness) -> Verdict {
    let segments = harness.store.limits().key_bytes_max.min(Key::BYTES_MAX).div_ceil(2);
    let text = vec!["d"; segments].join("/");
    let sibling = format!("{}e", &text[..text.len() - 1]);
    each_is_kept(&harness, &[&text, &sibling]).await
}

pub(super) async fn upper_and_lower_case_are_different_keys(harness: Harness) -> Verdict {
    each_is_kept(&harness, &["Case/Cat.JPG", "case/Cat.JPG", "case/cat.jpg", "Stra\u{df}e", "STRASSE"]).await
}

pub(super) async fn composed_and_decomposed_letters_are_different_keys(harness: Harness) -> Verdict {
    each_is_kept(&harness, &["caf\u{e9}", "cafe\u{301}", "\u{212b}", "\u{c5}", "A\u{30a}", "\u{fb01}x", "fix"]).await
}

pub(super) async fn spaces_percents_and_pluses_are_kept_as_they_are(harness: Harness) -> Verdict {
    each_is_kept(&harness, &["a b", "a%20b", "a+b", "a%2fb", "a%2Fb", " a", "a ", "%", "100%", "?a=b", "#a", "a&b"])
        .await
}

pub(super) async fn dots_are_letters(harness: Harness) -> Verdict {
    each_is_kept(&harness, &["..a", "a..", "...", ".a", "a.", "c./b", "..b/c", "x/.../y"]).await
}

pub(super) async fn backslashes_are_letters(harness: Harness) -> Verdict {
    each_is_kept(&harness, &["a\\b", "b/c", "b\\c", "\\", "..\\up", "C:\\x"]).await
}

pub(super) async fn names_that_other_systems_reserve_are_kept(harness: Harness) -> Verdict {
    each_is_kept(&harness, &["CON", "nul.txt", "aux", "COM1", "a:b", "a*b", "<a>|\"b\"", "~", "-rf", "$HOME", "a;b"])
        .await
}

pub(super) async fn letters_of_every_script_are_kept(harness: Harness) -> Verdict {
    let scripts = ["отчёт", "報告", "تقرير", "📷/👩\u{200d}🚀", "\u{fffd}", "a\u{200b}", "\u{2028}", "\u{feff}a"];
    each_is_kept(&harness, &scripts).await
}

pub(super) async fn keys_that_begin_alike_are_strangers(harness: Harness) -> Verdict {
    each_is_kept(&harness, &["images/x", "images2/x", "image", "images-/x", "images.d/x"]).await
}

pub(super) async fn keys_of_attributes_and_temporary_look_are_only_keys(harness: Harness) -> Verdict {
    let looks =
        ["a.attr.json", "a", "a.tmp", ".a.tmp", "a~", "a.part", "lost+found", "tmp/a", "staging/a", ".larder2/a"];
    each_is_kept(&harness, &looks).await
}
