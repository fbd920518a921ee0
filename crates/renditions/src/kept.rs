//! [`Kept`]: what is kept in the cache, in the order in which it was asked for last.

use crate::wanted::Key;
use std::collections::{BTreeMap, HashMap};

/// What this node knows to be kept. Others may keep more on the same store: each goes by what it saw itself.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    entries: HashMap<Key, Entry>,
    /// From the one that was asked for longest ago.
    by_use: BTreeMap<u64, Key>,
    bytes: u64,
    uses: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    size: u64,
    used: u64,
}

impl Kept {
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// The bytes that one takes.
    pub(crate) fn size(&self, key: &Key) -> Option<u64> {
        self.entries.get(key).map(|entry| entry.size)
    }

    /// How many there are, and their bytes.
    pub(crate) fn totals(&self) -> (usize, u64) {
        (self.entries.len(), self.bytes)
    }

    /// Notes that one is there and was asked for just now.
    pub(crate) fn used(&mut self, key: Key, size: u64) {
        self.forget(&key);
        self.uses += 1;
        self.by_use.insert(self.uses, key);
        self.entries.insert(key, Entry { size, used: self.uses });
        self.bytes += size;
    }

    /// Notes one that was found, unless it is known.
    pub(crate) fn found(&mut self, key: Key, size: u64) {
        if !self.contains(&key) {
            self.used(key, size);
        }
    }

    /// Notes that one is there no more.
    pub(crate) fn forget(&mut self, key: &Key) {
        if let Some(Entry { size, used }) = self.entries.remove(key) {
            self.by_use.remove(&used);
            self.bytes -= size;
        }
    }

    /// Takes out those that were asked for longest ago, until what stays has at most `max` bytes.
    pub(crate) fn over(&mut self, max: u64) -> Vec<Key> {
        let mut over = vec![];
        while self.bytes > max
            && let Some((_, key)) = self.by_use.first_key_value()
        {
            over.push(*key);
            self.forget(&key.clone());
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_files::FileId;

    fn key(number: u8) -> Key {
        Key { file: FileId::parse("0193a2b4-0000-7000-8000-000000000001").expect("an id"), hash: [number; 16] }
    }

    #[test]
    fn the_one_that_was_asked_for_longest_ago_goes_first() {
        let mut kept = Kept::default();
        (1..=4).for_each(|number| kept.used(key(number), 100));
        kept.used(key(1), 100);
        kept.found(key(2), 100);
        assert_eq!(kept.over(400), []);
        assert_eq!(kept.over(250), [key(2), key(3)], "the first was asked for again, the second only found");
        assert_eq!(kept.totals(), (2, 200));
        kept.used(key(4), 50);
        assert_eq!(kept.totals(), (2, 150), "it is counted once, with its new size");
        kept.forget(&key(9));
        assert_eq!(kept.over(0), [key(1), key(4)]);
        assert!(kept.entries.is_empty() && kept.by_use.is_empty());
    }
}
