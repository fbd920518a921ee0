//! [`S3Store::examine`]: all that a store needs of its server, its network and its credentials, tried one by one, each with what mends it.
//!
//! It goes from what everything rests on to what only some rests on, and ends where nothing further could be told from an answer. What
//! is written lies below `.larder/probe/` and is deleted in the end; where nothing may be written, nothing is.

use crate::{
    Misconfigured, Profile, S3Store,
    fault::{Fault, Outcome},
    probe::FOLDER,
};
use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut},
    },
    error::BoxError,
    primitives::ByteStream,
};
use futures_util::future::{self, Either};
use larder_storage_core::{Bound, Error, ErrorKind, Key, Op, Presign as _, PresignMethod, SentAs};
use std::{
    error::Error as _,
    fmt::Display,
    net::ToSocketAddrs,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// By more than this a server may refuse what was signed: a third of what S3 allows.
const SKEW_MAX_SECONDS: u64 = 300;
/// For how long a URL works that is tried out.
const LIFETIME: Duration = Duration::from_secs(60);
const BYTES: &[u8] = b"larder";
/// A browser's page that stands for any.
const ORIGIN: &str = "https://larder.invalid";

/// What may be done to a store to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Read, and write nothing.
    Read,
    /// Write what is new. What was tried is deleted where the server lets it.
    Create,
    /// Everything; what the server can do is found out anew.
    Everything,
}

/// How well it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Good,
    /// It works, and not as well as it could, or not as safely.
    Doubtful,
    /// Something does not work.
    Bad,
}

/// One thing that was tried.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was tried, in a word or two.
    pub check: &'static str,
    /// How well it is.
    pub health: Health,
    /// What was found.
    pub measured: String,
    /// What mends it, in one line; empty where nothing is to be done.
    pub advice: String,
    /// How long it took.
    pub latency: Duration,
}

/// What an examination came to.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// In the order in which they were tried.
    pub findings: Vec<Finding>,
    /// What the server can do, as far as it is known.
    pub profile: Option<Arc<Profile>>,
}

impl S3Store {
    /// Tries all that a store needs, as far as `extent` allows. Makes no bucket. Some twenty requests, and those of
    /// [`S3Store::renew_profile`] where everything is tried.
    pub async fn examine(&self, extent: Extent) -> Examined {
        let key = Key::new(format!("{FOLDER}{}/examined", self.inner.token())).expect("a folder and a word are a key");
        let mut examiner =
            Examiner { store: self, extent, key, is_put: false, begun: Instant::now(), examined: Examined::default() };
        examiner.name().await;
        if examiner.server().await {
            examiner.permissions().await;
            examiner.abilities().await;
            examiner.outside().await;
            examiner.delete().await;
        }
        examiner.examined
    }
}

/// What a line says.
struct Told(Health, String, String);

fn good(measured: impl Display) -> Told {
    Told(Health::Good, measured.to_string(), String::new())
}

fn doubtful(measured: impl Display, advice: impl Display) -> Told {
    Told(Health::Doubtful, measured.to_string(), advice.to_string())
}

fn bad(measured: impl Display, advice: impl Display) -> Told {
    Told(Health::Bad, measured.to_string(), advice.to_string())
}

struct Examiner<'a> {
    store: &'a S3Store,
    extent: Extent,
    /// Of the object that is written to find out.
    key: Key,
    is_put: bool,
    /// When the last line was told.
    begun: Instant,
    examined: Examined,
}

