//! The rules about text that no compiler holds.
//!
//! Each rule is a name, the files it is about, and a function from a file to the lines that break it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::root;

struct Rule {
    why: &'static str,
    applies: fn(&str) -> bool,
    /// Returns the numbers of the lines that break the rule, from 1.
    broken: fn(&str) -> Vec<usize>,
}

const RULES: &[Rule] = &[
    Rule {
        why: "an ignored test needs a reason: `#[ignore = \"…\"]`",
        applies: is_rust,
        broken: ignored_without_reason,
    },
    Rule { why: "what is not written yet does not land", applies: is_rust, broken: unfinished },
    Rule { why: "a TODO names its issue: `TODO(#12)`", applies: is_text, broken: todo_without_issue },
    Rule { why: "a left-over of a merge", applies: is_text, broken: merge_markers },
    Rule { why: "a path of one machine", applies: is_text, broken: machine_paths },
    Rule { why: "say what it is: no Manager, Helper, Util", applies: is_rust, broken: empty_names },
    Rule {
        why: "the simulator needs `biased;` first in `select!`",
        applies: is_protocol,
        broken: select_without_biased,
    },
];

/// Never looked into: not ours, or not text.
const SKIPPED: &[&str] = &["target", "larder-data", "node_modules"];
const TEXT: &[&str] = &["rs", "toml", "md", "sh", "yml", "yaml", "json", "proptest-regressions"];

/// Applies every rule to every file of the workspace.
pub(crate) fn run(_: &[String]) -> Result<()> {
    let root = root();
    let mut files = Vec::new();
    walk(&root, &mut files)?;
    let (mut wrong, mut texts) = (Vec::new(), BTreeMap::new());
    for file in &files {
        let name = file.strip_prefix(&root).expect("a walk stays below its root").to_string_lossy().into_owned();
        let text = fs::read_to_string(file).with_context(|| format!("cannot read `{name}` as text"))?;
        wrong.extend(violations(&name, &text));
        texts.insert(name, text);
    }
    wrong.extend(promised_and_absent(&texts));
    if wrong.is_empty() {
        eprintln!("{} files are tidy", files.len());
        return Ok(());
    }
    bail!("{} lines are untidy:\n  {}", wrong.len(), wrong.join("\n  "))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list `{}`", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) && (!name.starts_with('.') || name == ".ci") {
            walk(&entry.path(), files)?;
        }
        if kind.is_file() && is_text(&name) {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Returns `file:line: why` for each broken rule.
fn violations(name: &str, text: &str) -> Vec<String> {
    let broken = |rule: &Rule| -> Vec<String> {
        (rule.broken)(text).into_iter().map(|line| format!("{name}:{line}: {}", rule.why)).collect()
    };
    // This file quotes what it forbids.
    let own = name == "xtask/src/tidy.rs";
    RULES.iter().filter(|rule| !own && (rule.applies)(name)).flat_map(broken).collect()
}

fn is_text(name: &str) -> bool {
    name.ends_with(".ci/run") || name.rsplit_once('.').is_some_and(|(_, ending)| TEXT.contains(&ending))
}

fn is_rust(name: &str) -> bool {
    name.ends_with(".rs")
}

fn is_protocol(name: &str) -> bool {
    is_rust(name) && name.starts_with("crates/files/")
}

fn lines(text: &str, broken: impl Fn(&str) -> bool) -> Vec<usize> {
    text.lines().enumerate().filter(|(_, line)| broken(line.trim())).map(|(index, _)| index + 1).collect()
}

fn ignored_without_reason(text: &str) -> Vec<usize> {
    lines(text, |line| line.starts_with("#[ignore]"))
}

fn unfinished(text: &str) -> Vec<usize> {
    lines(text, |line| {
        !line.starts_with("//") && ["todo!(", "unimplemented!(", "dbg!("].iter().any(|it| line.contains(it))
    })
}

fn todo_without_issue(text: &str) -> Vec<usize> {
    lines(text, |line| {
        ["TODO", "FIXME", "XXX"].iter().any(|word| {
            line.match_indices(word).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + word.len()..].chars().next();
                let alone = ![before, after].into_iter().flatten().any(|c| c.is_alphanumeric() || c == '_');
                alone && !line[at + word.len()..].starts_with("(#")
            })
        })
    })
}

fn merge_markers(text: &str) -> Vec<usize> {
    lines(text, |line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> "))
}

fn machine_paths(text: &str) -> Vec<usize> {
    lines(text, |line| ["/home/", "/Users/"].iter().any(|path| line.contains(path)))
}

fn empty_names(text: &str) -> Vec<usize> {
    let definitions = ["struct ", "enum ", "trait ", "mod ", "type "];
    lines(text, |line| {
        let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
        let Some(rest) = definitions.iter().find_map(|word| line.strip_prefix(word)) else { return false };
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_lowercase();
        ["manager", "helper", "helpers", "util", "utils"].iter().any(|empty| name.ends_with(empty))
    })
}

/// Without `biased;` the macro draws a random branch, and a seed no longer replays its history.
fn select_without_biased(text: &str) -> Vec<usize> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim()).collect();
    let begins = |line: &&str| line.contains("select! {") || line.contains("select!(") || line.ends_with("select!");
    let unbiased = |at: usize| {
        let after = code[at].split_once("select!").map_or("", |(_, rest)| rest).trim_start_matches([' ', '{', '(']);
        let first = std::iter::once(&after).chain(&code[at + 1..]).find(|line| !line.is_empty());
        !first.is_some_and(|line| line.starts_with("biased;"))
    };
    (0..code.len()).filter(|at| begins(&code[*at]) && unbiased(*at)).map(|at| at + 1).collect()
}

