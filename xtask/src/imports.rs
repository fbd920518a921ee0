//! Who may import whom: the table, and its comparison with `cargo metadata`.
//!
//! A crate of ours may name exactly the siblings in its row. What it must never reach, not even through others,
//! stands there too. Development dependencies have a column of their own: a test may hold what the library may not.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::root;

/// One crate of ours and what it may know.
struct Row {
    package: &'static str,
    /// The siblings it may import.
    ours: &'static [&'static str],
    /// The siblings that its tests may import besides.
    tests: &'static [&'static str],
    /// Packages that it must never reach over any chain of normal dependencies; a `*` at the end stands for any rest.
    never: &'static [&'static [&'static str]],
}

const HTTP: &[&str] = &["actix-*", "hyper", "axum", "tower-http"];
const SQL: &[&str] = &["sqlx*", "sea-orm*", "sea-query*", "libsqlite3-sys", "rusqlite"];

/// The table of ARCHITECTURE.md, as data. A new crate needs a row, and a new arrow a reason.
const TABLE: &[Row] = &[
    Row { package: "larder-storage-core", ours: &[], tests: &[], never: &[HTTP, SQL] },
    Row { package: "larder-storage-local", ours: &["larder-storage-core"], tests: &[], never: &[HTTP, SQL] },
    // It speaks HTTP as a client, by the SDK's own; nothing here serves.
    Row {
        package: "larder-storage-s3",
        ours: &["larder-storage-core"],
        // What becomes of files where a server misbehaves is seen over the driver, whose tests have such a server.
        tests: &["larder-files"],
        never: &[&["actix-*", "axum"], SQL],
    },
    Row { package: "larder-files", ours: &["larder-storage-core"], tests: &[], never: &[HTTP, SQL] },
    Row { package: "larder-ledger", ours: &["larder-files"], tests: &["larder-storage-core"], never: &[HTTP] },
    Row {
        package: "larder-renditions",
        ours: &["larder-files", "larder-media"],
        tests: &["larder-storage-core"],
        never: &[HTTP, SQL],
    },
    Row {
        package: "larder-api",
        ours: &["larder-fetch", "larder-files", "larder-media", "larder-renditions"],
        tests: &["larder-ledger", "larder-storage-core", "larder-storage-local"],
        never: &[SQL],
    },
    Row {
        package: "larder-cli",
        ours: &[
            "larder-api",
            "larder-fetch",
            "larder-files",
            "larder-ledger",
            "larder-media",
            "larder-renditions",
            "larder-storage-core",
            "larder-storage-local",
            "larder-storage-s3",
        ],
        tests: &[],
        never: &[],
    },
    // It speaks HTTP as a client; nothing here serves.
    Row { package: "larder-fetch", ours: &[], tests: &[], never: &[&["actix-*", "axum", "tower-http"], SQL] },
    Row { package: "larder-media", ours: &[], tests: &[], never: &[HTTP, SQL, &["tokio", "async-*"]] },
    Row { package: "xtask", ours: &[], tests: &[], never: &[HTTP, SQL, &["tokio", "clap"]] },
];

/// What each package depends on, by name.
#[derive(Default)]
struct Graph {
    members: BTreeSet<String>,
    normal: BTreeMap<String, BTreeSet<String>>,
    development: BTreeMap<String, BTreeSet<String>>,
}

/// Compares the workspace with the table.
pub(crate) fn run(_: &[String]) -> Result<()> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .features(cargo_metadata::CargoOpt::AllFeatures)
        .exec()
        .context("cannot read `cargo metadata`")?;
    let wrong = violations(&graph(&metadata)?, TABLE);
    if wrong.is_empty() {
        eprintln!("{} crates import only what they may", TABLE.len());
        return Ok(());
    }
    bail!("{} arrows are not in the table of xtask/src/imports.rs:\n  {}", wrong.len(), wrong.join("\n  "))
}

fn graph(metadata: &Metadata) -> Result<Graph> {
    let resolved = metadata.resolve.as_ref().context("`cargo metadata` resolved nothing")?;
    let name = |id| metadata[id].name.to_string();
    let mut graph = Graph { members: metadata.workspace_members.iter().map(name).collect(), ..Graph::default() };
    for node in &resolved.nodes {
        for dependency in &node.deps {
            for kind in &dependency.dep_kinds {
                let edges = match kind.kind {
                    DependencyKind::Development => &mut graph.development,
                    // A build script's dependency decides what is built: it counts as the library's own.
                    _ => &mut graph.normal,
                };
                edges.entry(name(&node.id)).or_default().insert(name(&dependency.pkg));
            }
        }
    }
    Ok(graph)
}

