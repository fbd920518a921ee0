//! Renditions: presets, for whoever may read the file, and signed recipes, for whoever holds the URL. Nothing else is ever made.

use crate::{
    conditions::{self, Comparison, Wants},
    content,
    disposition::disposition,
    openapi,
    problem::{Code, Problem},
    request::{Answer, Ask},
    server::Api,
};
use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
};
use data_encoding::HEXLOWER;
use larder_files::{Caller, File, FileId, Timestamp};
use larder_renditions::{Error, Format, Made, RecipeInUrl, Tagged, UnknownPreset, Wanted};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

/// A URL of a rendition.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignedRecipe {
    /// Whoever holds it sees this rendition of the file, and nothing else of it; without `v` also what later revisions look like.
    url: String,
    /// The recipe in its canonical form.
    recipe: String,
    /// When it ends, where the recipe says so.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// `GET`, `HEAD /files/{id}/renditions/{preset}`.
#[utoipa::path(get, path = "/api/v1/files/{id}/renditions/{preset}", operation_id = "rendition", tag = "files",
    params(("id" = String, Path, format = "uuid", description = "The file"), ("preset" = String, Path, description = "A preset of the configuration"),
        openapi::Shown),
    responses(openapi::Picture))]
pub(crate) async fn preset(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    let id = ask.file_id()?;
    let name = ask.request.match_info().query("preset");
    let unknown = |error: UnknownPreset| Problem::new(Code::NotFound, error.to_string());
    let recipe = ask.api.renditions.presets().find(name).map_err(unknown)?;
    let (api, by) = (ask.api.clone(), caller.clone());
    let file = ask.api.run(async move { Ok(api.files.live(&by, id).await?) }).await?;
    show(&ask, Asked { caller, file, recipe: recipe.into(), caching: Caching::Private }).await
}

/// `GET`, `HEAD /i/{signature}/{recipe}/{id}/{name}`: the same, under a name for who looks at the URL.
#[utoipa::path(get, path = "/i/{signature}/{recipe}/{id}/{name}", operation_id = "rendition_by_named_url", tag = "files", security(()),
    params(("signature" = String, Path, description = "As it was signed"), ("recipe" = String, Path, description = "As it was signed"),
        ("id" = String, Path, format = "uuid", description = "The file"), ("name" = String, Path, description = "Anything"), openapi::Shown),
    responses(openapi::Picture))]
pub(crate) async fn signed_and_named(ask: Ask) -> Answer {
    signed(ask).await
}

/// `GET`, `HEAD /i/{signature}/{recipe}/{id}`.
#[utoipa::path(get, path = "/i/{signature}/{recipe}/{id}", operation_id = "rendition_by_url", tag = "files", security(()),
    params(("signature" = String, Path, description = "As it was signed"), ("recipe" = String, Path, description = "As it was signed"),
        ("id" = String, Path, format = "uuid", description = "The file"), openapi::Shown),
    responses(openapi::Picture))]
pub(crate) async fn signed(ask: Ask) -> Answer {
    ask.query(&[])?;
    // As it was sent: another spelling of the same is another text.
    let mut parts = ask.request.uri().path().splitn(6, '/').skip(2);
    let (signature, recipe, id) = (parts.next(), parts.next(), parts.next());
    let (signature, recipe, id) = (signature.unwrap_or_default(), recipe.unwrap_or_default(), id.unwrap_or_default());
    if !ask.api.signatures.is_of(signature, &signed_text(recipe, id)) {
        return Err(Problem::new(
            Code::Forbidden,
            "the signature is not that of this recipe and file: have it signed anew",
        ));
    }
    let recipe: RecipeInUrl = recipe.parse().map_err(wrong_recipe)?;
    let now = ask.api.files.environment().clock.now();
    if recipe.expires_at.is_some_and(|ends| now >= from_seconds(ends)) {
        return Err(Problem::new(Code::Gone, "the URL has ended: have a new one signed"));
    }
    let id = FileId::parse(id).ok_or_else(|| Problem::not_found("file"))?;
    let (api, caller) = (ask.api.clone(), Caller::local());
    let by = caller.clone();
    let file = ask.api.run(async move { Ok(api.files.live(&by, id).await?) }).await?;
    // A focal point may move, and the URL stays.
    let fixed = recipe.revision.is_some() && !recipe.recipe.uses_focal_point();
    let caching = match (fixed, recipe.expires_at) {
        (true, None) => Caching::Immutable,
        (_, Some(ends)) => Caching::Until(from_seconds(ends)),
        (false, None) => Caching::Minute,
    };
    show(&ask, Asked { caller, file, recipe, caching }).await
}

/// `POST /files/{id}/renditions`: a URL of a rendition by any recipe.
#[utoipa::path(post, path = "/api/v1/files/{id}/renditions", operation_id = "sign_recipe", tag = "files",
    params(("id" = String, Path, format = "uuid", description = "The file")), request_body = openapi::ToRender,
    responses((status = 200, description = "The URL", body = SignedRecipe)))]