/// The page that names, for each promise, the tests that hold it, as `crate::test`.
const PROMISES: &str = "docs/security.md";

/// Returns `file:line: why` for each test that the page names and that its crate has not: a renamed test must not make it lie.
fn promised_and_absent(texts: &BTreeMap<String, String>) -> Vec<String> {
    let Some(page) = texts.get(PROMISES) else { return vec![format!("{PROMISES}:1: the page is gone")] };
    let mut named = 0;
    let mut absent = Vec::new();
    for (index, line) in page.lines().enumerate() {
        for (owner, test) in line.split('`').skip(1).step_by(2).filter_map(named_test) {
            named += 1;
            if !has_test(texts, owner, test) {
                absent.push(format!("{PROMISES}:{}: `{owner}` has no test `{test}`", index + 1));
            }
        }
    }
    if named == 0 {
        absent.push(format!("{PROMISES}:1: no promise has a test"));
    }
    absent
}

/// `crate::test` as its two names.
fn named_test(quoted: &str) -> Option<(&str, &str)> {
    let (owner, test) = quoted.split_once("::")?;
    let plain = |name: &str, more: char| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == more)
    };
    (plain(owner, '-') && plain(test, '_')).then_some((owner, test))
}

fn has_test(texts: &BTreeMap<String, String>, owner: &str, test: &str) -> bool {
    let (folder, begins) = (format!("crates/{owner}/"), format!("fn {test}("));
    texts.iter().filter(|(name, _)| is_rust(name) && name.starts_with(&folder)).any(|(_, text)| {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let is_test =
            |at: usize| lines[..at].iter().rev().take_while(|line| line.starts_with('#')).any(|it| is_mark(it));
        (0..lines.len()).any(|at| lines[at].contains(&begins) && is_test(at))
    })
}

/// Whether an attribute makes a function a test: `#[test]`, `#[tokio::test(…)]`.
fn is_mark(attribute: &str) -> bool {
    let path = attribute.trim_start_matches("#[").split([']', '(']).next().unwrap_or_default();
    path.rsplit("::").next() == Some("test")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(name: &str, text: &str) -> usize {
        violations(name, text).len()
    }

    #[test]
    fn each_rule_bites_and_spares_what_is_right() {
        let table = [
            ("a.rs", "#[ignore]", "#[ignore = \"needs root\"]"),
            ("a.rs", "    todo!()", "// says todo!() in a comment"),
            ("a.rs", "let x = dbg!(y);", "let x = y;"),
            ("a.md", "TODO: later", "TODO(#7): later"),
            ("a.md", "// FIXME", "FIXMES"),
            ("a.toml", "<<<<<<< ours", "a < b"),
            ("a.md", "see /home/x", "see the home"),
            ("a.rs", "pub struct StoreManager {", "use sea_orm_migration::SchemaManager;"),
            ("a.rs", "pub(crate) mod utils;", "mod utility;"),
        ];
        for (name, bad, good) in table {
            assert_eq!(caught(name, bad), 1, "{bad}");
            assert_eq!(caught(name, good), 0, "{good}");
        }
    }

    #[test]
    fn select_needs_biased_in_the_protocol_only() {
        let random = "tokio::select! {\n    _ = a => {}\n}";
        let biased = "tokio::select! {\n    // why\n    biased;\n    _ = a => {}\n}";
        assert_eq!(caught("crates/files/src/a.rs", random), 1);
        assert_eq!(caught("crates/files/src/a.rs", biased), 0);
        assert_eq!(caught("crates/files/src/a.rs", "select! { biased; _ = a => {} }"), 0);
        assert_eq!(caught("crates/api/src/a.rs", random), 0);
    }

    #[test]
    fn a_violation_names_its_file_and_line() {
        let found = violations("a.rs", "fn f() {\n    todo!()\n}");
        assert_eq!(found, ["a.rs:2: what is not written yet does not land"]);
    }

    #[test]
    fn a_test_that_the_page_names_is_there_and_is_a_test() {
        let source = "#[tokio::test]\n#[cfg(unix)]\nasync fn it_holds() {}\n\nfn no_test() {}\n// fn it_is_gone()\n";
        let absent = |page: &str| {
            let texts = [(PROMISES, page), ("crates/storage-local/src/a.rs", source)];
            promised_and_absent(&texts.map(|(name, text)| (name.to_owned(), text.to_owned())).into()).len()
        };
        assert_eq!(absent("held by `storage-local::it_holds`, with `LARDER_X` and `Files::open`"), 0);
        for page in [
            "held by\n`storage-local::it_is_gone`",
            "`storage-local::no_test`",
            "`api::it_holds`",
            "`storage-local::it_hold`",
            "nothing is named",
        ] {
            assert_eq!(absent(page), 1, "{page}");
        }
        assert_eq!(promised_and_absent(&BTreeMap::new()).len(), 1);
    }
}
