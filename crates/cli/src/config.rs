//! [`Config`]: defaults, then `larder.toml`, then `LARDER_*` variables, then flags. Nothing is guessed: an unknown key is refused
//! with the nearest known one and with where it came from.

mod earlier;
mod imports;
mod renditions;
mod s3;

use crate::{
    data_dir::DataDir,
    output::{chain, refuse},
};
use anyhow::Result;
use earlier::Earlier;
pub(crate) use earlier::Unused;
use figment::{
    Figment, Metadata, Source,
    providers::{Env, Format, Serialized, Toml},
    value::{Dict, Value},
};
use imports::ImportConfig;
use larder_api::{ForwardedBy, MetricsToken, Network, Proxies};
use larder_files::{BucketName, BucketPolicy, Deadlines, Names, Settings, StoreMode, StoreName};
use renditions::RenditionConfig;
use s3::{ChecksumsConfig, EncryptionConfig, Secret};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};
use toml::de::{DeTable, DeValue};

/// Every key, `*` for a name of the user's. The one list that the check for unknown keys knows; docs/configuration.md tells each.
const KEYS: &[&str] = &[
    "listen",
    "public_url",
    "metrics_listen",
    "metrics_token",
    "trusted_proxies",
    "forwarded_header",
    "placement",
    "database.url",
    "database.schema",
    "limits.uploads_per_user",
    "limits.body_idle_seconds",
    "limits.body_rate_min",
    "limits.json_bytes_max",
    "limits.head_bytes_max",
    "limits.drain_seconds",
    "limits.signed_url_seconds",
    "stores.*.kind",
    "stores.*.path",
    "stores.*.mode",
    "stores.*.bucket",
    "stores.*.prefix",
    "stores.*.endpoint",
    "stores.*.public_endpoint",
    "stores.*.cdn_url",
    "stores.*.region",
    "stores.*.path_style",
    "stores.*.access_key_id",
    "stores.*.secret_access_key",
    "stores.*.session_token",
    "stores.*.profile",
    "stores.*.encryption",
    "stores.*.kms_key_id",
    "stores.*.storage_class",
    "stores.*.checksums",
    "stores.*.create_bucket",
    "stores.*.connections",
    "stores.*.connect_seconds",
    "stores.*.request_seconds",
    "stores.*.part_seconds",
    "stores.*.complete_seconds",
    "stores.*.stall_seconds",
    "buckets.*.placement",
    "buckets.*.write_copies",
    "buckets.*.max_bytes",
    "buckets.*.types",
    "buckets.*.names",
    "buckets.*.trash_days",
    "buckets.*.pictures_only",
    "buckets.*.presets_ahead",
    "presets.*",
    "renditions.store",
    "renditions.cache_bytes_max",
    "renditions.at_once",
    "renditions.waiting_max",
    "renditions.timeout_seconds",
    "renditions.source_bytes_max",
    "renditions.side_max",
    "renditions.pixels_max",
    "renditions.key_id",
    "renditions.old_key_ids",
    "imports.enabled",
    "imports.http",
    "imports.bytes_max",
    "imports.timeout_seconds",
];

/// `LARDER_…` variables that are no keys: what the flags, the log and tests are told by.
const OTHER_VARIABLES: &[&str] = &[
    "data",
    "config",
    "log",
    "crash_point",
    "crash_points",
    "crash_rounds",
    "crash_seed",
    "crash_clients",
    "test_postgres",
];

/// Whether a variable, without its `LARDER_`, is one that Kubernetes or a link of Docker sets beside a service called `larder`:
/// an environment that nobody here wrote must not refuse a start.
fn is_injected(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(&*name, "port" | "name") || ["port_", "service_", "env_"].iter().any(|start| name.starts_with(start))
}

/// Whether a variable may say something to a Larder: one of its own, or one of earlier systems.
pub(crate) fn is_a_variable(name: &str) -> bool {
    name.starts_with("LARDER_") || earlier::VARIABLES.contains(&name)
}

/// The configuration.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Config {
    /// Address and port to serve on. `LARDER_LISTEN`, default `127.0.0.1:8080`; port 0 takes a free one.
    #[serde(default = "default_listen")]
    pub(crate) listen: String,
    /// Where clients reach the server, such as `https://files.example.com`: links to it begin so. `LARDER_PUBLIC_URL`, default: HTTP and
    /// the host that the request for a link was sent to.
    pub(crate) public_url: Option<String>,
    /// Address and port for `/metrics` alone, open to whoever reaches it. `LARDER_METRICS_LISTEN`, default none.
    pub(crate) metrics_listen: Option<String>,
    /// What opens `/metrics` to who is no admin. `LARDER_METRICS_TOKEN`, default none.
    #[serde(serialize_with = "hidden")]
    metrics_token: Option<SecretString>,
    /// Networks of the proxies that are believed when they say whom they speak for. `LARDER_TRUSTED_PROXIES`, default none.
    #[serde(default, deserialize_with = "networks")]
    trusted_proxies: Vec<Network>,
    /// The header in which they say it: `x-forwarded-for`, or `forwarded`. `LARDER_FORWARDED_HEADER`, default `x-forwarded-for`.
    #[serde(default)]
    forwarded_header: ForwardedBy,
    /// The stores of files in buckets that name none; an upload goes to the first that takes it. `LARDER_PLACEMENT`, default: the
    /// first store by name.
    #[serde(default, deserialize_with = "one_or_more")]
    pub(crate) placement: Vec<StoreName>,
    /// Where the rows lie, if not in a file of the data directory.
    #[serde(default)]
    database: DatabaseConfig,
    /// What the server puts up with.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// The stores by name; without any, the directory `objects` as `local`.
    #[serde(default)]
    pub(crate) stores: BTreeMap<StoreName, StoreConfig>,
    /// Buckets by name: further ones, or other policies for the ready-made.
    #[serde(default)]
    buckets: BTreeMap<BucketName, BucketConfig>,
    /// Recipes by name, besides the ready-made presets or in their place.
    #[serde(default)]
    presets: BTreeMap<String, String>,
    /// How renditions are made and kept.
    #[serde(default)]
    renditions: RenditionConfig,
    /// Whether, and how, content is fetched from URLs.
    #[serde(default)]
    imports: ImportConfig,
    #[serde(skip)]
    sources: Sources,
    #[serde(skip)]
    unused: Vec<Unused>,
}