impl Examiner<'_> {
    fn tell(&mut self, check: &'static str, Told(health, measured, advice): Told) {
        let latency = self.begun.elapsed();
        self.begun = Instant::now();
        self.examined.findings.push(Finding { check, health, measured, advice, latency });
    }

    /// A request's outcome as a line.
    fn tell_outcome<T>(&mut self, check: &'static str, action: &str, outcome: Outcome<T>) -> Option<T> {
        match outcome {
            Ok(answer) => {
                self.tell(check, good("allowed"));
                Some(answer)
            }
            Err(fault) => {
                let error = self.error(fault);
                let advice = match error.kind() {
                    ErrorKind::PermissionDenied => format!("allow `{action}` in the policy of these credentials"),
                    ErrorKind::Unsupported if self.store.inner.encryption().0.is_some() => {
                        Misconfigured::NotEncrypted.advice()
                    }
                    ErrorKind::Unsupported => {
                        "Larder needs it: take a server, or a version of it, that can do it".into()
                    }
                    _ => advice(&error),
                };
                self.tell(check, bad(cause(&error), advice));
                None
            }
        }
    }

    fn error(&self, fault: Fault) -> Error {
        fault.at(Op::Open, self.store.inner.bucket(), self.store)
    }

    /// Where the server is by name.
    async fn name(&mut self) {
        let (host, port) = self.place();
        let asked = (host.clone(), port);
        let found = tokio::task::spawn_blocking(move || asked.to_socket_addrs().map(Iterator::collect)).await;
        let told = match found.map(|found| found.map(|all: Vec<_>| (all.first().copied(), all.len()))) {
            Ok(Ok((Some(first), 1))) => good(format_args!("{host} is {}", first.ip())),
            Ok(Ok((Some(first), count))) => good(format_args!("{host} is {}, and {} more", first.ip(), count - 1)),
            Ok(Ok((None, _))) => bad(format_args!("{host} has no address"), "check `endpoint`, and this machine's DNS"),
            Ok(Err(error)) => {
                bad(format_args!("{host}: {error}"), "check `endpoint`, `path_style`, and this machine's DNS")
            }
            Err(error) => bad(error, "try again"),
        };
        self.tell("name", told);
    }

    /// The host that requests go to, with its port.
    fn place(&self) -> (String, u16) {
        let inner = &self.store.inner;
        let aws = || format!("https://s3.{}.amazonaws.com", inner.clients.region);
        let endpoint = inner.options.endpoint.clone().unwrap_or_else(aws);
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", &endpoint));
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port.parse().ok()),
            _ => (authority, None),
        };
        let host = host.trim_matches(['[', ']']);
        let host = if self.is_path_style() { host.to_owned() } else { format!("{}.{host}", inner.bucket()) };
        (host, port.unwrap_or(if scheme == "http" { 80 } else { 443 }))
    }

    fn is_path_style(&self) -> bool {
        let options = &self.store.inner.options;
        options.path_style.unwrap_or(!options.is_aws())
    }

    /// All that the answer to one request tells: whether the server speaks with us, and about this bucket.
    async fn server(&mut self) -> bool {
        let inner = self.store.inner.clone();
        let ask = || async {
            let page = inner.client().list_objects_v2().bucket(inner.bucket()).prefix(&inner.folder).max_keys(1);
            page.send().await.map(drop).map_err(|error| inner.fault(error))
        };
        let answer = inner.read(ask).await;
        let is_answered = answer.as_ref().err().is_none_or(|fault| fault.status.is_some());
        let error = answer.err().map(|fault| self.error(fault));
        let mistake = error.as_ref().and_then(Misconfigured::of).cloned();
        if let (Some(error), Some(Misconfigured::NoCredentials)) = (&error, &mistake) {
            self.tell("credentials", bad(cause(error), advice(error)));
            return false;
        }
        let place = inner.options.endpoint.clone().unwrap_or_else(|| format!("AWS, {}", inner.clients.region));
        match &error {
            Some(error) if !is_answered => {
                self.tell("server", bad(cause(error), advice(error)));
                return false;
            }
            _ => self.tell("server", good(format_args!("answers at {place}"))),
        }
        self.tell("TLS", self.tls());
        // Of a refusal because of the time the line below tells more.
        if !matches!(mistake, Some(Misconfigured::Clock { .. })) {
            self.tell("clock", clock(self.store.clock_skew()));
        }
        self.of_the_answer(error.as_ref(), mistake.as_ref())
    }

    fn tls(&self) -> Told {
        let endpoint = self.store.inner.options.endpoint.as_deref().unwrap_or("https://");
        let host = self.place().0;
        let is_here = host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        match endpoint.starts_with("http://") {
            false => good("the server's certificate is verified"),
            true if is_here => good("none, on this machine"),
            true => doubtful(
                "none: whoever is on the way can read and change what is sent",
                "give the server a certificate, and write `https://` in `endpoint`",
            ),
        }
    }

    /// What of a refusal is whose fault: the first line that is not well is the last.
    fn of_the_answer(&mut self, error: Option<&Error>, mistake: Option<&Misconfigured>) -> bool {
        use Misconfigured as M;
        let inner = self.store.inner.clone();
        let style = if self.is_path_style() { "in the path" } else { "in the host's name" };
        let about = match mistake {
            Some(M::WrongKey | M::WrongSecret | M::ExpiredKey) => "credentials",
            Some(M::WrongRegion { .. }) => "region",
            Some(M::MissingBucket { .. }) => "bucket",
            Some(M::Clock { .. }) => "clock",
            _ => "list",
        };
        for (check, measured) in [
            ("clock", "the server takes it".to_owned()),
            ("credentials", "the server knows them".to_owned()),
            ("region", inner.clients.region.clone()),
            ("bucket", format!("{}, {style}", inner.bucket())),
            ("list", "allowed".to_owned()),
        ] {
            match error.filter(|_| check == about) {
                Some(error) if check == "list" && *error.kind() == ErrorKind::PermissionDenied => {
                    self.tell(check, bad(cause(error), "allow `s3:ListBucket` in the policy of these credentials"));
                }
                Some(error) => {
                    self.tell(check, bad(cause(error), advice(error)));
                    return false;
                }
                // The clock has its line already.
                None if check == "clock" => {}
                None => self.tell(check, good(measured)),
            }
        }
        true
    }

    /// Each permission by itself.
    async fn permissions(&mut self) {
        let inner = self.store.inner.clone();
        if self.extent != Extent::Read {
            let put = self.put().await;
            self.is_put = self.tell_outcome("put", "s3:PutObject", put).is_some();
        }
        let get = self.get().await;
        self.tell_outcome("get", "s3:GetObject", get);
        if self.extent == Extent::Read {
            return;
        }
        let upload = match inner.begin_raw(&self.key, &inner.token()).await {
            Ok(upload) => {
                let part = inner.put_part_raw(&self.key, &upload, 1, BYTES.into()).await;
                self.tell_outcome("multipart", "s3:PutObject", part);
                Some(upload)
            }
            Err(fault) => self.tell_outcome("multipart", "s3:PutObject", Err(fault)),
        };
        if let Some(upload) = upload {
            let aborted = inner.abort_raw(&self.key, &upload).await;
            self.tell_outcome("abort", "s3:AbortMultipartUpload", aborted);
        }
    }

    async fn put(&self) -> Outcome<()> {
        let inner = &self.store.inner;
        let (name, (encryption, kms)) = (inner.name(&self.key)?, inner.encryption());
        let put = || async {
            let request = inner.client().put_object().bucket(inner.bucket()).key(&name);
            let request = request.set_server_side_encryption(encryption.clone()).set_ssekms_key_id(kms.clone());
            let answer = request.body(ByteStream::from_static(BYTES)).send().await;
            answer.map(drop).map_err(|error| inner.fault(error))
        };
        inner.read(put).await
    }

    /// Reads what was put; where nothing was, something that need not be there: then its absence is the answer.
    async fn get(&self) -> Outcome<()> {
        let (inner, name) = (&self.store.inner, self.readable()?);
        let get = || async {
            let answer = inner.client().get_object().bucket(inner.bucket()).key(&name).send().await;
            let body = answer.map_err(|error| inner.fault(error))?.body.collect().await;
            body.map(drop).map_err(|error| Fault::says(ErrorKind::Unavailable, error))
        };
        match inner.read(get).await {
            Err(fault) if fault.is_absent() && !self.is_put => Ok(()),
            answer => answer,
        }
    }

    /// The object's name that may be read: the one that was put, else the installation's mark.
    fn readable(&self) -> Outcome<String> {
        let mark = Key::new(".larder/instance.json").expect("it is a key");
        self.store.inner.name(if self.is_put { &self.key } else { &mark })
    }

    /// What the server can do.
    async fn abilities(&mut self) {
        let profile = match self.extent {
            Extent::Everything => self.store.renew_profile().await.map(Some),
            Extent::Create => self.store.profile().await.map(Some),
            Extent::Read => self.store.known_profile().await,
        };
        let profile = match profile {
            Ok(profile) => profile,
            Err(error) => {
                self.tell("abilities", bad(cause(&error), advice(&error)));
                None
            }
        };
        let Some(profile) = profile else { return };
        self.tell("conditions", conditions(&profile));
        self.tell(
            "checksums",
            if profile.checks_payload {
                good("the server refuses what arrives damaged")
            } else {
                good("the server does not check what arrives: what was written is read back and compared")
            },
        );
        let encryption = self.encryption().await;
        self.tell("encryption", encryption);
        self.tell(
            "versions",
            if profile.versioned {
                good("kept: what is deleted is deleted with all of its versions")
            } else {
                good("not kept")
            },
        );
        self.examined.profile = Some(profile);
    }

    async fn encryption(&self) -> Told {
        let inner = &self.store.inner;
        let found = match self.readable() {
            Ok(name) => inner.client().head_object().bucket(inner.bucket()).key(name).send().await,
            Err(fault) => return bad(cause(&self.error(fault)), "shorten `prefix`"),
        };
        let found = found.ok().and_then(|head| head.server_side_encryption);
        match (inner.encryption().0, found) {
            (Some(asked), Some(found)) if asked == found => good(format_args!("{found}, as it was told to")),
            (None, Some(found)) => good(format_args!("{found}, by the bucket itself")),
            (None, None) => good("none that the server tells of"),
            (Some(_), _) if !self.is_put => good("asked for; nothing was written to see it done"),
            (Some(asked), _) => bad(
                format_args!("the server was told to encrypt by {asked}, and does not say that it did"),
                Misconfigured::NotEncrypted.advice(),
            ),
        }
    }

    /// What others than Larder can do: who holds a signed URL, a browser, anybody.
    async fn outside(&mut self) {
        let signed = self.signed().await;
        self.tell("signed URLs", signed);
        if self.extent != Extent::Read {
            let cors = self.cors().await;
            self.tell("CORS", cors);
        }
        let public = self.public().await;
        self.tell("public access", public);
    }

    /// Fetches by a signed URL, through the endpoint that clients are told.
    async fn signed(&self) -> Told {
        let options = &self.store.inner.options;
        let endpoint = options.public_endpoint.as_ref().or(options.endpoint.as_ref());
        let place = endpoint.cloned().unwrap_or_else(|| "AWS".into());
        let key = if self.is_put { self.key.clone() } else { Key::new(".larder/instance.json").expect("it is a key") };
        let signed = match self.store.presign(&key, PresignMethod::Get(SentAs::default()), LIFETIME).await {
            Ok(signed) => signed,
            Err(error) => return bad(cause(&error), "signed URLs are made with keys, not without"),
        };
        let advice =
            "see that `public_endpoint` leads to this server, and that nothing on the way changes host or query";
        match self.fetch(Bare { url: Some(signed.url), ..Bare::default() }, false).await {
            Some(Seen { status: 200, .. }) => good(format_args!("work at {place}")),
            Some(Seen { status: 404, .. }) if !self.is_put => good(format_args!("work at {place}")),
            Some(Seen { status, .. }) => bad(format_args!("one is refused at {place} (HTTP {status})"), advice),
            None => bad(format_args!("nothing answers at {place}"), advice),
        }
    }

    /// Asks as a browser does before a page of another origin uploads.
    async fn cors(&self) -> Told {
        let signed = match self.store.presign(&self.key, PresignMethod::Put(Bound::default()), LIFETIME).await {
            Ok(signed) => signed.url,
            Err(error) => return bad(cause(&error), "signed URLs are made with keys, not without"),
        };
        let bare = Bare { url: Some(signed), asks_for: Some("PUT"), ..Bare::default() };
        let allowed = self.fetch(bare, false).await.and_then(|seen| seen.allowed_origin);
        if let Some(origin) = allowed.filter(|origin| origin == "*" || origin == ORIGIN) {
            return good(format_args!("pages of any origin may upload ({origin})"));
        }
        let inner = &self.store.inner;
        let rules = inner.client().get_bucket_cors().bucket(inner.bucket()).send().await;
        let rules = rules.ok().map(|rules| rules.cors_rules().to_vec()).unwrap_or_default();
        let puts = rules.iter().filter(|rule| rule.allowed_methods().iter().any(|method| method == "PUT"));
        let origins: Vec<String> = puts.flat_map(|rule| rule.allowed_origins().to_vec()).collect();
        match origins.is_empty() {
            false => good(format_args!("pages of {} may upload", origins.join(", "))),
            true => doubtful(
                "no page of another origin may upload straight to the bucket",
                "where browsers are to, allow PUT, GET and the header ETag for their origin in the bucket's CORS rules",
            ),
        }
    }

    /// Asks as anybody may, without a signature.
    async fn public(&self) -> Told {
        let read = self.fetch(Bare::default(), false).await.map(|seen| seen.status);
        let listed = self.fetch(Bare::default(), true).await.map(|seen| seen.status);
        let is_refused = |status| matches!(status, Some(401 | 403));
        let what = match (read == Some(200), listed == Some(200)) {
            (false, false) if is_refused(read) && is_refused(listed) => {
                return good("none: who has no key is refused");
            }
            (false, false) => {
                let advice = "ask for an object without a key, from outside: it is to be refused";
                return doubtful("whether who has no key is refused could not be seen", advice);
            }
            (true, false) => "anybody can read what lies there",
            (false, true) => "anybody can list what lies there",
            (true, true) => "anybody can list and read what lies there",
        };
        bad(what, "block public access to the bucket: Larder's own rules of who may read do not reach there")
    }

    /// What comes of a request without its signature; `None` where no answer did.
    async fn fetch(&self, bare: Bare, is_list: bool) -> Option<Seen> {
        let (inner, seen) = (&self.store.inner, bare.seen.clone());
        let client = if bare.url.is_some() { &inner.clients.signing } else { inner.client() };
        let name = self.readable().ok()?;
        let send = async {
            if is_list {
                let list = client.list_objects_v2().bucket(inner.bucket()).prefix(&inner.folder).max_keys(1);
                drop(list.customize().interceptor(bare).send().await);
            } else {
                drop(client.get_object().bucket(inner.bucket()).key(name).customize().interceptor(bare).send().await);
            }
        };
        let late = inner.options.timer.sleep(inner.options.deadlines.small);
        match future::select(Box::pin(send), late).await {
            Either::Left(_) => seen.lock().unwrap_or_else(PoisonError::into_inner).take(),
            Either::Right(_) => None,
        }
    }

    /// Takes away what was put; last, as the others look at it.
    async fn delete(&mut self) {
        if !self.is_put {
            return;
        }
        // Not by the store's own way, which asks for a profile: where there is none, this must go all the same.
        let versioned = self.examined.profile.as_ref().is_some_and(|profile| profile.versioned);
        let deleted = self.store.inner.delete_each(std::slice::from_ref(&self.key), versioned).await;
        let deleted = deleted.into_iter().collect::<Outcome<Vec<_>>>();
        if self.extent == Extent::Create
            && let Err(fault) = &deleted
            && fault.kind == ErrorKind::PermissionDenied
        {
            let left = format!("refused, as a store that is only added to may have it; `{}` stays", self.key);
            return self.tell("delete", good(left));
        }
        self.tell_outcome("delete", "s3:DeleteObject", deleted);
    }
}

