//! The variables of earlier systems, `STORAGE_TYPE`, `MINIO_…`, `S3_…` and their like, as keys of this configuration, so that their
//! `.env` files start Larder unchanged. `STORAGE_TYPE` or `STORAGE_PROVIDER` says which of them count; without either, none does. None is
//! passed over in silence: what nothing goes by is told. docs/configuration.md has the table of what each comes to.

use super::{SIGNED_URL_SECONDS, parse_size};
use crate::output::refuse;
use anyhow::Result;
use figment::{
    Metadata, Profile, Provider, Source,
    value::{Dict, Map, Value},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

/// Every variable that is understood. The one list that this module and the documentation know.
pub(super) const VARIABLES: &[&str] = &[
    "STORAGE_TYPE",
    "STORAGE_PROVIDER",
    "STORAGE_LOCAL_PATH",
    "STORAGE_BASE_URL",
    "STORAGE_PRESIGNED_URL_EXPIRY",
    "STORAGE_MAX_MULTIPART_SIZE",
    "STORAGE_RETENTION_DAYS",
    "ENABLE_STORAGE_ENCRYPTION",
    "MINIO_ENDPOINT",
    "MINIO_ACCESS_KEY",
    "MINIO_SECRET_KEY",
    "MINIO_SECURE",
    "MINIO_REGION",
    "MINIO_BUCKET",
    "MINIO_BUCKET_DOCUMENTS",
    "MINIO_BUCKET_AUDIO",
    "MINIO_BUCKET_IMAGES",
    "S3_ENDPOINT",
    "S3_ACCESS_KEY",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_KEY",
    "S3_SECRET_ACCESS_KEY",
    "S3_REGION",
    "S3_BUCKET",
    "S3_BUCKET_NAME",
    "S3_BUCKET_DOCUMENTS",
    "S3_BUCKET_AUDIO",
    "S3_BUCKET_IMAGES",
    "S3_USE_SSL",
    "S3_ADDRESSING_STYLE",
    "S3_SIGNATURE_VERSION",
    "S3_COMPATIBLE_ENDPOINT",
    "S3_COMPATIBLE_ACCESS_KEY",
    "S3_COMPATIBLE_SECRET_KEY",
    "S3_COMPATIBLE_BUCKET_NAME",
    "S3_COMPATIBLE_REGION",
    "S3_COMPATIBLE_USE_SSL",
    "S3_COMPATIBLE_ADDRESSING_STYLE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "MAX_UPLOAD_SIZE",
    "MAX_FILE_SIZE_MB",
    "MAX_IMAGE_SIZE_MB",
    "SUPPORTED_IMAGE_TYPES",
    "IMAGE_STORAGE_PATH",
    "IMAGE_THUMBNAIL_SIZE",
];

/// Those whose feature is to come.
const NOT_YET: &[(&str, &str)] = &[("STORAGE_RETENTION_DAYS", "it is `trash_days`, and nothing ends by itself")];

/// Those that have nothing to say.
const NEVER: &[(&str, &str)] = &[
    ("STORAGE_BASE_URL", "links to this server begin with `public_url`, and it answers at addresses of its own"),
    ("STORAGE_MAX_MULTIPART_SIZE", "parts are as large as what is uploaded asks for"),
];

/// The buckets that earlier systems kept apart; the ready-made ones.
const BUCKETS: [&str; 3] = ["documents", "audio", "images"];

/// Of `STORAGE_RETENTION_DAYS=0`, for ever: a hundred years.
const FOR_EVER_DAYS: u32 = 36_500;

/// Content types by what earlier systems call them.
const IMAGE_TYPES: &[(&str, &str)] = &[
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("png", "image/png"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("ico", "image/vnd.microsoft.icon"),
    ("svg", "image/svg+xml"),
    ("svg+xml", "image/svg+xml"),
    ("heic", "image/heif"),
    ("heif", "image/heif"),
];

/// What the variables come to.
#[derive(Default)]
pub(super) struct Earlier {
    /// The variable that says what the store is; `None` where nothing does, and then no other counts.
    pub(super) said_by: Option<&'static str>,
    /// The keys that they are, secrets too.
    pub(super) keys: Vec<Told>,
    /// The stores that they make.
    pub(super) stores: BTreeSet<String>,
    /// A variable of a store, where nothing says which is meant.
    pub(super) stray: Option<String>,
    /// What nothing goes by.
    pub(super) unused: Vec<Unused>,
}

/// A key of the configuration, and the variable that told it.
#[derive(Clone)]
pub(super) struct Told {
    key: String,
    value: Value,
    variable: &'static str,
}

impl Provider for Told {
    fn metadata(&self) -> Metadata {
        Metadata::from("a variable", Source::Custom(self.variable.to_owned()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = figment::util::nest(&self.key, self.value.clone());
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}

/// A variable that is set, and that nothing goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unused {
    pub(crate) variable: String,
    /// Whether its feature is to come.
    pub(crate) is_early: bool,
    /// Why nothing goes by it.
    pub(crate) why: String,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yet = if self.is_early { " yet" } else { "" };
        write!(f, "`{}` is not used{yet}: {}", self.variable, self.why)
    }
}

/// What nothing goes by, in one line: those that are to come first, and those of one reason together.
pub(super) fn in_one_line(unused: &[Unused]) -> Option<String> {
    let mut whys: Vec<(&Unused, Vec<String>)> = vec![];
    for one in unused {
        let name = format!("`{}`", one.variable);
        match whys.iter_mut().find(|(other, _)| (other.is_early, &other.why) == (one.is_early, &one.why)) {
            Some((_, names)) => names.push(name),
            None => whys.push((one, vec![name])),
        }
    }
    whys.sort_by_key(|(one, _)| !one.is_early);
    let told = whys.iter().map(|(one, names)| {
        let yet = if one.is_early { " yet" } else { "" };
        format!("not used{yet}: {} ({})", names.join(", "), one.why)
    });
    (!whys.is_empty()).then(|| told.collect::<Vec<_>>().join("; "))
}

impl Earlier {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// Names the variables that contradict each other, or the one that is missing or wrong, and says what to do.
    pub(super) fn of_environment() -> Result<Self> {
        let mut set = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let (name, text) = (name.to_string_lossy().into_owned(), value.to_str().map(str::trim));
            match text {
                _ if !is_of_earlier_systems(&name, text.unwrap_or_default()) => {}
                None => {
                    return Err(refuse(
                        format_args!("the variable `{name}` holds what is no UTF-8"),
                        "write it in UTF-8, or unset it",
                    ));
                }
                // `S3_ENDPOINT=` says that there is none.
                Some(text) if plain(&name, text).is_empty() => {}
                Some(text) => {
                    let text = plain(&name, text).to_owned();
                    set.insert(name, text);
                }
            }
        }
        Self::read(set)
    }

    fn read(left: BTreeMap<String, String>) -> Result<Self> {
        let mut reading = Reading { left, kind: Kind::Local, by: "STORAGE_TYPE", earlier: Self::default() };
        let Some(kind) = reading.kind()? else { return Ok(reading.of_no_store()) };
        reading.kind = kind;
        match kind {
            Kind::Local => reading.local()?,
            Kind::Minio => reading.minio()?,
            Kind::S3 => reading.s3()?,
            Kind::S3Compatible => reading.s3_compatible()?,
        }
        reading.policies()?;
        reading.signed_urls()?;
        Ok(reading.end())
    }
}

/// A value as those read it who know `.env` files: without quotes, or else without the comment behind it. Docker and systemd hand both on.
/// Keys are taken as they are: who knows what stands in them.
fn plain<'a>(name: &str, text: &'a str) -> &'a str {
    if name.contains("KEY") {
        return text;
    }
    let quoted = |quote: char| {
        let (inside, behind) = text.strip_prefix(quote)?.split_once(quote)?;
        let behind = behind.trim_start();
        (behind.is_empty() || behind.starts_with('#')).then_some(inside)
    };
    let is_comment = |at: usize| text[..at].chars().next_back().is_none_or(char::is_whitespace);
    let bare = || {
        let comment = text.match_indices('#').map(|(at, _)| at).find(|at| is_comment(*at));
        text[..comment.unwrap_or(text.len())].trim_end()
    };
    quoted('"').or_else(|| quoted('\'')).unwrap_or_else(bare)
}