/// What a configuration was read from, secrets too: nothing of it is shown.
#[derive(Clone, Default)]
struct Sources {
    figment: Figment,
    /// The file and its text.
    file: Option<(PathBuf, String)>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody has said anything.
    Default,
    /// A file, and its line where that is known.
    File(PathBuf, Option<usize>),
    /// A variable, by its name.
    Variable(String),
    /// The command line.
    Flag,
}

/// One key with the value that is in effect.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) key: String,
    /// Null where there is none, and no default.
    pub(crate) value: Json,
    pub(crate) origin: Origin,
}

/// Where the rows lie.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct DatabaseConfig {
    /// A PostgreSQL database, such as `postgres://larder:password@host/files`, shared by as many servers as there are.
    /// `LARDER_DATABASE__URL`, default none: SQLite in the data directory.
    #[serde(serialize_with = "hidden")]
    url: Option<SecretString>,
    /// The schema of that database, which is Larder's alone. `LARDER_DATABASE__SCHEMA`, default `larder`.
    schema: Option<String>,
}

/// What the server puts up with.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Limits {
    /// Uploads in flight per user, default 128. `LARDER_LIMITS__UPLOADS_PER_USER`.
    pub(crate) uploads_per_user: Option<usize>,
    /// Seconds without a byte after which a body is broken off, default 30. `LARDER_LIMITS__BODY_IDLE_SECONDS`.
    pub(crate) body_idle_seconds: Option<u64>,
    /// Bytes a second that a body must reach on average after 30 s, default 1 KiB. `LARDER_LIMITS__BODY_RATE_MIN`.
    #[serde(default, deserialize_with = "maybe_size")]
    pub(crate) body_rate_min: Option<u64>,
    /// Bytes of a JSON body, default 65,536. `LARDER_LIMITS__JSON_BYTES_MAX`.
    pub(crate) json_bytes_max: Option<usize>,
    /// Bytes of a request's head, default 32,768. `LARDER_LIMITS__HEAD_BYTES_MAX`.
    pub(crate) head_bytes_max: Option<usize>,
    /// Seconds that a stopping server lets requests end in, default 30. `LARDER_LIMITS__DRAIN_SECONDS`.
    pub(crate) drain_seconds: Option<u64>,
    /// Seconds for which signed URLs work where the request for them does not say, default 3,600. `LARDER_LIMITS__SIGNED_URL_SECONDS`.
    pub(crate) signed_url_seconds: Option<u64>,
}

/// A store.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct StoreConfig {
    /// What it is: `local`, a directory, the default; or `s3`, a bucket. `LARDER_STORES__NAME__KIND`.
    #[serde(default)]
    pub(crate) kind: StoreKind,
    /// The directory, absolute or below the data directory. `LARDER_STORES__NAME__PATH`, default `objects` for the store `local`
    /// and none for others.
    pub(crate) path: Option<PathBuf>,
    /// What it may be used for: `edit` (everything, default), `rw`, `ro` or `ar`.
    /// `LARDER_STORES__NAME__MODE`.
    #[serde(default)]
    pub(crate) mode: StoreMode,
    /// The bucket of a store of the kind `s3`. `LARDER_STORES__NAME__BUCKET`.
    bucket: Option<String>,
    /// A folder of the bucket that the store keeps to, default none. `LARDER_STORES__NAME__PREFIX`.
    prefix: Option<String>,
    /// The server, default AWS. `LARDER_STORES__NAME__ENDPOINT`.
    endpoint: Option<String>,
    /// The server as clients of signed URLs reach it, default the endpoint. `LARDER_STORES__NAME__PUBLIC_ENDPOINT`.
    public_endpoint: Option<String>,
    /// Where a CDN serves the bucket to everybody, default none. `LARDER_STORES__NAME__CDN_URL`.
    cdn_url: Option<String>,
    /// The bucket's region. `LARDER_STORES__NAME__REGION`, default what the profile or the environment says, else `us-east-1`.
    region: Option<String>,
    /// Whether the bucket stands in the path. `LARDER_STORES__NAME__PATH_STYLE`, default everywhere but on AWS.
    path_style: Option<bool>,
    /// The public half of a pair of keys. `LARDER_STORES__NAME__ACCESS_KEY_ID`, default what AWS tools would find.
    access_key_id: Option<String>,
    /// The secret half. `LARDER_STORES__NAME__SECRET_ACCESS_KEY`.
    #[serde(serialize_with = "hidden")]
    secret_access_key: Secret,
    /// The token of temporary keys. `LARDER_STORES__NAME__SESSION_TOKEN`.
    #[serde(serialize_with = "hidden")]
    session_token: Secret,
    /// A profile of the AWS configuration files. `LARDER_STORES__NAME__PROFILE`.
    profile: Option<String>,
    /// What the server is to encrypt with: `AES256` or `aws:kms`. `LARDER_STORES__NAME__ENCRYPTION`, default what the bucket does by itself.
    encryption: Option<EncryptionConfig>,
    /// The key of `aws:kms`. `LARDER_STORES__NAME__KMS_KEY_ID`, default the bucket's own.
    kms_key_id: Option<String>,
    /// The storage class of new objects. `LARDER_STORES__NAME__STORAGE_CLASS`, default the server's.
    storage_class: Option<String>,
    /// When the SDK adds checksums: `when_supported` or `when_required`. `LARDER_STORES__NAME__CHECKSUMS`, default the former on AWS.
    checksums: Option<ChecksumsConfig>,
    /// Whether a bucket that is missing is made. `LARDER_STORES__NAME__CREATE_BUCKET`, default no.
    create_bucket: Option<bool>,
    /// Parts of one upload, or of one copy, that are under way at once, default 4. `LARDER_STORES__NAME__CONNECTIONS`.
    connections: Option<usize>,
    /// Seconds until a connection stands, default 5. `LARDER_STORES__NAME__CONNECT_SECONDS`.
    connect_seconds: Option<u64>,
    /// Seconds for what moves little, repeats included, default 30. `LARDER_STORES__NAME__REQUEST_SECONDS`.
    request_seconds: Option<u64>,
    /// Seconds for one part of an upload, repeats included, default 120. `LARDER_STORES__NAME__PART_SECONDS`.
    part_seconds: Option<u64>,
    /// Seconds for the completion of an upload, and for a copy, default 600. `LARDER_STORES__NAME__COMPLETE_SECONDS`.
    complete_seconds: Option<u64>,
    /// Seconds for which a download that is being read may bring nothing, default 30. `LARDER_STORES__NAME__STALL_SECONDS`.
    stall_seconds: Option<u64>,
}

