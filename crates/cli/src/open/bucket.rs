//! A store that is a bucket: opened without a look where the database knows it, so that one that is away keeps nobody from starting.

use super::{Mounted, inspect::Bucket};
use crate::{
    config::{Config, StoreConfig},
    output::{chain, refuse},
};
use anyhow::Result;
use larder_files::{Mount, StoreMode, StoreName};
use larder_storage_core::{Error, Store};
use larder_storage_s3::{Extent, Misconfigured, S3Options, S3Store};
use std::sync::Arc;

/// Mounts a bucket. One that is new must answer; of one that is known an outage is told of by the start.
///
/// # Errors
/// What the server refuses, and what mends it.
pub(super) async fn mount(
    (name, config): (&StoreName, &StoreConfig),
    options: S3Options,
    is_known: bool,
    mounted: &mut Mounted,
) -> Result<()> {
    // A known one that is missing holds files: another in its place would hold none.
    let options = S3Options { create_bucket: options.create_bucket && !is_known && config.mode.creates(), ..options };
    let store = connect(name, options).await?;
    match store.open().await {
        Err(error) if !(is_known && error.is_temporary()) => {
            return Err(refused(name, &error));
        }
        _ => {}
    }
    mounted.inspectors.insert(name.clone(), Arc::new(Bucket { store: store.clone(), mode: config.mode }));
    let store: Arc<dyn Store> = Arc::new(store);
    mounted.new.extend((!is_known).then(|| store.clone()));
    mounted.stores.push(Mount { name: name.clone(), store, mode: config.mode });
    Ok(())
}

/// The first bucket that an installation of these secrets has marked. One that does not answer tells nothing here.
///
/// # Errors
/// Options that no server could take.
pub(super) async fn marked_by(config: &Config, master: &str) -> Result<Option<String>> {
    for (name, store) in &config.stores {
        let Some(options) = store.s3_options() else { continue };
        let store = connect(name, options).await?;
        if larder_files::is_marked(&store, master).await {
            return Ok(Some(format!("the store `{name}` ({store})")));
        }
    }
    Ok(None)
}

/// The driver of a bucket; asks nothing of the server.
///
/// # Errors
/// Options that no server could take.
pub(crate) async fn connect(name: &StoreName, options: S3Options) -> Result<S3Store> {
    S3Store::connect(options).await.map_err(|error| refused(name, &error))
}

/// What may be done to a store of this mode to find out how it is.
pub(crate) fn extent(mode: StoreMode) -> Extent {
    match mode {
        StoreMode::Edit => Extent::Everything,
        StoreMode::Rw => Extent::Create,
        StoreMode::Ro | StoreMode::Ar => Extent::Read,
    }
}

fn refused(name: &StoreName, error: &Error) -> anyhow::Error {
    let what = format!("the store `{name}` can't be used: {}", chain(error));
    // What is misconfigured says itself what mends it.
    match Misconfigured::of(error) {
        Some(_) => {
            refuse(what, format_args!("that is [stores.{name}]; `larder config show` tells where each key is said"))
        }
        None => refuse(what, format_args!("does the server of [stores.{name}] run, and is it that one?")),
    }
}

/// Refuses stores that lie in each other's folders of one bucket: what is the one's would be foreign to the other.
pub(super) fn check_apart(config: &Config) -> Result<()> {
    let folder = |options: &S3Options| match options.prefix.trim_matches('/') {
        "" => String::new(),
        folder => format!("{folder}/"),
    };
    let places = config.stores.iter().filter_map(|(name, store)| Some((name, store.s3_options()?)));
    let mut before: Vec<(&StoreName, S3Options)> = vec![];
    for (name, options) in places {
        let meets = |other: &S3Options| {
            let (here, there) = (folder(&options), folder(other));
            (&options.endpoint, &options.bucket) == (&other.endpoint, &other.bucket)
                && (here.starts_with(&there) || there.starts_with(&here))
        };
        if let Some((other, _)) = before.iter().find(|(_, other)| meets(other)) {
            return Err(refuse(
                format_args!("the stores `{other}` and `{name}` lie in each other, in the bucket `{}`", options.bucket),
                format_args!("give each a folder of its own: `prefix` in [stores.{other}] and in [stores.{name}]"),
            ));
        }
        before.push((name, options));
    }
    Ok(())
}