/// Whether a variable is one of these, or sounds like one. What Kubernetes and Docker set beside a service called `minio` is not.
fn is_of_earlier_systems(name: &str, value: &str) -> bool {
    let is_like = ["STORAGE_", "MINIO_", "S3_"].iter().any(|start| name.starts_with(start));
    let is_injected =
        ["_SERVICE_", "_PORT_", "_ENV_"].iter().any(|part| name.contains(part)) || value.contains("tcp://");
    VARIABLES.contains(&name) || is_like && !is_injected
}

/// What a store is to earlier systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Local,
    Minio,
    S3,
    S3Compatible,
}

impl Kind {
    const ALL: [(&str, Self); 4] =
        [("local", Self::Local), ("minio", Self::Minio), ("s3", Self::S3), ("s3_compatible", Self::S3Compatible)];

    fn of(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase().replace('-', "_");
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Self::ALL.iter().find(|(_, kind)| kind == self).expect("all are listed");
        f.write_str(name)
    }
}

/// A variable with its value.
#[derive(Clone)]
struct Given {
    variable: &'static str,
    value: String,
}

/// What all stores of one server have in common: keys with their values and variables.
type Common = Vec<(&'static str, Value, &'static str)>;

/// The variables while they are read: each is taken out, and what is left in the end was not used.
struct Reading {
    left: BTreeMap<String, String>,
    kind: Kind,
    /// The variable that told the kind.
    by: &'static str,
    earlier: Earlier,
}

impl Reading {
    fn kind(&mut self) -> Result<Option<Kind>> {
        let mut kinds = vec![];
        for given in ["STORAGE_TYPE", "STORAGE_PROVIDER"].into_iter().filter_map(|name| self.take(name)) {
            let Some(kind) = Kind::of(&given.value) else {
                return Err(refuse(
                    format_args!("`{}` is `{}`, which is no store that is known here", given.variable, given.value),
                    "it is `local`, `minio`, `s3` or `s3_compatible`",
                ));
            };
            kinds.push((given.variable, kind));
        }
        if let [(_, first), (_, second)] = kinds[..]
            && first != second
        {
            return Err(refuse(
                format_args!("`STORAGE_TYPE` is `{first}` and `STORAGE_PROVIDER` is `{second}`"),
                "they say the same thing: unset the one that is not meant",
            ));
        }
        self.by = kinds.first().map_or("STORAGE_TYPE", |(by, _)| by);
        self.earlier.said_by = kinds.first().map(|(by, _)| *by);
        Ok(kinds.first().map(|(_, kind)| *kind))
    }

    /// Nothing says which store is meant. Credentials of AWS are there for whoever looks for them, and no word about Larder.
    fn of_no_store(mut self) -> Earlier {
        let is_of_a_store =
            |name: &str| name == "STORAGE_LOCAL_PATH" || ["MINIO_", "S3_"].iter().any(|start| name.starts_with(start));
        let names = self.left.into_keys().filter(|name| VARIABLES.contains(&&**name) && !name.starts_with("AWS_"));
        for variable in names {
            if is_of_a_store(&variable) {
                self.earlier.stray.get_or_insert_with(|| variable.clone());
            }
            let why = "neither `STORAGE_TYPE` nor `STORAGE_PROVIDER` is set".to_owned();
            self.earlier.unused.push(Unused { variable, is_early: false, why });
        }
        self.earlier
    }

    /// A directory. Relative paths are meant from where the process runs, and not from the data directory.
    fn local(&mut self) -> Result<()> {
        let root = self.take("STORAGE_LOCAL_PATH").map(|given| (absolute(&given.value), given.variable));
        self.tell_store("local", "kind", "local", self.by);
        if let Some((root, variable)) = &root {
            self.tell_store("local", "path", root.to_string_lossy().into_owned(), variable);
        }
        if let Some(given) = self.take("IMAGE_STORAGE_PATH") {
            self.images(root.map(|(root, _)| root), &given);
        }
        if self.flag("ENABLE_STORAGE_ENCRYPTION")? == Some(true) {
            self.unused("ENABLE_STORAGE_ENCRYPTION", "a directory is encrypted by its disk, or not at all");
        }
        Ok(())
    }

    /// A directory for images: a store of its own where it lies apart. A store keeps images in its folder `images` anyway.
    fn images(&mut self, root: Option<PathBuf>, given: &Given) {
        let place = absolute(&given.value);
        match root {
            Some(root) if place == root.join("images") => {}
            Some(root) if place.starts_with(&root) || root.starts_with(&place) => {
                let why =
                    format!("it lies in the store `local`, which keeps images in {}", root.join("images").display());
                self.unused(given.variable, why);
            }
            _ => {
                self.tell_store("local_images", "kind", "local", self.by);
                self.tell_store("local_images", "path", place.to_string_lossy().into_owned(), given.variable);
                self.tell("buckets.images.placement", list("local_images"), given.variable);
                self.tell("placement", list("local"), self.by);
            }
        }
    }