/// What a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// A directory.
    #[default]
    Local,
    /// A bucket.
    S3,
}

/// What of a bucket's policy differs from the default one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct BucketConfig {
    /// The stores on which its files must have a copy. `LARDER_BUCKETS__NAME__PLACEMENT`, default: [`Config::placement`].
    #[serde(default, deserialize_with = "one_or_more")]
    placement: Vec<StoreName>,
    /// Stores that must hold what is answered. `LARDER_BUCKETS__NAME__WRITE_COPIES`, default 1, at most as many as its placement has
    /// stores of the mode `edit`.
    write_copies: Option<u32>,
    /// Bytes of its largest file. `LARDER_BUCKETS__NAME__MAX_BYTES`, default 16 GiB.
    #[serde(default, deserialize_with = "maybe_size")]
    max_bytes: Option<u64>,
    /// Content types it takes, or `*`. `LARDER_BUCKETS__NAME__TYPES`, default `*`, of the ready-made `audio` and `images` theirs.
    #[serde(default, deserialize_with = "one_or_more")]
    types: Vec<String>,
    /// Whether several live files may share a name: `free`, or `unique`. `LARDER_BUCKETS__NAME__NAMES`, default `free`.
    names: Option<Names>,
    /// Days for which the trash keeps a file. `LARDER_BUCKETS__NAME__TRASH_DAYS`, default 30. Not carried out yet: what lies in
    /// the trash stays until it is purged.
    trash_days: Option<u32>,
    /// Whether it takes only pictures that can be read. `LARDER_BUCKETS__NAME__PICTURES_ONLY`, default `false`, of the ready-made `images`
    /// `true`.
    pictures_only: Option<bool>,
    /// Presets of which renditions are made as soon as a picture has arrived. `LARDER_BUCKETS__NAME__PRESETS_AHEAD`, default none.
    #[serde(default, deserialize_with = "one_or_more")]
    presets_ahead: Vec<String>,
}

/// How long signed URLs may work: up to a week.
const SIGNED_URL_SECONDS: RangeInclusive<u64> = 60..=604_800;

/// Whether others can begin with it: scheme, host, and perhaps a path.
fn is_base(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let is_good = |byte: u8| byte.is_ascii_graphic() && !b"?#@\\\"<>`{|}^".contains(&byte);
    !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.bytes().all(is_good)
}

fn default_listen() -> String {
    "127.0.0.1:8080".into()
}

impl Config {
    /// Reads the configuration. `file` must exist; without it, `larder.toml` in the data directory is read where there is one.
    ///
    /// # Errors
    /// Names the key, where it came from, and what would be right.
    pub(crate) fn load(dir: &DataDir, file: Option<&Path>, listen: Option<String>) -> Result<Self> {
        Self::read(dir, file, listen, Earlier::of_environment()?)
    }

    fn read(dir: &DataDir, file: Option<&Path>, listen: Option<String>, earlier: Earlier) -> Result<Self> {
        let mut figment = Figment::new();
        let inside = dir.path().join("larder.toml");
        let file = file.or_else(|| inside.exists().then_some(&*inside));
        let file = file.map(|file| read(file).map(|text| (file.to_owned(), text))).transpose()?;
        if let Some((file, _)) = &file {
            figment = figment.merge(Toml::file_exact(file));
        }
        check_variables()?;
        let variables = Env::prefixed("LARDER_").ignore(OTHER_VARIABLES);
        figment = figment.merge(variables.filter(|name| !is_injected(name.as_str())).split("__"));
        if let Some(listen) = listen {
            figment = figment.merge(Serialized::default("listen", listen));
        }
        check_keys(&figment)?;
        check_stores(&figment, &earlier)?;
        // What is said here goes over what is said there.
        figment = earlier.keys.iter().fold(figment, |figment, told| figment.join(told.clone()));
        let mut config: Self = figment.extract().map_err(|error| wrong_value(&error))?;
        config.complete(&figment)?;
        config.sources = Sources { figment, file };
        config.unused = earlier.unused;
        Ok(config)
    }

    /// Variables of earlier systems that are set, and that nothing goes by.
    pub(crate) fn unused(&self) -> &[Unused] {
        &self.unused
    }

    /// The same in one line; `None` where there is none.
    pub(crate) fn told_unused(&self) -> Option<String> {
        earlier::in_one_line(&self.unused)
    }

