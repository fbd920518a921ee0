//! Names as folders: which files and folders are on a page, whatever the files come from.

use super::{FileQuery, Position};
use crate::FileId;
use uuid::Uuid;

/// How many files are asked for behind a folder: the next one may be near.
const NEAR: usize = 16;

/// A page of names as folders while it is filled: what lies behind a folder is asked for next, so nothing in one is read but its first.
#[derive(Debug)]
pub struct FolderPage<T> {
    query: FileQuery,
    limit: usize,
    rows: usize,
    items: Vec<T>,
    folders: Vec<String>,
    has_ended: bool,
}

impl<T> FolderPage<T> {
    /// An empty page of a list, which is one by [`super::Sort::Name`].
    #[must_use]
    pub fn of(query: &FileQuery) -> Self {
        let (query, limit) = (query.clone(), query.limit);
        Self { query, limit, rows: limit, items: vec![], folders: vec![], has_ended: false }
    }

    /// What to ask for next; `None` once the page is full, or nothing is left.
    #[must_use]
    pub fn wanted(&mut self) -> Option<&FileQuery> {
        let room = self.limit - self.items.len() - self.folders.len();
        self.query.limit = self.rows.min(room);
        (room > 0 && !self.has_ended).then_some(&self.query)
    }

    /// Takes in what was found, in order, as far as the first folder; `place` tells a file's name and id.
    pub fn take(&mut self, found: Vec<T>, place: impl Fn(&T) -> (String, FileId)) {
        self.has_ended = found.len() < self.query.limit;
        self.rows = self.rows.saturating_mul(4);
        for file in found {
            let (name, id) = place(&file);
            if let Some(folder) = folder_of(&name, self.query.prefix.as_deref().unwrap_or_default()) {
                self.query.after = Some(behind(folder, self.query.descending));
                self.folders.push(folder.to_owned());
                (self.rows, self.has_ended) = (NEAR, false);
                return;
            }
            self.query.after = Some(Position::Name(name, id));
            self.items.push(file);
        }
    }

    /// The files, the folders, and where the next page begins, if there may be one.
    #[must_use]
    pub fn filled(self) -> (Vec<T>, Vec<String>, Option<Position>) {
        (self.items, self.folders, self.query.after.filter(|_| !self.has_ended))
    }
}

/// The folder that a name lies in, below `prefix`.
fn folder_of<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let slash = name.get(prefix.len()..)?.find('/')?;
    Some(&name[..=prefix.len() + slash])
}

/// Behind all names that begin with `folder`, which ends in `/`: `0` is the next byte. No id is smaller than nil, so it is a place where
/// no file is.
fn behind(folder: &str, descending: bool) -> Position {
    let name = match folder.strip_suffix('/') {
        Some(stem) if !descending => format!("{stem}0"),
        _ => folder.to_owned(),
    };
    Position::Name(name, FileId(Uuid::nil()))
}