pub(crate) async fn sign(ask: Ask) -> Answer {
    let caller = ask.caller().await?;
    ask.query(&[])?;
    let id = ask.file_id()?;
    let mut fields = ask.fields(&["recipe"]).await?;
    let recipe = fields.text("recipe")?;
    fields.finish()?;
    let recipe: RecipeInUrl = recipe.parse().map_err(wrong_recipe)?;
    let base = ask.base()?;
    let api = ask.api.clone();
    let file = ask
        .api
        .run(async move {
            let file = api.files.live(&caller, id).await?;
            if let Some(revision) = recipe.revision {
                api.files.revision(&caller, id, revision).await?;
            }
            Ok(file)
        })
        .await?;
    let (text, id) = (recipe.to_string(), file.attributes.id.to_string());
    if text.is_empty() {
        return Err(Problem::malformed("the recipe is empty: name at least one key, such as `f_auto`"));
    }
    let signature = ask.api.signatures.sign(&signed_text(&text, &id));
    let url = format!("{base}/i/{signature}/{text}/{id}");
    let signed = SignedRecipe { url, recipe: text, expires_at: recipe.expires_at.map(from_seconds) };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(signed))
}

fn signed_text(recipe: &str, id: &str) -> String {
    format!("{recipe}/{id}")
}

fn from_seconds(seconds: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}

fn wrong_recipe(error: impl std::fmt::Display) -> Problem {
    Problem::malformed(error.to_string())
}

/// A rendition that is asked for by somebody who may see it.
struct Asked {
    caller: Caller,
    file: File,
    recipe: RecipeInUrl,
    caching: Caching,
}

/// Who may keep an answer, and how long.
#[derive(Clone, Copy)]
enum Caching {
    /// Nobody without asking again: it needs authorisation.
    Private,
    /// Anybody, for a minute: what it is of may be replaced.
    Minute,
    /// Anybody, for ever: the URL says which content it is of.
    Immutable,
    /// Anybody, for a minute at most, but not longer than the URL.
    Until(Timestamp),
}

impl Caching {
    fn header(self, now: Timestamp) -> HeaderValue {
        let text = match self {
            Self::Private => "private, no-cache".to_owned(),
            Self::Minute => "public, max-age=60".to_owned(),
            Self::Immutable => "public, max-age=31536000, immutable".to_owned(),
            Self::Until(ends) => {
                let left = (ends.as_millis().saturating_sub(now.as_millis()) / 1000).clamp(0, 60);
                format!("public, max-age={left}")
            }
        };
        HeaderValue::from_str(&text).expect("letters and digits")
    }
}

/// What a rendition takes in memory, of which nobody knows yet how large it is.
const UNKNOWN_BYTES: u64 = 256 << 10;

async fn show(ask: &Ask, asked: Asked) -> Answer {
    let Asked { caller, file, recipe: RecipeInUrl { recipe, revision, .. }, caching } = asked;
    // Whoever holds a signed URL knows the name that stands in it, and is told no other.
    let name = match caching {
        Caching::Private => file.attributes.name.clone(),
        _ => ask.request.match_info().query("name").to_owned(),
    };
    let accepted = if recipe.is_auto() { accepted(ask.list(header::ACCEPT).as_deref()) } else { vec![] };
    let wanted = Wanted { caller, file, revision, recipe, accepted };
    let (wants, api) = (Wants::of(ask), ask.api.clone());
    let made = ask.api.run(async move {
        let expected = api.renditions.tag(&wanted).await.map_err(refused)?;
        let has = |list: &String| conditions::matches(list, &HEXLOWER.encode(&expected.tag), Comparison::Weak);
        // What the caller has is not made again only to say so.
        if wants.if_none_match.as_ref().is_some_and(has) {
            return Ok((expected, None));
        }
        // Taken before it is read: those who read slowly must not fill the memory with what they were given.
        let size = expected.size.unwrap_or(UNKNOWN_BYTES);
        let room = match size {
            ..content::HELD_BYTES_MIN => None,
            _ => Some(content::room(&api, usize::try_from(size).unwrap_or(usize::MAX)).await?),
        };
        let made = api.renditions.get(wanted).await.map_err(refused)?;
        Ok((Tagged { tag: made.tag, is_meanwhile: made.is_meanwhile, ..expected }, Some((made, room))))
    });
    let (told, made) = made.await?;
    let now = ask.api.files.environment().clock.now();
    let mut head = HttpResponse::build(if made.is_some() { StatusCode::OK } else { StatusCode::NOT_MODIFIED });
    head.insert_header((header::ETAG, format!("\"{}\"", HEXLOWER.encode(&told.tag))));
    if recipe.is_auto() {
        head.insert_header((header::VARY, "Accept"));
    }
    head.insert_header((header::CACHE_CONTROL, shortened(caching, told.is_meanwhile).header(now)));
    if !matches!(caching, Caching::Private) {
        // It is made to stand in pages of others.
        head.insert_header(("cross-origin-resource-policy", "cross-origin"));
    }
    Ok(match made {
        None => head.finish(),
        Some((made, room)) => body(ask, head, &made, room, &name),
    })
}