    /// A MinIO: each bucket of Larder's in the one of that name, or all in one.
    fn minio(&mut self) -> Result<()> {
        let endpoint = self.need("MINIO_ENDPOINT")?;
        let mut common = self.endpoint(endpoint, "MINIO_SECURE", false)?;
        common.extend(
            self.key_pair(["MINIO_ACCESS_KEY"], ["MINIO_SECRET_KEY"])?.ok_or_else(|| self.lacks("MINIO_ACCESS_KEY"))?,
        );
        common.extend(self.take("MINIO_REGION").map(|given| ("region", given.value.into(), given.variable)));
        let one = self.take("MINIO_BUCKET");
        let names = ["MINIO_BUCKET_DOCUMENTS", "MINIO_BUCKET_AUDIO", "MINIO_BUCKET_IMAGES"];
        let by = self.by;
        let mut at = |index: usize| {
            let of_its_name = || Given { variable: by, value: BUCKETS[index].into() };
            self.take(names[index]).or_else(|| one.clone()).unwrap_or_else(of_its_name)
        };
        let buckets = [at(0), at(1), at(2)];
        if self.flag("ENABLE_STORAGE_ENCRYPTION")? == Some(true) {
            let why = "earlier systems did not ask a MinIO for it either; `encryption = \"AES256\"` of its stores does, \
                       where the server has keys";
            self.unused("ENABLE_STORAGE_ENCRYPTION", why);
        }
        self.spread("minio", "bucket", &buckets, &common);
        Ok(())
    }

