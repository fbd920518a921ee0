//! Listing: pages of keys, each of which says where to go on.
//!
//! A token is the last key that was given, which the server is told to start after: so it works in whatever order a server lists, and
//! though the object is gone. What lies in the bucket under names that are no keys is not ours, and left out.

use crate::{
    S3Store,
    fault::{Fault, Outcome},
    look::{meta, time, validator},
    probe, profile,
    store::Inner,
};
use aws_sdk_s3::types::{EncodingType, Object as Entry};
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use larder_storage_core::{ErrorKind, Key, ListOptions, ListToken, Listed, ObjectMeta, Op, Result};
use std::sync::Arc;

const HIDDEN: &str = ".larder/";

/// Where the next page begins.
#[derive(Clone, Default)]
struct From {
    /// Of the first page: the name behind which it begins.
    after: Option<String>,
    /// Of the later ones: as the server calls the place.
    token: Option<String>,
    /// The last name that was given.
    last: Option<String>,
}

/// A name as the server lists it, with what it tells besides.
struct Row {
    name: String,
    entry: Entry,
}

impl Inner {
    pub(crate) fn list(self: Arc<Self>, options: ListOptions) -> BoxStream<'static, Result<Listed>> {
        let prefix = options.prefix.as_str().to_owned();
        let shows_hidden = prefix.starts_with(HIDDEN);
        let after = options.after.map(|token| format!("{}{}", self.folder, token.as_str()));
        let start = From { last: after.clone(), after, token: None };
        let (subject, store) = (options.prefix, S3Store { inner: self.clone() });
        let name = format!("{}{prefix}", self.folder);
        let pages = stream::try_unfold(Some(start), move |from| {
            let (inner, name) = (self.clone(), name.clone());
            async move {
                let Some(from) = from else { return Ok::<_, Fault>(None) };
                let (rows, next) = inner.page(&name, from).await?;
                let items = inner.clone().items(rows, shows_hidden);
                Ok(Some((items, next)))
            }
        });
        pages.try_flatten().map_err(move |fault| fault.at(Op::List, &subject, &store)).boxed()
    }

    /// A page of names, and where the next begins.
    async fn page(&self, prefix: &str, from: From) -> Outcome<(Vec<Row>, Option<From>)> {
        let ask = || async {
            let request = self
                .client()
                .list_objects_v2()
                .bucket(self.bucket())
                .prefix(prefix)
                .encoding_type(EncodingType::Url)
                .max_keys(self.options.page.into())
                .set_start_after(from.after.clone())
                .set_continuation_token(from.token.clone());
            request.send().await.map_err(|error| self.fault(error))
        };
        let page = self.read(ask).await?;
        let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
        let mut rows = Vec::new();
        for entry in page.contents.unwrap_or_default() {
            let name = decoded(entry.key().unwrap_or_default(), is_encoded)?;
            // What a server repeats at the seam of two pages comes once.
            if from.last.as_ref() != Some(&name) && name.starts_with(prefix) {
                rows.push(Row { name, entry });
            }
        }
        if page.is_truncated != Some(true) {
            return Ok((rows, None));
        }
        let token = page.next_continuation_token.filter(|token| Some(token) != from.token.as_ref());
        let token = token.ok_or_else(|| endless("a page that is not the last names no other next"))?;
        let last = rows.last().map(|row| row.name.clone()).or(from.last);
        Ok((rows, Some(From { after: None, token: Some(token), last })))
    }

    fn items(self: Arc<Self>, rows: Vec<Row>, shows_hidden: bool) -> BoxStream<'static, Outcome<Listed>> {
        stream::iter(rows)
            .filter_map(move |row| {
                let inner = self.clone();
                async move { inner.item(&row, shows_hidden).await.transpose() }
            })
            .boxed()
    }

    /// The object of a row, unless it is none of ours, hidden, or gone by now.
    async fn item(&self, row: &Row, shows_hidden: bool) -> Outcome<Option<Listed>> {
        let Some(text) = row.name.strip_prefix(&self.folder) else { return Ok(None) };
        if text.starts_with(HIDDEN) && (!shows_hidden || is_own(text)) {
            return Ok(None);
        }
        let Ok(key) = Key::new(text) else {
            tracing::debug!(store = %self.display, name = %row.name, "a name that is no key is left out");
            return Ok(None);
        };
        let resume = ListToken::new(key.as_str());
        let object = self.described(key, &row.entry).await?;
        Ok(object.map(|object| Listed { object, resume }))
    }

    /// What the row tells; a server that tells no validator is asked for each object.
    async fn described(&self, key: Key, entry: &Entry) -> Outcome<Option<ObjectMeta>> {
        if validator(entry.e_tag()).is_some() && entry.last_modified().map(time).is_some() {
            return meta(&key, entry.size(), entry.e_tag(), entry.last_modified()).map(Some);
        }
        Ok(self.look_for(&key).await?.map(|seen| seen.meta))
    }
}

/// Whether this is what the driver keeps for itself: no object of the store, as a directory's locks are none.
fn is_own(text: &str) -> bool {
    text == profile::KEY || text.starts_with(probe::FOLDER)
}

fn endless(words: &'static str) -> Fault {
    Fault { temporary: false, ..Fault::says(ErrorKind::Unavailable, words) }
}

/// The name itself: of `encoding-type=url`, in which a space is a plus.
fn decoded(name: &str, is_encoded: bool) -> Outcome<String> {
    if !is_encoded {
        return Ok(name.to_owned());
    }
    let spaced = name.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|error| Fault::says(ErrorKind::Corrupt, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_as_servers_encode_them() {
        for (told, name) in [("a+b", "a b"), ("a%20b", "a b"), ("a%2Bb", "a+b"), ("100%25", "100%"), ("%C3%A9", "é")] {
            assert_eq!(decoded(told, true).unwrap(), name);
            assert_eq!(decoded(told, false).unwrap(), told);
        }
        assert!(decoded("%FF", true).is_err());
    }
}