/// What is shown until a better one is made is kept for a minute at most.
fn shortened(caching: Caching, is_meanwhile: bool) -> Caching {
    match caching {
        Caching::Immutable if is_meanwhile => Caching::Minute,
        other => other,
    }
}

fn body(
    ask: &Ask,
    mut head: HttpResponseBuilder,
    made: &Made,
    room: Option<OwnedSemaphorePermit>,
    name: &str,
) -> HttpResponse {
    let content_type = made.format.content_type();
    let last = name.rsplit('/').next().unwrap_or_default();
    let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
    let stem = if stem.is_empty() { "picture" } else { stem };
    let shown = disposition(content_type, &format!("{stem}.{}", made.format.name()), false);
    head.insert_header((header::CONTENT_DISPOSITION, shown)).content_type(content_type);
    if ask.request.method() == Method::HEAD {
        return head.body(content::Announced(made.bytes.len() as u64));
    }
    let bytes = made.bytes.clone();
    let opened = match room {
        Some(room) => content::Opened::InRoom(bytes, room),
        None => content::Opened::Bytes(bytes),
    };
    content::send(&mut head, opened, ask)
}

/// The formats beyond those that everybody shows, which `Accept` names itself: `*/*` and `image/*` stand in the requests of those, too,
/// that show no more than JPEG.
fn accepted(accept: Option<&str>) -> Vec<Format> {
    let listed = accept.unwrap_or_default().split(',').filter_map(|part| {
        let (kind, parameters) = part.split_once(';').unwrap_or((part, ""));
        let is_refused = parameters.split(';').any(|parameter| {
            let weight = parameter.trim().strip_prefix("q=").or_else(|| parameter.trim().strip_prefix("Q="));
            weight.is_some_and(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0))
        });
        let format = match kind.trim().to_ascii_lowercase().as_str() {
            "image/avif" => Format::Avif,
            "image/webp" => Format::Webp,
            _ => return None,
        };
        (!is_refused).then_some(format)
    });
    listed.collect()
}

/// Why there is none, to whoever asked.
pub(crate) fn refused(error: Error) -> Problem {
    use larder_media::Error as Media;
    match error {
        Error::Files(error) => Problem::of_shared(&error),
        Error::Busy { after } => Problem::new(Code::Busy, error.to_string()).retry_after(after.as_secs()),
        // For so long it is not tried again.
        Error::Media(Media::Deadline) => Problem::new(Code::Busy, error.to_string()).retry_after(60),
        Error::Media(Media::Recipe(error)) => wrong_recipe(error),
        Error::Media(error @ Media::Encode { .. }) => larder_files::Error::internal(error).into(),
        Error::Media(error) => Problem::new(Code::NotAnImage, error.to_string()),
        error => larder_files::Error::internal(error).into(),
    }
}

/// Makes what the bucket wants made ahead of a picture that has just come.
pub(crate) fn ahead(api: &Api, caller: &Caller, file: &File) {
    let Ok(bucket) = api.files.bucket(file.attributes.bucket.as_str()) else { return };
    if file.attributes.media.is_none() {
        return;
    }
    for recipe in bucket.policy.presets_ahead.iter().filter_map(|name| api.renditions.presets().get(name)) {
        api.renditions.make_later(Wanted::ahead(caller.clone(), file.clone(), recipe));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_accepted() {
        let cases: [(&str, &[Format]); 7] = [
            ("", &[]),
            ("*/*", &[]),
            ("image/*,*/*;q=0.8", &[]),
            ("image/avif,image/webp,image/apng,*/*;q=0.8", &[Format::Avif, Format::Webp]),
            ("image/avif;q=0, Image/WebP ; q=0.5", &[Format::Webp]),
            ("image/webp;q=nothing", &[Format::Webp]),
            ("image/webpx", &[]),
        ];
        for (accept, formats) in cases {
            assert_eq!(accepted(Some(accept)), formats, "{accept}");
        }
        assert_eq!(accepted(None), []);
    }

    #[test]
    fn a_url_that_ends_is_kept_no_longer() {
        let now = Timestamp::from_millis(1_000_000);
        let until = |seconds: u64| Caching::Until(from_seconds(seconds)).header(now);
        assert_eq!(until(1_010), "public, max-age=10");
        assert_eq!(until(9_999), "public, max-age=60");
        assert_eq!(until(1), "public, max-age=0");
    }
}