/// Returns each broken rule as a sentence.
fn violations(graph: &Graph, table: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    for member in &graph.members {
        match table.iter().find(|row| row.package == member) {
            Some(row) => check(graph, row, &mut wrong),
            None => wrong.push(format!("`{member}` has no row")),
        }
    }
    for row in table.iter().filter(|row| !graph.members.contains(row.package)) {
        wrong.push(format!("`{}` has a row but is not in the workspace", row.package));
    }
    wrong
}

fn check(graph: &Graph, row: &Row, wrong: &mut Vec<String>) {
    let siblings = |edges: &BTreeMap<String, BTreeSet<String>>| -> BTreeSet<String> {
        let mut direct = edges.get(row.package).cloned().unwrap_or_default();
        // A package may name itself for its own tests, with other features.
        direct.retain(|name| graph.members.contains(name) && name != row.package);
        direct
    };
    for sibling in siblings(&graph.normal) {
        if !row.ours.contains(&sibling.as_str()) {
            wrong.push(format!("`{}` must not import `{sibling}`", row.package));
        }
    }
    for sibling in siblings(&graph.development) {
        if !row.ours.contains(&sibling.as_str()) && !row.tests.contains(&sibling.as_str()) {
            wrong.push(format!("the tests of `{}` must not import `{sibling}`", row.package));
        }
    }
    for (reached, chain) in reachable(graph, row.package) {
        if row.never.iter().copied().flatten().any(|pattern| matches(pattern, &reached)) {
            wrong.push(format!("`{}` must never reach `{reached}`, but does: {}", row.package, chain.join(" → ")));
        }
    }
}

/// Returns every package that `from` builds with, each with one chain that leads there.
fn reachable(graph: &Graph, from: &str) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![vec![from.to_owned()]];
    while let Some(chain) = waiting.pop() {
        let last = chain.last().expect("a chain begins with its origin");
        for next in graph.normal.get(last).into_iter().flatten() {
            if !found.contains_key(next) {
                let longer: Vec<String> = chain.iter().chain([next]).cloned().collect();
                found.insert(next.clone(), longer.clone());
                waiting.push(longer);
            }
        }
    }
    found
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &[Row] = &[
        Row { package: "core", ours: &[], tests: &[], never: &[&["sqlx*"]] },
        Row { package: "disk", ours: &["core"], tests: &["fake"], never: &[] },
        Row { package: "fake", ours: &[], tests: &[], never: &[] },
    ];

    fn edges(list: &[(&str, &str)]) -> BTreeMap<String, BTreeSet<String>> {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in list {
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        edges
    }

    fn found(members: &[&str], normal: &[(&str, &str)], development: &[(&str, &str)]) -> Vec<String> {
        let members = members.iter().map(|name| (*name).to_owned()).collect();
        violations(&Graph { members, normal: edges(normal), development: edges(development) }, SMALL)
    }

    #[test]
    fn arrows_of_the_table_are_accepted() {
        let normal = [("disk", "core"), ("core", "bytes")];
        assert_eq!(found(&["core", "disk", "fake"], &normal, &[("disk", "fake"), ("core", "core")]), [""; 0]);
    }

    #[test]
    fn an_arrow_outside_the_table_is_caught() {
        assert_eq!(found(&["core", "disk", "fake"], &[("core", "disk")], &[]), ["`core` must not import `disk`"]);
    }

    #[test]
    fn what_tests_may_import_the_library_may_not() {
        assert_eq!(found(&["core", "disk", "fake"], &[("disk", "fake")], &[]), ["`disk` must not import `fake`"]);
        assert_eq!(
            found(&["core", "disk", "fake"], &[], &[("core", "fake")]),
            ["the tests of `core` must not import `fake`"]
        );
    }

    #[test]
    fn a_forbidden_package_is_caught_behind_others() {
        let normal = [("core", "pool"), ("pool", "sqlx-core")];
        assert_eq!(
            found(&["core", "disk", "fake"], &normal, &[]),
            ["`core` must never reach `sqlx-core`, but does: core → pool → sqlx-core"]
        );
    }

    #[test]
    fn a_forbidden_package_of_the_tests_is_accepted() {
        assert_eq!(found(&["core", "disk", "fake"], &[], &[("core", "sqlx")]), [""; 0]);
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_caught() {
        assert_eq!(
            found(&["core", "disk", "new"], &[], &[]),
            ["`new` has no row", "`fake` has a row but is not in the workspace"]
        );
    }
}