    /// The file that was read.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.sources.file.as_ref().map(|(path, _)| &**path)
    }

    /// Every key, in the order of the documentation, with the value that is in effect and where that comes from.
    pub(crate) fn in_effect(&self) -> Vec<Setting> {
        let tree = self.tree();
        let mut settings = Vec::new();
        for pattern in KEYS {
            expand(&tree, pattern, "", &mut |key, value| {
                let origin = self.sources.origin(&key);
                // What only a bucket has says nothing of a directory, nor the other way round.
                let is_of_a_store = key.starts_with("stores.") && value.is_null() && origin == Origin::Default;
                if !is_of_a_store {
                    settings.push(Setting { origin, key, value });
                }
            });
        }
        settings.sort_by_cached_key(|setting| subject(&setting.key));
        settings
    }

    /// All values, the defaults among them.
    fn tree(&self) -> Json {
        let mut config = self.clone();
        if config.placement.is_empty() {
            config.placement.extend(self.stores.keys().next().cloned());
        }
        config.limits = self.limits.in_effect();
        config.renditions = self.renditions.in_effect(self);
        config.imports = self.imports.in_effect();
        config.presets = self.presets().iter().map(|(name, recipe)| (name.to_owned(), recipe.to_string())).collect();
        if config.database.url.is_some() {
            config.database.schema.get_or_insert_with(|| "larder".into());
        }
        let of_bucket = |(name, policy): (BucketName, BucketPolicy)| {
            let placement =
                if policy.placement.is_empty() { config.placement.clone() } else { policy.placement.clone() };
            (name.to_string(), json!(BucketPolicy { placement, ..policy }))
        };
        let buckets: serde_json::Map<_, _> = self.settings().buckets.into_iter().map(of_bucket).collect();
        let mut tree = serde_json::to_value(&config).expect("names are texts");
        tree["buckets"] = buckets.into();
        tree
    }

    /// What the defaults of one key owe to another; names that lead nowhere are refused.
    fn complete(&mut self, figment: &Figment) -> Result<()> {
        let local = StoreName::new("local").expect("a good name");
        if self.stores.is_empty() {
            self.stores.insert(local.clone(), StoreConfig::default());
        }
        for (name, store) in &mut self.stores {
            store.check_kind(name)?;
            if store.kind == StoreKind::S3 {
                continue;
            }
            if store.path.is_none() && *name == local {
                store.path = Some("objects".into());
            }
            if store.path.as_ref().is_none_or(|path| path.as_os_str().is_empty()) {
                let what = format!("the store `{name}` has no directory");
                return Err(refuse(what, format_args!("add `path = \"…\"` under [stores.{name}]")));
            }
        }
        if self.metrics_token.is_some() && self.metrics_token().is_none() {
            let what = format!(
                "`metrics_token` is no secret: it has at least {} characters, not all the same",
                MetricsToken::BYTES_MIN
            );
            return Err(refuse(what, "make one: `openssl rand -hex 32`"));
        }
        if let Some(url) = self.public_url.as_ref().filter(|url| !is_base(url)) {
            let what = format!("`public_url` is `{url}`, which is no URL that others can begin with");
            return Err(refuse(what, "it is such as `https://files.example.com`"));
        }
        self.limits.check()?;
        self.renditions.check()?;
        self.imports.check()?;
        self.check_presets()?;
        if self.database.url.is_none() && self.database.schema.is_some() {
            return Err(refuse(
                "`database.schema` is set, and no server: SQLite has no schemas",
                "set `database.url` too",
            ));
        }
        for (name, bucket) in &self.buckets {
            let is_type =
                |text: &str| text == "*" || text.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
            if let Some(wrong) = bucket.types.iter().find(|text| !is_type(text)) {
                let what = format!("`{wrong}` in `buckets.{name}.types` is no content type");
                return Err(refuse(what, "write them whole, such as `image/png`, or `*` for all"));
            }
        }
        let placements = self.buckets.iter().map(|(name, bucket)| (format!("buckets.{name}.placement"), bucket));
        let named = placements.map(|(key, bucket)| (key, &bucket.placement));
        for (key, stores) in named.chain([("placement".to_owned(), &self.placement)]) {
            for store in stores {
                if !self.stores.contains_key(store) {
                    let from = figment.find_metadata(&key).map(|from| source(from, &key)).unwrap_or_default();
                    let configured = list(self.stores.keys().map(StoreName::as_str));
                    let what = format!("unknown store `{store}` in `{key}`{from}");
                    let default = match store.as_str() {
                        "local" => "; where one is configured, `local` must be too: add [stores.local]",
                        _ => "",
                    };
                    return Err(refuse(what, format_args!("configured stores are {configured}{default}")));
                }
            }
        }
        Ok(())
    }

    /// The URL and the schema of the server on which the rows lie, if they do.
    pub(crate) fn server(&self) -> Option<(&str, &str)> {
        let schema = self.database.schema.as_deref().unwrap_or("larder");
        self.database.url.as_ref().map(|url| (url.expose_secret(), schema))
    }

    /// What opens `/metrics` to who is no admin.
    pub(crate) fn metrics_token(&self) -> Option<MetricsToken> {
        self.metrics_token.as_ref().and_then(|token| MetricsToken::new(token.expose_secret()))
    }

    /// The proxies before the server.
    pub(crate) fn proxies(&self) -> Proxies {
        Proxies { networks: self.trusted_proxies.clone(), header: self.forwarded_header }
    }

    /// The stores that are directories.
    pub(crate) fn directories(&self) -> impl Iterator<Item = (&StoreName, &StoreConfig)> {
        self.stores.iter().filter(|(_, store)| store.kind == StoreKind::Local)
    }

    /// The buckets that take no upload, since no store of their placement takes new files; each with what mends that.
    pub(crate) fn closed_buckets(&self) -> Vec<String> {
        let first = self.stores.keys().next().into_iter().cloned().collect();
        let default: &Vec<StoreName> = if self.placement.is_empty() { &first } else { &self.placement };
        let is_open = |store: &&StoreName| self.stores.get(*store).is_some_and(|store| store.mode.creates());
        let closed = self.settings().buckets.into_iter().filter_map(|(bucket, policy)| {
            let placement = if policy.placement.is_empty() { default } else { &policy.placement };
            let stores = list(placement.iter().map(StoreName::as_str));
            let text = format!(
                "bucket `{bucket}` takes no uploads: none of its stores ({stores}) has the mode `edit` or `rw`"
            );
            (!placement.iter().any(|store| is_open(&store))).then_some(text)
        });
        closed.collect()
    }

    /// What of it concerns files.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings { placement: self.placement.clone(), ..Settings::default() };
        // What the slowest is waited for, all are.
        let drivers = self.stores.values().filter_map(StoreConfig::s3_options).map(|options| options.deadlines);
        let slowest = drivers.map(|of| Deadlines { small: of.small, whole: of.whole.max(of.part) });
        let slowest = slowest.reduce(|a, b| Deadlines { small: a.small.max(b.small), whole: a.whole.max(b.whole) });
        settings.deadlines = slowest.unwrap_or_default();
        settings.examine = Some(self.examiner());
        settings.cache = self.rendition_store();
        for (name, bucket) in &self.buckets {
            match settings.buckets.iter_mut().find(|(ready, _)| ready == name) {
                Some((_, policy)) => bucket.change(policy),
                None => {
                    let mut policy = BucketPolicy::default();
                    bucket.change(&mut policy);
                    settings.buckets.push((name.clone(), policy));
                }
            }
        }
        settings
    }
}