fn clock(skew: Option<i64>) -> Told {
    match skew {
        Some(seconds) if seconds.unsigned_abs() > SKEW_MAX_SECONDS => bad(
            format_args!("the server's clock is {seconds} s from this one's"),
            "set the clock of this machine, best by NTP: the server refuses what was signed at another time",
        ),
        Some(seconds) => good(format_args!("the server's is {seconds} s from this one's")),
        None => good("the server does not tell the time"),
    }
}

fn conditions(profile: &Profile) -> Told {
    match (profile.put.create, profile.put.replace) {
        (true, true) => good("kept: nothing is overwritten unseen, by anybody"),
        (true, false) => good("kept for what is new; what is replaced is guarded by this process alone"),
        (false, _) => doubtful(
            "not kept: that nothing is overwritten rests on names that are never used twice",
            "let no other program write to this bucket, or take a server that keeps `If-None-Match`",
        ),
    }
}

/// Why, without what was tried, which the line tells, and without the advice, which it tells apart.
fn cause(error: &Error) -> String {
    let told = error.source().map_or_else(|| error.kind().to_string(), ToString::to_string);
    Misconfigured::of(error).map_or(told.clone(), |mistake| told.replace(&format!(": {}", mistake.advice()), ""))
}

fn advice(error: &Error) -> String {
    Misconfigured::of(error).map_or_else(|| "does the server run, and is it that one?".into(), Misconfigured::advice)
}

