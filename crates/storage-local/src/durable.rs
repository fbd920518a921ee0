//! Which folders are known to survive a power cut, and making those that are not.
//!
//! A new name survives when its folder is synced and every folder above it has its own name synced in turn. A folder that a
//! neighbour made a moment ago looks like any other, so whatever is not in the table is synced once.

use crate::errno::{Fault, Outcome};
use crate::path;
use crate::pool::lock;
use crate::root::Root;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Mutex;

/// Folders remembered at most; then it begins anew, which costs one sync for each folder that is used again.
const KNOWN_MAX: usize = 1 << 16;

/// The table. Whoever removes a folder says so before and after ([`Durable::removing`]).
#[derive(Debug, Default)]
pub(crate) struct Durable {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    folders: HashSet<String>,
    /// Rises when a removal begins and when it ends: a sync proves nothing about a folder that was made after one that began later.
    removals: u64,
    /// Removals under way.
    removing: usize,
}

/// A removal under way: until it is dropped, nothing is learnt.
pub(crate) struct Removal<'a>(&'a Durable);

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        let mut known = lock(&self.0.known);
        known.removals += 1;
        known.removing -= 1;
    }
}

impl Durable {
    /// The folders to sync before a new name in `folder` survives: itself, and the folder of each that is not known.
    fn chain(&self, folder: &str) -> Vec<String> {
        let known = lock(&self.known);
        let mut chain = vec![folder.to_owned()];
        let mut at = folder;
        while !at.is_empty() && !known.folders.contains(at) {
            at = path::parent(at);
            chain.push(at.to_owned());
        }
        chain
    }

    fn removals(&self) -> u64 {
        lock(&self.known).removals
    }

    fn learn(&self, folders: impl IntoIterator<Item = String>, removals: u64) {
        let mut known = lock(&self.known);
        if known.removing > 0 || known.removals != removals {
            return;
        }
        if known.folders.len() >= KNOWN_MAX {
            known.folders.clear();
        }
        known.folders.extend(folders);
    }

    /// To be called before `folder`, and perhaps what lies below it, is removed, and held until that is over: who syncs the folder that
    /// is about to go would else have the one that is made in its place called durable.
    #[must_use]
    pub(crate) fn removing(&self, folder: &str) -> Removal<'_> {
        let mut known = lock(&self.known);
        known.removals += 1;
        known.removing += 1;
        known.folders.retain(|other| other != folder && path::parent(other) != folder);
        Removal(self)
    }

    /// Makes names in each of `folders` durable, each folder synced once however many names it got. `open` holds handles that
    /// are at hand. Answers what each folder came to.
    pub(crate) fn sync(
        &self,
        root: &Root,
        folders: impl IntoIterator<Item = String>,
        open: &HashMap<String, OwnedFd>,
    ) -> HashMap<String, Outcome<()>> {
        let removals = self.removals();
        let chains: Vec<(String, Vec<String>)> =
            folders.into_iter().map(|folder| (folder.clone(), self.chain(&folder))).collect();
        let distinct: BTreeSet<&String> = chains.iter().flat_map(|(_, chain)| chain).collect();
        let mut failed: HashMap<&String, Fault> = HashMap::new();
        for &folder in distinct.iter().rev() {
            if let Err(fault) = sync_folder(root, folder, open.get(folder)) {
                failed.insert(folder, fault);
            }
        }
        // What was made in a directory that was moved away meanwhile survives there, where nobody will look for it.
        let is_there = root.is_there();
        let outcome = |chain: &[String]| match chain.iter().find_map(|folder| failed.get(folder)) {
            Some(fault) => Err(fault.again().unsettled()),
            None if !is_there => Err(crate::list::gone().unsettled()),
            None => Ok(()),
        };
        let outcomes: HashMap<_, _> = chains.iter().map(|(folder, chain)| (folder.clone(), outcome(chain))).collect();
        let good = chains.iter().filter(|(folder, _)| matches!(outcomes.get(folder), Some(Ok(()))));
        // The last of a chain is the one that was known already, or the root.
        self.learn(good.flat_map(|(_, chain)| chain[..chain.len() - 1].iter().cloned()), removals);
        outcomes
    }

    /// Makes names in one folder durable.
    pub(crate) fn sync_one(&self, root: &Root, folder: &str, open: Option<OwnedFd>) -> Outcome<()> {
        let open = open.map(|fd| (folder.to_owned(), fd)).into_iter().collect();
        self.sync(root, [folder.to_owned()], &open).remove(folder).unwrap_or(Ok(()))
    }
}

fn sync_folder(root: &Root, folder: &str, open: Option<&OwnedFd>) -> Outcome<()> {
    match open {
        Some(fd) => rustix::fs::fsync(fd)?,
        None => rustix::fs::fsync(root.dir(folder)?)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_synced_with_all_above_it_once() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::open(place.path(), true).unwrap();
        root.dir_or_make("a/b/c").unwrap();
        let durable = Durable::default();
        assert_eq!(durable.chain("a/b/c"), ["a/b/c", "a/b", "a", ""]);
        durable.sync_one(&root, "a/b/c", None).unwrap();
        assert_eq!(durable.chain("a/b/c"), ["a/b/c"]);
        assert_eq!(durable.chain("a/b/d"), ["a/b/d", "a/b"]);
        drop(durable.removing("a/b"));
        assert_eq!(durable.chain("a/b/c"), ["a/b/c", "a/b", "a"]);
    }

    #[test]
    fn a_sync_from_before_a_removal_proves_nothing() {
        let durable = Durable::default();
        let before = durable.removals();
        drop(durable.removing("a"));
        durable.learn(["a".to_owned()], before);
        assert_eq!(durable.chain("a"), ["a", ""]);
    }

    #[test]
    fn a_sync_during_a_removal_proves_nothing() {
        let durable = Durable::default();
        let removal = durable.removing("a");
        let during = durable.removals();
        durable.learn(["a".to_owned()], during);
        assert_eq!(durable.chain("a"), ["a", ""]);
        drop(removal);
        durable.learn(["a".to_owned()], during);
        assert_eq!(durable.chain("a"), ["a", ""]);
        durable.learn(["a".to_owned()], durable.removals());
        assert_eq!(durable.chain("a"), ["a"]);
    }

    #[test]
    fn a_name_in_a_root_that_was_moved_away_leaves_the_outcome_unknown() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("root");
        let root = Root::open(&path, true).unwrap();
        root.dir_or_make("a").unwrap();
        std::fs::rename(&path, place.path().join("elsewhere")).unwrap();
        let fault = Durable::default().sync_one(&root, "a", None).unwrap_err();
        assert_eq!(fault.kind, larder_storage_core::ErrorKind::Indeterminate);
    }

    #[test]
    fn a_folder_that_is_gone_leaves_the_outcome_unknown() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::open(place.path(), true).unwrap();
        let fault = Durable::default().sync_one(&root, "gone", None).unwrap_err();
        assert_eq!(fault.kind, larder_storage_core::ErrorKind::Indeterminate);
    }
}