impl Limits {
    /// Refuses what no request could keep within.
    fn check(&self) -> Result<()> {
        for (key, value, least) in [
            ("uploads_per_user", self.uploads_per_user.map(|most| most as u64), 1),
            ("body_idle_seconds", self.body_idle_seconds, 1),
            ("body_rate_min", self.body_rate_min, 1),
            ("json_bytes_max", self.json_bytes_max.map(|most| most as u64), 1024),
            ("head_bytes_max", self.head_bytes_max.map(|most| most as u64), 1024),
        ] {
            if value.is_some_and(|value| value < least) {
                let what = format!("`limits.{key}` is {}: too little to work with", value.unwrap_or_default());
                return Err(refuse(what, format_args!("it is at least {least}")));
            }
        }
        match self.signed_url_seconds {
            Some(seconds) if !SIGNED_URL_SECONDS.contains(&seconds) => {
                Err(refuse(format_args!("`limits.signed_url_seconds` is {seconds}"), "it is 60 to 604800: a week"))
            }
            _ => Ok(()),
        }
    }

    /// With the defaults of the server.
    pub(crate) fn in_effect(&self) -> Self {
        let default = larder_api::Limits::default();
        Self {
            uploads_per_user: self.uploads_per_user.or(Some(default.uploads_per_user)),
            body_idle_seconds: self.body_idle_seconds.or(Some(default.body_idle.as_secs())),
            body_rate_min: self.body_rate_min.or(Some(default.body_rate_min)),
            json_bytes_max: self.json_bytes_max.or(Some(default.json_bytes_max)),
            head_bytes_max: self.head_bytes_max.or(Some(default.head_bytes_max)),
            drain_seconds: self.drain_seconds.or(Some(default.drain.as_secs())),
            signed_url_seconds: self.signed_url_seconds.or(Some(default.signed_url.as_secs())),
        }
    }
}

impl Sources {
    fn origin(&self, key: &str) -> Origin {
        match self.figment.find_metadata(key) {
            None => Origin::Default,
            Some(metadata) => self.origin_of(metadata, key),
        }
    }

    fn origin_of(&self, metadata: &Metadata, key: &str) -> Origin {
        match &metadata.source {
            Some(Source::File(path)) => {
                let line = self.file.as_ref().and_then(|(_, text)| line_of(text, key));
                Origin::File(path.clone(), line)
            }
            Some(Source::Custom(variable)) => Origin::Variable(variable.clone()),
            _ if metadata.name.contains("LARDER_") => Origin::Variable(variable(key)),
            _ => Origin::Flag,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File(path, Some(line)) => write!(f, "{}:{line}", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "{name}"),
            Self::Flag => write!(f, "command line"),
        }
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|error| {
        refuse(format_args!("cannot read the configuration {}: {error}", file.display()), "see `--config FILE`")
    })
}

/// Refuses what is no text: it would be read as another one.
fn check_variables() -> Result<()> {
    let ours = |name: &str| name.starts_with("LARDER_") && name != "LARDER_DATA" && name != "LARDER_CONFIG";
    match std::env::vars_os().find(|(name, value)| ours(&name.to_string_lossy()) && value.to_str().is_none()) {
        Some((name, _)) => {
            let what = format!("the variable {} holds what is no UTF-8", name.to_string_lossy());
            Err(refuse(what, "a path that is none can't be told in a variable or in larder.toml: rename it"))
        }
        None => Ok(()),
    }
}

/// The variable of a key.
fn variable(key: &str) -> String {
    format!("LARDER_{}", key.replace('.', "__").to_uppercase())
}

/// What is shown of a secret: that there is one.
fn hidden<S: Serializer>(secret: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| "…").serialize(to)
}

/// Whether a key's value is never shown.
pub(crate) fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    if key == "database.url" {
        return true;
    }
    ["secret", "password", "token", "access_key"].iter().any(|word| last.contains(word))
}

/// Answers each key that a pattern stands for, with its value.
fn expand(tree: &Json, pattern: &str, above: &str, found: &mut impl FnMut(String, Json)) {
    let (part, below) = pattern.split_once('.').map_or((pattern, None), |(part, below)| (part, Some(below)));
    let named: Vec<(&str, &Json)> = match (part, tree) {
        ("*", Json::Object(children)) => children.iter().map(|(name, child)| (&**name, child)).collect(),
        _ => vec![(part, &tree[part])],
    };
    for (name, child) in named {
        match below {
            Some(below) => expand(child, below, &format!("{above}{name}."), found),
            None => found(format!("{above}{name}"), child.clone()),
        }
    }
}

/// What is about one store or one bucket belongs together: the place of its kind in [`KEYS`], and its name.
fn subject(key: &str) -> (Option<usize>, Option<String>) {
    let parts: Vec<&str> = key.split('.').collect();
    let kind = KEYS.iter().position(|key| key.split('.').next() == Some(parts[0]));
    (kind, if let [_, name, _] = parts[..] { Some(name.to_owned()) } else { None })
}

/// The line of a key in a TOML text, from 1.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let (mut inside, mut start) = (Some(table.get_ref()), None);
    for part in key.split('.') {
        let (name, value) = inside?.iter().find(|(name, _)| *name.get_ref() == *part)?;
        inside = if let DeValue::Table(table) = value.get_ref() { Some(table) } else { None };
        start = Some(name.span().start);
    }
    Some(text[..start?].matches('\n').count() + 1)
}