/// A request as somebody else would send it: without a signature in its head, by another URL, or as a browser asks before a `PUT`.
#[derive(Clone, Debug, Default)]
struct Bare {
    url: Option<String>,
    asks_for: Option<&'static str>,
    seen: Arc<Mutex<Option<Seen>>>,
}

/// What came of it.
#[derive(Clone, Debug)]
struct Seen {
    status: u16,
    allowed_origin: Option<String>,
}

impl Intercept for Bare {
    fn name(&self) -> &'static str {
        "larder.bare"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        // What the SDK adds is signed in a head only: some servers refuse such headers beside the signature of a URL.
        let is_signers = |name: &str| name == "authorization" || name.starts_with("x-amz-") || name.starts_with("amz-");
        let names = request.headers().iter().map(|(name, _)| name.to_owned());
        let signers: Vec<String> = names.filter(|name| is_signers(name)).collect();
        signers.iter().for_each(|name| drop(request.headers_mut().remove(name)));
        if let Some(url) = &self.url {
            request.set_uri(url.as_str())?;
        }
        if let Some(method) = self.asks_for {
            request.set_method("OPTIONS")?;
            request.headers_mut().insert("origin", ORIGIN);
            request.headers_mut().insert("access-control-request-method", method);
        }
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        let allowed_origin = answer.headers().get("access-control-allow-origin").map(str::to_owned);
        let seen = Seen { status: answer.status().as_u16(), allowed_origin };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conditions, Credentials, S3Options};

    #[test]
    fn a_clock_that_is_far_off_is_a_problem_before_the_server_says_so() {
        for (skew, health) in
            [(None, Health::Good), (Some(-300), Health::Good), (Some(301), Health::Bad), (Some(-301), Health::Bad)]
        {
            assert_eq!(clock(skew).0, health, "{skew:?}");
        }
    }

    #[test]
    fn conditions_that_are_not_kept_are_told_of() {
        for (create, replace, health) in
            [(true, true, Health::Good), (true, false, Health::Good), (false, true, Health::Doubtful)]
        {
            let put = Conditions { create, replace, ..Conditions::default() };
            let profile = Profile { put, ..Profile::blank("http://s3.test".into(), "b".into()) };
            assert_eq!(conditions(&profile).0, health);
        }
    }

    #[tokio::test]
    async fn the_host_is_the_one_that_requests_go_to_and_tls_is_missed_where_others_may_listen() {
        for (endpoint, path_style, host, port, health) in [
            (Some("http://127.0.0.1:9000"), None, "127.0.0.1", 9000, Health::Good),
            (Some("http://[::1]:9000/"), None, "::1", 9000, Health::Good),
            (Some("http://s3.example"), None, "s3.example", 80, Health::Doubtful),
            (Some("https://s3.example"), Some(false), "acme.s3.example", 443, Health::Good),
            (None, None, "acme.s3.eu-west-1.amazonaws.com", 443, Health::Good),
            (None, Some(true), "s3.eu-west-1.amazonaws.com", 443, Health::Good),
        ] {
            let keys = Credentials::Keys {
                access_key_id: "id".into(),
                secret_access_key: "secret".into(),
                session_token: None,
            };
            let options = S3Options {
                endpoint: endpoint.map(Into::into),
                region: Some("eu-west-1".into()),
                path_style,
                ..S3Options::new("acme", keys)
            };
            let store = S3Store::connect(options).await.unwrap();
            let key = Key::new("k").unwrap();
            let (extent, examined) = (Extent::Read, Examined::default());
            let examiner = Examiner { store: &store, extent, key, is_put: false, begun: Instant::now(), examined };
            assert_eq!((examiner.place(), examiner.tls().0), ((host.to_owned(), port), health), "{endpoint:?}");
        }
    }
}