    /// A bucket at AWS, or wherever an endpoint says; the variables of AWS count where there are none of its own.
    fn s3(&mut self) -> Result<()> {
        let bucket = self.one_of(["S3_BUCKET", "S3_BUCKET_NAME"])?.ok_or_else(|| self.lacks("S3_BUCKET"))?;
        self.check_signature()?;
        let mut common: Common = match self.first_of(&["S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]) {
            Some(endpoint) => self.endpoint(endpoint, "S3_USE_SSL", true)?,
            None => vec![],
        };
        if self.flag("S3_USE_SSL")? == Some(false) {
            self.unused("S3_USE_SSL", "AWS is spoken to by TLS");
        }
        common.push(("bucket", bucket.value.into(), bucket.variable));
        common.extend(self.s3_credentials()?);
        let region = self.first_of(&["S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"]);
        common.extend(region.map(|given| ("region", given.value.into(), given.variable)));
        common.extend(self.path_style("S3_ADDRESSING_STYLE")?);
        common.extend(self.encryption()?);
        let folders = self.folders()?;
        self.spread("s3", "prefix", &folders, &common);
        Ok(())
    }

    /// Keys of the store's own, else those of AWS, else a profile; else whatever AWS tools would find.
    fn s3_credentials(&mut self) -> Result<Common> {
        let own = self.key_pair(["S3_ACCESS_KEY", "S3_ACCESS_KEY_ID"], ["S3_SECRET_KEY", "S3_SECRET_ACCESS_KEY"])?;
        if let Some(keys) = own {
            return Ok(keys);
        }
        if let Some(mut keys) = self.key_pair(["AWS_ACCESS_KEY_ID"], ["AWS_SECRET_ACCESS_KEY"])? {
            let token = self.take("AWS_SESSION_TOKEN");
            keys.extend(token.map(|given| ("session_token", given.value.into(), given.variable)));
            return Ok(keys);
        }
        let profile = self.take("AWS_PROFILE");
        Ok(profile.map(|given| ("profile", given.value.into(), given.variable)).into_iter().collect())
    }

    /// Folders of the one bucket; without a word about any, all lies in it as it is.
    fn folders(&mut self) -> Result<[Given; 3]> {
        let names = ["S3_BUCKET_DOCUMENTS", "S3_BUCKET_AUDIO", "S3_BUCKET_IMAGES"];
        let is_any = names.iter().any(|name| self.left.contains_key(*name));
        let by = self.by;
        let mut at = |index: usize| match self.take(names[index]) {
            Some(given) => Given { value: given.value.trim_matches('/').to_owned(), ..given },
            None if is_any => Given { variable: by, value: BUCKETS[index].into() },
            None => Given { variable: by, value: String::new() },
        };
        let folders = [at(0), at(1), at(2)];
        for one in &folders {
            let around = |other: &&Given| other.value.is_empty() || one.value.starts_with(&format!("{}/", other.value));
            if let Some(other) = folders.iter().find(|other| other.value != one.value && around(other)) {
                return Err(refuse(
                    format_args!(
                        "the folder `{}` (`{}`) lies in that of `{}`",
                        one.value, one.variable, other.variable
                    ),
                    "give each a folder beside the others', or all the same one",
                ));
            }
        }
        Ok(folders)
    }

    /// A bucket anywhere else.
    fn s3_compatible(&mut self) -> Result<()> {
        let endpoint = self.need("S3_COMPATIBLE_ENDPOINT")?;
        let mut common = self.endpoint(endpoint, "S3_COMPATIBLE_USE_SSL", true)?;
        let bucket = self.need("S3_COMPATIBLE_BUCKET_NAME")?;
        common.push(("bucket", bucket.value.into(), bucket.variable));
        let keys = self.key_pair(["S3_COMPATIBLE_ACCESS_KEY"], ["S3_COMPATIBLE_SECRET_KEY"])?;
        common.extend(keys.ok_or_else(|| self.lacks("S3_COMPATIBLE_ACCESS_KEY"))?);
        let region = self.take("S3_COMPATIBLE_REGION");
        common.extend(region.map(|given| ("region", given.value.into(), given.variable)));
        common.extend(self.path_style("S3_COMPATIBLE_ADDRESSING_STYLE")?);
        common.extend(self.encryption()?);
        let whole = || Given { variable: self.by, value: String::new() };
        self.spread("s3", "prefix", &[whole(), whole(), whole()], &common);
        Ok(())
    }

    /// One store for each place, named after the first bucket in it; where all lie in one, it has the bare name.
    fn spread(&mut self, name: &str, key: &str, places: &[Given; 3], common: &Common) {
        let first_in = |place: &Given| places.iter().position(|other| other.value == place.value).unwrap_or_default();
        let is_one = places.iter().all(|place| first_in(place) == 0);
        let store = |first: usize| if is_one { name.to_owned() } else { format!("{name}_{}", BUCKETS[first]) };
        for (index, place) in places.iter().enumerate() {
            let first = first_in(place);
            if first == index {
                self.tell_store(&store(first), "kind", "s3", self.by);
                common.iter().for_each(|(key, value, by)| self.tell_store(&store(first), key, value.clone(), by));
                if !place.value.is_empty() {
                    self.tell_store(&store(first), key, place.value.clone(), place.variable);
                }
                self.tell_store(&store(first), "create_bucket", true, self.by);
            }
            if !is_one {
                self.tell(format!("buckets.{}.placement", BUCKETS[index]), list(&store(first)), place.variable);
            }
        }
        if !is_one {
            // Buckets of one's own, which earlier systems don't have.
            self.tell("placement", list(&store(0)), self.by);
        }
    }

    /// What buckets take, and for how long they keep what was deleted.
    fn policies(&mut self) -> Result<()> {
        let all = self.largest_file()?;
        let of_images = self.mebibytes("MAX_IMAGE_SIZE_MB")?.or(all);
        for bucket in BUCKETS {
            if let Some((bytes, variable)) = if bucket == "images" { of_images } else { all } {
                self.tell(format!("buckets.{bucket}.max_bytes"), bytes, variable);
            }
        }
        if let Some(given) = self.take("SUPPORTED_IMAGE_TYPES") {
            self.tell("buckets.images.types", Value::from(image_types(&given)?), given.variable);
        }
        if let Some(given) = self.take("IMAGE_THUMBNAIL_SIZE") {
            self.tell("presets.thumb", thumbnail(&given)?, given.variable);
        }
        if let Some(given) = self.take("STORAGE_RETENTION_DAYS") {
            let days: u32 = given.value.parse().map_err(|_| wrong(&given, "a number of days, or 0 for ever"))?;
            let days = if days == 0 { FOR_EVER_DAYS } else { days };
            BUCKETS.iter().for_each(|bucket| self.tell(format!("buckets.{bucket}.trash_days"), days, given.variable));
            // What nothing carries out is told as well.
            self.left.insert(given.variable.into(), given.value);
        }
        Ok(())
    }

    /// How long signed URLs work.
    fn signed_urls(&mut self) -> Result<()> {
        let Some(given) = self.take("STORAGE_PRESIGNED_URL_EXPIRY") else { return Ok(()) };
        let seconds = given.value.parse().ok().filter(|seconds| SIGNED_URL_SECONDS.contains(seconds));
        let seconds: u64 = seconds.ok_or_else(|| wrong(&given, "a number of seconds, 60 to 604800"))?;
        self.tell("limits.signed_url_seconds", seconds, given.variable);
        Ok(())
    }

    fn largest_file(&mut self) -> Result<Option<(u64, &'static str)>> {
        let in_bytes = match self.take("MAX_UPLOAD_SIZE") {
            Some(given) => match parse_size(&given.value).filter(|bytes| *bytes > 0) {
                Some(bytes) => Some((bytes, given.variable)),
                None => return Err(wrong(&given, "a number of bytes, at least 1")),
            },
            None => None,
        };
        match (in_bytes, self.mebibytes("MAX_FILE_SIZE_MB")?) {
            (Some((first, _)), Some((second, _))) if first != second => Err(refuse(
                format_args!("`MAX_UPLOAD_SIZE` is {first} bytes and `MAX_FILE_SIZE_MB` comes to {second}"),
                "they say the same thing: unset the one that is not meant",
            )),
            (first, second) => Ok(first.or(second)),
        }
    }

    /// What earlier systems call MB has 1,048,576 bytes.
    fn mebibytes(&mut self, name: &'static str) -> Result<Option<(u64, &'static str)>> {
        let Some(given) = self.take(name) else { return Ok(None) };
        let bytes =
            given.value.parse().ok().filter(|count| *count > 0).and_then(|count: u64| count.checked_mul(1 << 20));
        bytes.map(|bytes| Some((bytes, name))).ok_or_else(|| wrong(&given, "a whole number of MB, at least 1"))
    }

    fn check_signature(&mut self) -> Result<()> {
        match self.take("S3_SIGNATURE_VERSION") {
            Some(given) if !["s3v4", "v4"].contains(&&*given.value.to_ascii_lowercase()) => Err(refuse(
                format_args!(
                    "`{}` is `{}`, and only version 4 of the signatures is spoken",
                    given.variable, given.value
                ),
                "set it to `s3v4`, which every server of the last ten years takes, or unset it",
            )),
            _ => Ok(()),
        }
    }

    /// The URL of a server. A variable beside it says whether it is spoken to by TLS, unless the URL does.
    fn endpoint(&mut self, given: Given, tls: &'static str, is_tls: bool) -> Result<Common> {
        let Given { variable, value } = given;
        if value.contains('@') {
            return Err(refuse(
                format_args!("`{variable}` names a user"),
                "keys have variables of their own: take them out of it",
            ));
        }
        let told = self.flag(tls)?;
        let scheme = if told.unwrap_or(is_tls) { "https" } else { "http" };
        let url = match value.split_once("://") {
            None => format!("{scheme}://{value}"),
            Some((own, rest)) => {
                let own = own.to_ascii_lowercase();
                if !["http", "https"].contains(&&*own) {
                    return Err(refuse(
                        format_args!("`{variable}` begins with `{own}://`"),
                        "it is an `http://` or `https://` URL",
                    ));
                }
                if told.is_some() && own != scheme {
                    return Err(refuse(
                        format_args!("`{variable}` begins with `{own}://`, and `{tls}` says `{scheme}`"),
                        format_args!("take one of them out: `{tls}`, or `{own}://`"),
                    ));
                }
                format!("{own}://{rest}")
            }
        };
        Ok(vec![("endpoint", url.trim_end_matches('/').into(), variable)])
    }

    /// A pair of keys, each by any of its names; `None` where there is neither.
    fn key_pair<const N: usize>(
        &mut self,
        ids: [&'static str; N],
        secrets: [&'static str; N],
    ) -> Result<Option<Common>> {
        match (self.one_of(ids)?, self.one_of(secrets)?) {
            (Some(id), Some(secret)) => Ok(Some(vec![
                ("access_key_id", id.value.into(), id.variable),
                ("secret_access_key", secret.value.into(), secret.variable),
            ])),
            (None, None) => Ok(None),
            (id, secret) => {
                let is_there = id.or(secret).map_or("", |given| given.variable);
                let missing = if ids.contains(&is_there) { secrets[0] } else { ids[0] };
                Err(refuse(
                    format_args!("`{is_there}` is set and `{missing}` is not: keys are a pair"),
                    format_args!("set `{missing}` too, or unset `{is_there}`"),
                ))
            }
        }
    }

    fn path_style(&mut self, name: &'static str) -> Result<Option<(&'static str, Value, &'static str)>> {
        let Some(given) = self.take(name) else { return Ok(None) };
        match given.value.to_ascii_lowercase().as_str() {
            "path" => Ok(Some(("path_style", true.into(), name))),
            "virtual" => Ok(Some(("path_style", false.into(), name))),
            "auto" => Ok(None),
            _ => Err(wrong(&given, "`path`, `virtual` or `auto`")),
        }
    }

    fn encryption(&mut self) -> Result<Option<(&'static str, Value, &'static str)>> {
        let name = "ENABLE_STORAGE_ENCRYPTION";
        Ok((self.flag(name)? == Some(true)).then(|| ("encryption", "AES256".into(), name)))
    }

    fn flag(&mut self, name: &'static str) -> Result<Option<bool>> {
        let Some(given) = self.take(name) else { return Ok(None) };
        match given.value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Some(true)),
            "false" | "0" | "no" | "off" => Ok(Some(false)),
            _ => Err(wrong(&given, "`true` or `false`")),
        }
    }

    fn take(&mut self, variable: &'static str) -> Option<Given> {
        debug_assert!(VARIABLES.contains(&variable), "{variable} is listed");
        self.left.remove(variable).map(|value| Given { variable, value })
    }

    fn need(&mut self, variable: &'static str) -> Result<Given> {
        self.take(variable).ok_or_else(|| self.lacks(variable))
    }

    fn lacks(&self, variable: &str) -> anyhow::Error {
        let (by, kind) = (self.by, self.kind);
        refuse(
            format_args!("`{by}` is `{kind}`, and `{variable}` is not set"),
            format_args!("set `{variable}`, or unset `{by}` and name the stores in larder.toml"),
        )
    }

    /// What is told by any of these; two that differ contradict each other.
    fn one_of<const N: usize>(&mut self, names: [&'static str; N]) -> Result<Option<Given>> {
        let given: Vec<_> = names.into_iter().filter_map(|name| self.take(name)).collect();
        if let [first, second, ..] = &given[..]
            && first.value != second.value
        {
            return Err(refuse(
                format_args!("`{}` and `{}` are set to different values", first.variable, second.variable),
                "they say the same thing: unset the one that is not meant",
            ));
        }
        Ok(given.into_iter().next())
    }

    /// The first of these that is set; those behind it are left, unless they say the same.
    fn first_of(&mut self, names: &[&'static str]) -> Option<Given> {
        let (index, given) = names.iter().enumerate().find_map(|(index, name)| Some((index, self.take(name)?)))?;
        self.left.retain(|name, value| !(names[index + 1..].contains(&&**name) && *value == given.value));
        Some(given)
    }

    fn tell_store(&mut self, store: &str, key: &str, value: impl Into<Value>, by: &'static str) {
        self.earlier.stores.insert(store.to_owned());
        self.tell(format!("stores.{store}.{key}"), value, by);
    }

    fn tell(&mut self, key: impl Into<String>, value: impl Into<Value>, variable: &'static str) {
        self.earlier.keys.push(Told { key: key.into(), value: value.into(), variable });
    }

    fn unused(&mut self, variable: &str, why: impl Into<String>) {
        self.earlier.unused.push(Unused { variable: variable.into(), is_early: false, why: why.into() });
    }

    /// What is left was used by nothing.
    fn end(mut self) -> Earlier {
        let (by, kind) = (self.by, self.kind);
        let told =
            |list: &[(&str, &'static str)], name: &str| list.iter().find(|(one, _)| *one == name).map(|(_, why)| *why);
        for variable in self.left.into_keys() {
            let early = told(NOT_YET, &variable);
            let why = match early.or_else(|| told(NEVER, &variable)) {
                Some(why) => why.to_owned(),
                None if variable.starts_with("AWS_") && kind == Kind::S3 => "another variable goes before it".into(),
                None if VARIABLES.contains(&&*variable) => format!("`{by}` is `{kind}`"),
                None => "nothing is known by that name".into(),
            };
            self.earlier.unused.push(Unused { variable, is_early: early.is_some(), why });
        }
        self.earlier
    }
}

fn list(store: &str) -> Value {
    Value::from(vec![store])
}

/// Where a path leads from here.
fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| Path::new(path).into())
}

fn wrong(given: &Given, right: &str) -> anyhow::Error {
    refuse(format_args!("`{}` is `{}`", given.variable, given.value), format_args!("it is {right}"))
}

/// The preset that thumbnails of so many pixels are: one number, or width and height.
fn thumbnail(given: &Given) -> Result<String> {
    let text = given.value.trim_matches(|c: char| matches!(c, '(' | ')' | '[' | ']'));
    let sides: Option<Vec<u32>> = text.split(['x', ',']).map(|side| side.trim().parse().ok()).collect();
    let is_good = |side: u32| (1..=4096).contains(&side);
    let (width, height) = match sides.as_deref() {
        Some([side]) => (*side, *side),
        Some([width, height]) => (*width, *height),
        _ => (0, 0),
    };
    match is_good(width) && is_good(height) {
        true => Ok(format!("w_{width},h_{height},f_auto")),
        false => Err(wrong(given, "a number of pixels up to 4096, or two, as `320x200`")),
    }
}

/// Content types of a list such as `jpg,png`, or `["jpg", "png"]`.
fn image_types(given: &Given) -> Result<Vec<String>> {
    let names = given.value.split(|c: char| c == ',' || c.is_whitespace() || "[]\"'".contains(c));
    let mut types = vec![];
    for name in names.filter(|name| !name.is_empty()) {
        let lower = name.trim_start_matches('.').to_ascii_lowercase();
        let short = lower.strip_prefix("image/").unwrap_or(&lower);
        let content_type = match IMAGE_TYPES.iter().find(|(known, _)| *known == short) {
            Some((_, content_type)) => (*content_type).to_owned(),
            None if lower.contains('/') => lower,
            None => {
                return Err(refuse(
                    format_args!("`{name}` in `{}` is no type of images that is known here", given.variable),
                    "write it as a content type, such as `image/png`",
                ));
            }
        };
        if !types.contains(&content_type) {
            types.push(content_type);
        }
    }
    if types.is_empty() { Err(wrong(given, "a list of types, such as `jpg,png`")) } else { Ok(types) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &str) -> Result<Earlier> {
        let pair = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Earlier::read(variables.split_whitespace().filter_map(pair).collect())
    }

    /// The keys as `key=value<variable`, without those of which kind the stores are and that buckets are made.
    fn keys(variables: &str) -> Vec<String> {
        let earlier = read(variables).unwrap();
        let told = earlier.keys.iter().map(|told| {
            let value = figment::Figment::from(told).extract_inner::<serde_json::Value>(&told.key).unwrap();
            format!("{}={value}<{}", told.key, told.variable)
        });
        told.filter(|told| !told.contains(".kind=") && !told.contains(".create_bucket=")).collect()
    }

    fn assert_unused(variables: &str, name: &str, why: &str) {
        let unused = read(variables).unwrap().unused;
        let one = unused.iter().find(|one| one.variable == name);
        assert!(one.is_some_and(|one| one.why.contains(why)), "{variables}: {unused:?}");
    }

    const MINIO: &str = "STORAGE_TYPE=minio MINIO_ENDPOINT=m:9000 MINIO_ACCESS_KEY=id MINIO_SECRET_KEY=hush-hush";
    const S3: &str = "STORAGE_TYPE=s3 S3_BUCKET=acme";
    const COMPATIBLE: &str = "STORAGE_TYPE=s3_compatible S3_COMPATIBLE_ENDPOINT=b2.example S3_COMPATIBLE_ACCESS_KEY=id \
                              S3_COMPATIBLE_SECRET_KEY=hush-hush S3_COMPATIBLE_BUCKET_NAME=acme";

    #[test]
    fn every_variable_stands_in_the_documentation() {
        const TOLD: &str = include_str!("../../../../docs/configuration.md");
        let table = TOLD.split("## Variables of earlier systems").nth(1).unwrap().split("\n## ").next().unwrap();
        for variable in VARIABLES {
            let name = format!("`{variable}`");
            let is_told = |line: &str| line.split('|').nth(1).is_some_and(|cell| cell.contains(&name));
            assert_eq!(table.lines().filter(|line| is_told(line)).count(), 1, "{name}");
        }
    }

    #[test]
    fn nothing_counts_before_something_says_what_the_store_is() {
        let earlier = read("MINIO_ENDPOINT=m:9000 MAX_UPLOAD_SIZE=1 AWS_REGION=x MINIO_ROOT_USER=x").unwrap();
        assert!(earlier.keys.is_empty() && earlier.said_by.is_none());
        assert_eq!(earlier.stray.as_deref(), Some("MINIO_ENDPOINT"));
        let unused: Vec<_> = earlier.unused.iter().map(|one| &*one.variable).collect();
        assert_eq!(unused, ["MAX_UPLOAD_SIZE", "MINIO_ENDPOINT"]);
        assert_eq!(read("MAX_UPLOAD_SIZE=1 AWS_REGION=x").unwrap().stray, None);
    }

    #[test]
    fn each_bucket_of_a_minio_is_a_store_and_all_in_one_are_one() {
        let placed = |variables: &str| -> Vec<String> {
            let keys = keys(&format!("{MINIO} {variables}"));
            keys.into_iter().filter(|key| key.contains("bucket=") || key.contains("placement=")).collect()
        };
        assert_eq!(placed("MINIO_BUCKET=acme"), ["stores.minio.bucket=\"acme\"<MINIO_BUCKET"]);
        assert_eq!(
            placed("MINIO_BUCKET_DOCUMENTS=a MINIO_BUCKET_AUDIO=b MINIO_BUCKET_IMAGES=a"),
            [
                "stores.minio_documents.bucket=\"a\"<MINIO_BUCKET_DOCUMENTS",
                "buckets.documents.placement=[\"minio_documents\"]<MINIO_BUCKET_DOCUMENTS",
                "stores.minio_audio.bucket=\"b\"<MINIO_BUCKET_AUDIO",
                "buckets.audio.placement=[\"minio_audio\"]<MINIO_BUCKET_AUDIO",
                "buckets.images.placement=[\"minio_documents\"]<MINIO_BUCKET_IMAGES",
                "placement=[\"minio_documents\"]<STORAGE_TYPE",
            ]
        );
        // What earlier systems fall back to.
        assert!(placed("").contains(&"stores.minio_audio.bucket=\"audio\"<STORAGE_TYPE".into()));
    }

    #[test]
    fn a_bucket_of_s3_is_one_store_and_has_one_for_each_folder_that_is_named() {
        assert_eq!(keys("STORAGE_TYPE=S3 S3_BUCKET_NAME=acme"), ["stores.s3.bucket=\"acme\"<S3_BUCKET_NAME"]);
        let named = keys(&format!("{S3} S3_BUCKET_IMAGES=pics/"));
        for key in [
            "stores.s3_documents.bucket=\"acme\"<S3_BUCKET",
            "stores.s3_images.prefix=\"pics\"<S3_BUCKET_IMAGES",
            "stores.s3_audio.prefix=\"audio\"<STORAGE_TYPE",
            "buckets.images.placement=[\"s3_images\"]<S3_BUCKET_IMAGES",
        ] {
            assert!(named.contains(&key.into()), "{key}: {named:?}");
        }
    }

    #[test]
    fn a_server_is_spoken_to_as_its_url_or_a_variable_beside_it_says() {
        let endpoint = |variables: &str| keys(variables).into_iter().find(|key| key.contains(".endpoint=")).unwrap();
        for (variables, url) in [
            (MINIO.to_owned(), "http://m:9000"),
            (format!("{MINIO} MINIO_SECURE=True"), "https://m:9000"),
            (format!("{S3} S3_ENDPOINT=HTTP://s.example/"), "http://s.example"),
            (format!("{S3} S3_ENDPOINT=s.example"), "https://s.example"),
            (format!("{S3} S3_ENDPOINT=s.example S3_USE_SSL=0"), "http://s.example"),
            (format!("{S3} AWS_ENDPOINT_URL=https://a AWS_ENDPOINT_URL_S3=https://b"), "https://b"),
            (COMPATIBLE.to_owned(), "https://b2.example"),
            (format!("{COMPATIBLE} S3_COMPATIBLE_USE_SSL=off"), "http://b2.example"),
        ] {
            assert!(endpoint(&variables).contains(&format!("=\"{url}\"<")), "{variables}: {}", endpoint(&variables));
        }
        let of_its_own = COMPATIBLE.replace("b2.example", "http://localhost:9000 S3_COMPATIBLE_USE_SSL=true");
        assert!(read(&of_its_own).err().unwrap().to_string().contains("`S3_COMPATIBLE_USE_SSL` says `https`"));
        assert_unused(&format!("{S3} S3_USE_SSL=false"), "S3_USE_SSL", "by TLS");
    }

    #[test]
    fn variables_of_aws_count_behind_a_stores_own() {
        let ambient = "AWS_ACCESS_KEY_ID=theirs AWS_SECRET_ACCESS_KEY=hush AWS_SESSION_TOKEN=hush AWS_REGION=r AWS_DEFAULT_REGION=d";
        let theirs = keys(&format!("{S3} {ambient}"));
        for key in [
            "stores.s3.access_key_id=\"theirs\"<AWS_ACCESS_KEY_ID",
            "stores.s3.secret_access_key=\"hush\"<AWS_SECRET_ACCESS_KEY",
            "stores.s3.session_token=\"hush\"<AWS_SESSION_TOKEN",
            "stores.s3.region=\"r\"<AWS_REGION",
        ] {
            assert!(theirs.contains(&key.into()), "{key}: {theirs:?}");
        }
        let own = format!("{S3} {ambient} S3_ACCESS_KEY_ID=own S3_SECRET_ACCESS_KEY=s S3_REGION=o");
        let told = keys(&own);
        assert!(told.contains(&"stores.s3.access_key_id=\"own\"<S3_ACCESS_KEY_ID".into()), "{told:?}");
        assert!(told.contains(&"stores.s3.region=\"o\"<S3_REGION".into()), "{told:?}");
        assert!(!told.iter().any(|key| key.contains("AWS_")), "{told:?}");
        assert_unused(&own, "AWS_SESSION_TOKEN", "goes before it");
        assert!(keys(&format!("{S3} AWS_PROFILE=work")).contains(&"stores.s3.profile=\"work\"<AWS_PROFILE".into()));
    }

    #[test]
    fn the_rest_of_a_server_is_read() {
        let style = |style: &str| keys(&format!("{COMPATIBLE} S3_COMPATIBLE_ADDRESSING_STYLE={style}"));
        let is = |key: &str, keys: Vec<String>| keys.iter().any(|told| told.starts_with(key));
        assert!(is("stores.s3.path_style=true<", style("path")));
        assert!(is("stores.s3.path_style=false<", style("Virtual")));
        assert!(!is("stores.s3.path_style", style("auto")));
        let encrypted = |from: &str| keys(&format!("{from} ENABLE_STORAGE_ENCRYPTION=true"));
        assert!(is("stores.s3.encryption=\"AES256\"<ENABLE_STORAGE_ENCRYPTION", encrypted(S3)));
        assert!(
            is("stores.s3.encryption=", encrypted(COMPATIBLE)) && !is("stores.minio.encryption=", encrypted(MINIO))
        );
        assert_unused(
            &format!("{MINIO} ENABLE_STORAGE_ENCRYPTION=1"),
            "ENABLE_STORAGE_ENCRYPTION",
            "did not ask a MinIO",
        );
        assert_unused("STORAGE_TYPE=local ENABLE_STORAGE_ENCRYPTION=1", "ENABLE_STORAGE_ENCRYPTION", "by its disk");
        read(&format!("{S3} S3_SIGNATURE_VERSION=s3v4")).unwrap();
    }

    #[test]
    fn images_of_a_directory_have_a_store_of_their_own_where_they_lie_apart() {
        let local = "STORAGE_TYPE=local STORAGE_LOCAL_PATH=/srv/files";
        let apart = keys(&format!("{local} IMAGE_STORAGE_PATH=/srv/images"));
        assert!(apart.contains(&"stores.local_images.path=\"/srv/images\"<IMAGE_STORAGE_PATH".into()), "{apart:?}");
        assert!(apart.contains(&"buckets.images.placement=[\"local_images\"]<IMAGE_STORAGE_PATH".into()), "{apart:?}");
        assert!(apart.contains(&"placement=[\"local\"]<STORAGE_TYPE".into()), "{apart:?}");
        let inside = format!("{local} IMAGE_STORAGE_PATH=/srv/files/pictures");
        assert_unused(&inside, "IMAGE_STORAGE_PATH", "/srv/files/images");
        assert_eq!(keys(&inside).len(), 1);
        let there = read(&format!("{local} IMAGE_STORAGE_PATH=/srv/files/images")).unwrap();
        assert!(there.unused.is_empty(), "{:?}", there.unused);
        assert_unused(&format!("{S3} IMAGE_STORAGE_PATH=images"), "IMAGE_STORAGE_PATH", "`STORAGE_TYPE` is `s3`");
    }

    #[test]
    fn types_of_images_are_named_as_earlier_systems_do() {
        let types = |text: &str| image_types(&Given { variable: "SUPPORTED_IMAGE_TYPES", value: text.into() });
        assert_eq!(types("jpg, JPEG,.png").unwrap(), ["image/jpeg", "image/png"]);
        assert_eq!(
            types("[\"image/jpg\", \"svg\", \"image/jxl\"]").unwrap(),
            ["image/jpeg", "image/svg+xml", "image/jxl"]
        );
        assert!(types("jpg,pdf").unwrap_err().to_string().contains("`pdf`"));
        assert!(types(",").is_err());
    }

    #[test]
    fn the_size_of_thumbnails_is_the_preset_of_that_name() {
        let recipe = |text: &str| thumbnail(&Given { variable: "IMAGE_THUMBNAIL_SIZE", value: text.into() });
        assert_eq!(recipe("300").unwrap(), "w_300,h_300,f_auto");
        for text in ["320x200", "320,200", "(320, 200)", "[320,200]"] {
            assert_eq!(recipe(text).unwrap(), "w_320,h_200,f_auto", "{text}");
        }
        for text in ["0", "x", "300px", "5000", "1,2,3"] {
            assert!(recipe(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_used_is_told_in_one_line_what_is_to_come_first() {
        let told = in_one_line(
            &read(&format!("{MINIO} S3_REGION=r S3_BUCKET=b STORAGE_RETENTION_DAYS=3 MINIO_ROOT_USER=u"))
                .unwrap()
                .unused,
        );
        assert_eq!(
            told.unwrap(),
            "not used yet: `STORAGE_RETENTION_DAYS` (it is `trash_days`, and nothing ends by itself); not used: `MINIO_ROOT_USER` (nothing is known by that \
             name); not used: `S3_BUCKET`, `S3_REGION` (`STORAGE_TYPE` is `minio`)"
        );
        assert_eq!(in_one_line(&[]), None);
    }

    #[test]
    fn values_are_read_without_quotes_and_comments_and_keys_as_they_are() {
        for (name, text, value) in [
            ("S3_ENDPOINT", "# empty for AWS", ""),
            ("MAX_UPLOAD_SIZE", "10485760     # 10 MB", "10485760"),
            ("S3_BUCKET", "\"acme #1\"", "acme #1"),
            ("S3_BUCKET", "'acme'", "acme"),
            ("S3_BUCKET", "acme#1", "acme#1"),
            ("STORAGE_LOCAL_PATH", "\"/srv/files\" # the disk", "/srv/files"),
            ("STORAGE_LOCAL_PATH", "'/srv/a # b'\t# the disk", "/srv/a # b"),
            ("STORAGE_LOCAL_PATH", "./storage\t# the disk", "./storage"),
            ("STORAGE_LOCAL_PATH", "/srv/\"old\" files", "/srv/\"old\" files"),
            ("S3_SECRET_KEY", "\"a #b", "\"a #b"),
        ] {
            assert_eq!(plain(name, text), value, "{name}={text}");
        }
    }

    #[test]
    fn what_kubernetes_sets_beside_a_service_is_no_word_of_anybody() {
        for (name, value, is) in [
            ("MINIO_ENDPOINT", "minio:9000", true),
            ("MINIO_ROOT_USER", "x", true),
            ("MINIO_SERVICE_HOST", "10.0.0.7", false),
            ("MINIO_PORT", "tcp://10.0.0.7:9000", false),
            ("MINIO_PORT_9000_TCP_ADDR", "10.0.0.7", false),
            ("FLUTTER_STORAGE_BASE_URL", "x", false),
        ] {
            assert_eq!(is_of_earlier_systems(name, value), is, "{name}");
        }
    }

    #[test]
    fn what_contradicts_itself_or_is_missing_is_refused_by_name_and_tells_no_secret() {
        let without = |from: &str, name: &str| -> String {
            from.split_whitespace().filter(|one| !one.starts_with(name)).collect::<Vec<_>>().join(" ")
        };
        for (variables, words) in [
            (
                "STORAGE_TYPE=s3 STORAGE_PROVIDER=minio".into(),
                &["`STORAGE_TYPE` is `s3`", "`STORAGE_PROVIDER` is `minio`"][..],
            ),
            ("STORAGE_TYPE=ftp".into(), &["`ftp`", "`s3_compatible`"]),
            (without(MINIO, "MINIO_ENDPOINT"), &["`STORAGE_TYPE` is `minio`", "`MINIO_ENDPOINT` is not set"]),
            (without(MINIO, "MINIO_SECRET"), &["`MINIO_ACCESS_KEY` is set", "`MINIO_SECRET_KEY` is not"]),
            (without(&without(MINIO, "MINIO_SECRET"), "MINIO_ACCESS"), &["`MINIO_ACCESS_KEY` is not set"]),
            (format!("{MINIO} MINIO_SECURE=maybe"), &["`MINIO_SECURE` is `maybe`", "`true` or `false`"]),
            (MINIO.replace("m:9000", "id:hush-hush@m"), &["`MINIO_ENDPOINT` names a user"]),
            (MINIO.replace("m:9000", "ftp://m"), &["`ftp://`"]),
            ("STORAGE_TYPE=s3 S3_BUCKET_IMAGES=x".into(), &["`S3_BUCKET` is not set"]),
            (format!("{S3} S3_BUCKET_NAME=other"), &["`S3_BUCKET` and `S3_BUCKET_NAME`"]),
            (format!("{S3} S3_ACCESS_KEY=a S3_ACCESS_KEY_ID=b S3_SECRET_KEY=hush-hush"), &["`S3_ACCESS_KEY_ID`"]),
            (
                format!("{S3} S3_ACCESS_KEY=a S3_SECRET_KEY=hush-hush S3_SECRET_ACCESS_KEY=hush-other"),
                &["`S3_SECRET_KEY` and"],
            ),
            (
                format!("{S3} S3_ACCESS_KEY=a AWS_SECRET_ACCESS_KEY=hush-hush"),
                &["`S3_ACCESS_KEY` is set", "`S3_SECRET_KEY` is not"],
            ),
            (format!("{S3} AWS_SECRET_ACCESS_KEY=hush-hush"), &["`AWS_ACCESS_KEY_ID` is not"]),
            (format!("{S3} S3_SIGNATURE_VERSION=s3"), &["`S3_SIGNATURE_VERSION` is `s3`", "`s3v4`"]),
            (format!("{S3} S3_BUCKET_AUDIO=all S3_BUCKET_IMAGES=all/images"), &["`all/images`", "`S3_BUCKET_AUDIO`"]),
            (without(COMPATIBLE, "S3_COMPATIBLE_BUCKET"), &["`S3_COMPATIBLE_BUCKET_NAME` is not set"]),
            (format!("{COMPATIBLE} S3_COMPATIBLE_ADDRESSING_STYLE=x"), &["`path`, `virtual` or `auto`"]),
            ("STORAGE_TYPE=local MAX_UPLOAD_SIZE=1048576 MAX_FILE_SIZE_MB=2".into(), &["1048576 bytes", "2097152"]),
            ("STORAGE_TYPE=local MAX_UPLOAD_SIZE=0".into(), &["`MAX_UPLOAD_SIZE` is `0`"]),
            ("STORAGE_TYPE=local MAX_IMAGE_SIZE_MB=big".into(), &["`MAX_IMAGE_SIZE_MB` is `big`"]),
            ("STORAGE_TYPE=local STORAGE_RETENTION_DAYS=-1".into(), &["`STORAGE_RETENTION_DAYS` is `-1`"]),
            ("STORAGE_TYPE=local STORAGE_PRESIGNED_URL_EXPIRY=1h".into(), &["`STORAGE_PRESIGNED_URL_EXPIRY` is `1h`"]),
        ] {
            let error = read(&variables).err().unwrap_or_else(|| panic!("{variables}")).to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{variables}: {error}");
            assert!(!error.contains("hush"), "{variables}: {error}");
        }
    }
}