impl BucketConfig {
    fn change(&self, policy: &mut BucketPolicy) {
        if !self.placement.is_empty() {
            policy.placement.clone_from(&self.placement);
        }
        if !self.types.is_empty() {
            policy.types.clone_from(&self.types);
        }
        policy.max_bytes = self.max_bytes.unwrap_or(policy.max_bytes);
        policy.write_copies = self.write_copies.unwrap_or(policy.write_copies);
        policy.names = self.names.unwrap_or(policy.names);
        policy.trash_days = self.trash_days.unwrap_or(policy.trash_days);
        policy.pictures_only = self.pictures_only.unwrap_or(policy.pictures_only);
        if !self.presets_ahead.is_empty() {
            policy.presets_ahead.clone_from(&self.presets_ahead);
        }
    }
}

/// Refuses two words about where files lie: the stores that variables of earlier systems make may get further keys here, and no company.
fn check_stores(figment: &Figment, earlier: &Earlier) -> Result<()> {
    let here = figment.find_value("stores").ok().and_then(Value::into_dict).unwrap_or_default();
    if let (None, Some(variable), true) = (earlier.said_by, &earlier.stray, here.is_empty()) {
        let what =
            format!("`{variable}` is set, and neither `STORAGE_TYPE` nor `STORAGE_PROVIDER` says that it is meant");
        return Err(refuse(
            what,
            "set `STORAGE_TYPE` to `local`, `minio`, `s3` or `s3_compatible`, or name the stores in larder.toml",
        ));
    }
    let Some(by) = earlier.said_by else { return Ok(()) };
    match here.iter().find(|(name, _)| !earlier.stores.contains(*name)) {
        Some((name, store)) => {
            let from = figment.get_metadata(first_leaf(store).tag());
            let from = from.map(|from| source(from, &format!("stores.{name}.*"))).unwrap_or_default();
            let made = list(earlier.stores.iter().map(String::as_str));
            Err(refuse(
                format_args!("`{by}` makes the store {made}, and [stores.{name}]{from} is another"),
                format_args!("unset `{by}` and name all stores in larder.toml, or take [stores.{name}] out"),
            ))
        }
        None => Ok(()),
    }
}

/// Refuses the first key that is in no line of [`KEYS`].
fn check_keys(figment: &Figment) -> Result<()> {
    let known: Vec<Vec<&str>> = KEYS.iter().map(|key| key.split('.').collect()).collect();
    let all: Dict = figment.extract().map_err(|error| wrong_value(&error))?;
    check_level(figment, &known, &mut Vec::new(), &all)
}

fn check_level(figment: &Figment, known: &[Vec<&str>], path: &mut Vec<String>, dict: &Dict) -> Result<()> {
    let fits = |pattern: &[&str], path: &[String]| {
        pattern.len() >= path.len() && pattern.iter().zip(path).all(|(part, name)| *part == "*" || part == name)
    };
    for (name, value) in dict {
        path.push(name.clone());
        if !known.iter().any(|pattern| fits(pattern, path)) {
            let above = &path[..path.len() - 1];
            let siblings = known
                .iter()
                .filter(|pattern| fits(pattern, above))
                .filter_map(|pattern| pattern.get(above.len()).copied());
            return Err(unknown_key(figment, path, value, siblings.collect()));
        }
        if let Value::Dict(_, inner) = value {
            check_level(figment, known, path, inner)?;
        }
        path.pop();
    }
    Ok(())
}

fn unknown_key(figment: &Figment, path: &[String], value: &Value, mut siblings: Vec<&str>) -> anyhow::Error {
    let (name, above) = path.split_last().expect("a key has a name");
    let above = above.iter().fold(String::new(), |above, part| format!("{above}{part}."));
    let key = format!("{above}{name}");
    // A table has no origin of its own: that of its first value is.
    let origin = figment.get_metadata(first_leaf(value).tag());
    let from = origin.map(|from| source(from, &key)).unwrap_or_default();
    siblings.sort_unstable();
    siblings.dedup();
    let nearest = siblings.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    let mend = match nearest {
        Some(near) if strsim::damerau_levenshtein(near, name) <= near.len().max(4) / 2 => {
            format!("did you mean `{above}{near}`?")
        }
        Some(_) => format!("known here are {}", list(siblings)),
        None => format!("`{}` is a value, not a table", above.trim_end_matches('.')),
    };
    let is_variable = origin.is_some_and(|origin| matches!(origin.source, Some(Source::Custom(_))));
    let other = if is_variable { "; unset a variable of your own: those that begin with LARDER_ are keys" } else { "" };
    refuse(format_args!("unknown configuration key `{key}`{from}"), format_args!("{mend}{other}"))
}

fn first_leaf(value: &Value) -> &Value {
    match value {
        Value::Dict(_, inner) => inner.values().next().map_or(value, first_leaf),
        leaf => leaf,
    }
}

/// ` (where a value came from)`.
fn source(metadata: &Metadata, key: &str) -> String {
    match &metadata.source {
        Some(Source::File(path)) => format!(" (in {})", path.display()),
        Some(Source::Custom(variable)) => format!(" (from the variable {variable})"),
        _ if metadata.name.contains("LARDER_") => format!(" (from the variable {})", variable(key)),
        _ => " (from the command line)".into(),
    }
}

fn wrong_value(error: &figment::Error) -> anyhow::Error {
    let key = error.path.join(".");
    let from = error.metadata.as_ref().map(|from| source(from, &key)).unwrap_or_default();
    let kind = error.kind.to_string();
    if key.is_empty() {
        return refuse(format_args!("the configuration can't be read{from}: {kind}"), "mend that line");
    }
    refuse(format_args!("wrong value of the configuration key `{key}`{from}: {kind}"), "mend that value")
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().enumerate().fold(String::new(), |mut text, (index, name)| {
        let comma = if index == 0 { "" } else { ", " };
        write!(text, "{comma}`{name}`").expect("a string takes all");
        text
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Bytes(u64),
    Text(String),
}

/// A size in bytes: a number, or a text such as `16GiB` or `500 MB`.
fn maybe_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let size = Size::deserialize(deserializer).map_err(|_| D::Error::custom("expected a size such as \"16GiB\""))?;
    match size {
        Size::Bytes(bytes) => Ok(Some(bytes)),
        Size::Text(text) => parse_size(&text)
            .map(Some)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is no size; write one such as \"16GiB\" or \"500MB\""))),
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

/// Networks, each told by itself if it is none.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    let texts = match OneOrMore::<String>::deserialize(deserializer) {
        Ok(OneOrMore::One(one)) => vec![one],
        Ok(OneOrMore::More(more)) => more,
        Err(_) => return Err(D::Error::custom("expected a list of networks, such as [\"10.0.0.0/8\"]")),
    };
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

/// A list, or a single text for a list of one.
fn one_or_more<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    match OneOrMore::deserialize(deserializer) {
        Ok(OneOrMore::One(one)) => Ok(vec![one]),
        Ok(OneOrMore::More(more)) => Ok(more),
        Err(_) => Err(D::Error::custom("expected a list of good names, such as [\"local\"]")),
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stores {}", list(self.stores.keys().map(StoreName::as_str)))
    }
}

/// An address that can't be listened on, as a refusal.
pub(crate) fn cannot_listen(place: &str, key: &str, error: &std::io::Error) -> anyhow::Error {
    let mend = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "stop what listens there, or take another port: `larder serve --listen 127.0.0.1:0` finds a free one"
        }
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need rights: `larder serve --listen 127.0.0.1:8080`",
        _ => "give an address and a port, such as `larder serve --listen 127.0.0.1:8080`",
    };
    refuse(format_args!("cannot listen on `{place}` (`{key}`): {}", chain(error)), mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_storage_s3::Deadlines as OfDriver;
    use std::time::Duration;

    fn load(toml: &str) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("larder.toml"), toml).unwrap();
        Config::read(&DataDir::new(dir.path()), None, None, Earlier::default())
    }

    #[test]
    fn without_a_file_there_is_one_store() {
        let config = load("").unwrap();
        assert_eq!(config.stores.keys().map(StoreName::as_str).collect::<Vec<_>>(), ["local"]);
        assert_eq!(config.settings().buckets.len(), 3);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one_and_its_source() {
        for (toml, key, near) in [
            ("lisen = \"x\"", "`lisen`", "`listen`"),
            ("[stores.disk]\npth = \"x\"", "`stores.disk.pth`", "`stores.disk.path`"),
            ("[buckets.documents]\nmax_byte = 1", "`buckets.documents.max_byte`", "`buckets.documents.max_bytes`"),
            ("[bucket.documents]\nmax_bytes = 1", "`bucket`", "`buckets`"),
            ("listen.port = 1", "`listen.port`", ""),
        ] {
            let error = load(toml).expect_err(toml).to_string();
            assert!(error.contains(key) && error.contains(near) && error.contains("larder.toml"), "{toml}: {error}");
        }
    }

    #[test]
    fn every_key_stands_in_the_documentation_with_its_variable() {
        const TOLD: &str = include_str!("../../../docs/configuration.md");
        for key in KEYS {
            let key = key.replace('*', "NAME");
            let variable = variable(&key);
            let tells =
                |line: &&str| line.starts_with(&format!("| `{key}` |")) && line.ends_with(&format!("`{variable}` |"));
            assert_eq!(TOLD.lines().filter(tells).count(), 1, "`{key}`, `{variable}`");
        }
    }

    #[test]
    fn every_key_has_a_value_in_effect_and_an_origin() {
        let toml =
            "listen = \"[::1]:1\"\n\n[stores.disk]\npath = \"x\"\n[buckets.tapes]\n# 1 MiB\nmax_bytes = \"1MiB\"\n";
        let settings = load(toml).unwrap().in_effect();
        let unset: Vec<_> = settings.iter().filter(|one| one.value.is_null()).map(|one| &*one.key).collect();
        assert_eq!(unset, ["public_url", "metrics_listen", "metrics_token", "database.url", "database.schema"]);
        let origin = |key: &str| {
            let setting = settings.iter().find(|setting| setting.key == key).expect(key);
            (setting.value.clone(), setting.origin.clone())
        };
        for (key, value, line) in [
            ("listen", json!("[::1]:1"), 1),
            ("stores.disk.path", json!("x"), 4),
            ("buckets.tapes.max_bytes", json!(1 << 20), 7),
        ] {
            let (found, origin) = origin(key);
            assert_eq!(found, value);
            assert!(matches!(origin, Origin::File(_, Some(at)) if at == line), "{key}: {origin:?}");
        }
        assert_eq!(origin("placement"), (json!(["disk"]), Origin::Default));
        assert_eq!(origin("buckets.images.placement"), (json!(["disk"]), Origin::Default));
        assert_eq!(origin("limits.drain_seconds"), (json!(30), Origin::Default));
        assert_eq!(origin("trusted_proxies"), (json!([]), Origin::Default));
        assert_eq!(origin("forwarded_header"), (json!("x-forwarded-for"), Origin::Default));
    }

    #[test]
    fn what_sounds_like_a_secret_is_never_shown() {
        for key in ["stores.s3.secret_access_key", "stores.s3.access_key_id", "smtp.password", "metrics_token"] {
            assert!(is_secret(key), "{key}");
        }
        let config = load("metrics_token = \"0123456789abcdef0123456789abcdef\"").unwrap();
        let shown = format!("{config:?} {:?}", config.in_effect());
        assert!(!shown.contains("0123456789abcdef") && shown.contains("…"), "{shown}");
        let error = load("metrics_token = \"short\"").expect_err("no secret").to_string();
        assert!(error.contains("`metrics_token`") && !error.contains("short"), "{error}");
    }

    #[test]
    fn no_key_is_taken_for_a_variable_of_an_orchestrator() {
        assert!(KEYS.iter().all(|key| !is_injected(&key.replace('.', "__"))));
    }

    #[test]
    fn the_documented_example_is_a_configuration() {
        const TOLD: &str = include_str!("../../../docs/configuration.md");
        let example = TOLD.split("```").find_map(|block| block.strip_prefix("toml\n")).unwrap();
        load(example).unwrap();
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [("0", 0), ("16GiB", 16 << 30), ("500 MB", 500_000_000), ("1k", 1024), ("7b", 7)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "GiB", "1.5GiB", "-1", "1 parsec", "99999999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn a_bucket_of_the_configuration_changes_a_ready_made_policy() {
        let toml =
            "[buckets.images]\nmax_bytes = \"1MiB\"\n[buckets.tapes]\ntypes = \"audio/mpeg\"\nnames = \"unique\"";
        let config = load(toml).unwrap();
        let buckets = config.settings().buckets;
        let policy = |name: &str| buckets.iter().find(|(bucket, _)| bucket.as_str() == name).unwrap().1.clone();
        assert_eq!(policy("images").max_bytes, 1 << 20);
        assert!(policy("images").takes("image/png"));
        assert_eq!(policy("tapes").types, ["audio/mpeg"]);
        assert_eq!((policy("tapes").names, policy("images").names), (Names::Unique, Names::Free));
    }

    #[test]
    fn how_long_a_bucket_may_take_is_what_the_driver_is_told() {
        let far = "[stores.far]\nkind = \"s3\"\nbucket = \"b\"\n";
        let options =
            |more: &str| load(&format!("{far}{more}")).unwrap().stores.values().next().unwrap().s3_options().unwrap();
        let default = options("");
        assert_eq!((default.deadlines, default.parts_in_flight), (OfDriver::default(), 4));
        let set = options(
            "connections = 2\nconnect_seconds = 1\nrequest_seconds = 2\npart_seconds = 3\ncomplete_seconds = 4\nstall_seconds = 6\n",
        );
        let [connect, small, part, whole, stalled] = [1, 2, 3, 4, 6].map(Duration::from_secs);
        assert_eq!((set.deadlines, set.parts_in_flight), (OfDriver { connect, small, part, whole, stalled }, 2));
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        for (toml, words) in [
            ("placement = [\"archve\"]", "unknown store `archve`"),
            ("placement = [\"local\"]\n[stores.disk]\npath = \"x\"", "add [stores.local]"),
            ("[buckets.documents]\nplacement = [\"x\"]", "buckets.documents.placement"),
            ("[stores.disk]\nmode = \"edit\"", "has no directory"),
            ("[stores.disk]\nkind = \"ftp\"", "stores.disk.kind"),
            ("[stores.far]\nkind = \"s3\"", "it has no bucket"),
            ("[stores.far]\nkind = \"s3\"\nbucket = \"b\"\npath = \"x\"", "`path` is a directory's"),
            ("[stores.far]\nkind = \"s3\"\nbucket = \"b\"\nsecret_access_key = \"x\"", "one is missing"),
            ("[stores.far]\nkind = \"s3\"\nbucket = \"b\"\nsession_token = \"x\"", "and no keys"),
            ("[stores.far]\nkind = \"s3\"\nbucket = \"b\"\nendpoint = \"https://id:key@host\"", "names a user"),
            ("[stores.far]\nkind = \"s3\"\nbucket = \"b\"\nkms_key_id = \"x\"", "not encrypted by it"),
            ("[stores.far]\nkind = \"s3\"\nbucket = \"b\"\nencryption = \"rot13\"", "stores.far.encryption"),
            ("[stores.far]\nkind = \"s3\"\nbucket = \"b\"\nstall_seconds = 0", "`stall_seconds` is 0"),
            ("[stores.far]\nkind = \"s3\"\nbucket = \"b\"\nconnections = 65", "`connections` is 65"),
            ("[stores.disk]\npath = \"x\"\nconnect_seconds = 3", "is a bucket's"),
            ("[stores.disk]\npath = \"x\"\nbucket = \"b\"", "is a bucket's"),
            ("[buckets.documents]\nmax_bytes = \"much\"", "no size"),
            ("[buckets.documents]\nnames = \"single\"", "buckets.documents.names"),
            ("[buckets.B]\nmax_bytes = 1", "name of a bucket"),
            ("listen = ", "larder.toml"),
            ("limits.head_bytes_max = 0", "at least 1024"),
            ("limits.json_bytes_max = 1023", "at least 1024"),
            ("limits.uploads_per_user = 0", "at least 1"),
            ("[buckets.images]\ntypes = \"image\"", "such as `image/png`"),
            ("[buckets.images]\ntypes = \"image/\"", "such as `image/png`"),
            ("limits.signed_url_seconds = 59", "60 to 604800"),
            ("limits.signed_url_seconds = 604801", "60 to 604800"),
            ("public_url = \"files.example.com\"", "such as `https://files.example.com`"),
            ("public_url = \"https://\"", "such as `https://files.example.com`"),
            ("public_url = \"https://me@files.example.com\"", "such as `https://files.example.com`"),
            ("public_url = \"https://files.example.com/?a\"", "such as `https://files.example.com`"),
            (
                "[stores.far]\nkind = \"s3\"\nbucket = \"b\"\ncdn_url = \"cdn\"",
                "such as `https://cdn.example.com/files`",
            ),
            ("limits.body_idle_seconds = 0", "at least 1"),
            ("limits.body_rate_min = 0", "at least 1"),
            ("trusted_proxies = \"proxy\"", "`proxy` is no network"),
            ("trusted_proxies = [\"::1\", \"10.0.0.0/33\"]", "`10.0.0.0/33` is no network"),
            ("trusted_proxies = \"0.0.0.0/0\"", "would believe everybody"),
            ("trusted_proxies = 10", "a list of networks"),
            ("forwarded_header = \"x-real-ip\"", "forwarded_header"),
        ] {
            let error = load(toml).expect_err(toml).to_string();
            assert!(error.contains(words), "{toml}: {error}");
        }
    }
}
