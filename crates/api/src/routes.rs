//! Every route there is, as a list.

use crate::{
    auth, buckets, content, direct, docs, health, import, list, metrics, names, openapi,
    problem::{Code, Problem},
    renditions,
    request::Ask,
    setup, stores, upload, users,
};
use actix_web::{
    Handler, Responder, Route,
    guard::{self, Guard},
    http::{Method, header},
    web::{self, ServiceConfig},
};

/// Puts each route in its place.
pub(crate) fn routes(config: &mut dyn Places) {
    at(config, "/api/v1/auth/login", vec![post(auth::login)]);
    at(config, "/api/v1/auth/logout", vec![post(auth::logout)]);
    at(config, "/api/v1/auth/me", vec![get(auth::me)]);
    at(config, "/api/v1/auth/refresh", vec![post(auth::refresh)]);
    at(config, "/api/v1/buckets", vec![get(buckets::list)]);
    at(config, "/api/v1/buckets/{bucket}", vec![get(buckets::describe)]);
    at(config, "/api/v1/buckets/{bucket}/files", vec![post(upload::create)]);
    at(config, "/api/v1/buckets/{bucket}/imports", vec![post(import::import)]);
    at(config, "/api/v1/buckets/{bucket}/uploads", vec![post(direct::open)]);
    at(
        config,
        "/api/v1/buckets/{bucket}/names/{name:.+}",
        vec![get(names::get), put(upload::put_named), delete(names::remove)],
    );
    at(config, "/api/v1/files", vec![get(list::list)]);
    at(config, "/api/v1/files/{id}", vec![get(list::describe), patch(list::update), delete(list::remove)]);
    at(config, "/api/v1/files/{id}/content", vec![get(content::get), put(upload::replace)]);
    at(config, "/api/v1/files/{id}/copy", vec![post(upload::copy)]);
    at(config, "/api/v1/files/{id}/direct", vec![post(direct::sign)]);
    at(config, "/api/v1/files/{id}/renditions", vec![post(renditions::sign)]);
    at(config, "/api/v1/files/{id}/renditions/{preset}", vec![get(renditions::preset)]);
    at(config, "/api/v1/files/{id}/restore", vec![post(list::restore)]);
    at(config, "/api/v1/files/{id}/revisions", vec![get(list::revisions)]);
    at(config, "/api/v1/files/{id}/revisions/{revision}", vec![delete(list::remove_revision)]);
    at(config, "/api/v1/stores", vec![get(stores::list)]);
    at(config, "/api/v1/stores/{store}/check", vec![post(stores::check)]);
    at(config, "/api/v1/uploads/{id}", vec![delete(direct::end)]);
    at(config, "/api/v1/uploads/{id}/complete", vec![post(direct::complete)]);
    at(config, "/api/v1/users", vec![get(users::list), post(users::add)]);
    at(config, "/api/v1/users/{id}", vec![get(users::describe), patch(users::update), delete(users::remove)]);
    at(config, "/api/v1/openapi.json", vec![get(openapi::describe)]);
    at(config, "/direct/{token}", vec![get(direct::get), put(direct::put)]);
    at(config, "/i/{signature}/{recipe}/{id}", vec![get(renditions::signed)]);
    at(config, "/i/{signature}/{recipe}/{id}/{name:.+}", vec![get(renditions::signed_and_named)]);
    at(config, "/docs", vec![get(docs::page)]);
    at(config, "/docs/{file:.*}", vec![get(docs::file)]);
    at(config, "/health/live", vec![get(health::live)]);
    at(config, "/health/ready", vec![get(health::ready)]);
    at(config, "/metrics", vec![get(metrics::metrics)]);
    at(config, "/setup", vec![get(setup::page), post(setup::set_up)]);
    at(config, "/setup.js", vec![get(setup::script)]);
}

/// Every route as its method and its path, `{…}` standing for what differs: for whoever checks that nothing was forgotten.
#[must_use]
pub fn listed() -> Vec<(&'static str, &'static str)> {
    let mut listed = vec![];
    routes(&mut listed);
    listed
}

/// Where routes are put.
pub(crate) trait Places {
    fn put(&mut self, path: &'static str, handled: Vec<Handled>);
}

impl Places for Vec<(&'static str, &'static str)> {
    fn put(&mut self, path: &'static str, handled: Vec<Handled>) {
        let methods = handled.into_iter().flat_map(|(allow, _)| allow.split(", "));
        self.extend(methods.map(|method| (method, path)));
    }
}

impl Places for ServiceConfig {
    fn put(&mut self, path: &'static str, handled: Vec<Handled>) {
        let allow = handled.iter().map(|(allow, _)| *allow).collect::<Vec<_>>().join(", ");
        let resource = handled.into_iter().fold(web::resource(path), |resource, (_, route)| resource.route(route));
        self.service(resource.default_service(web::to(move |method: Method| {
            let detail = format!("`{method}` is not offered here, but {allow}; `/docs` shows all routes");
            let allow = header::HeaderValue::from_str(&allow).expect("methods are plain text");
            let problem = Problem::new(Code::MethodNotAllowed, detail).with(header::ALLOW, allow);
            async move { Err::<actix_web::HttpResponse, _>(problem) }
        })));
    }
}

/// A method's handler, and what `Allow` says of it.
type Handled = (&'static str, Route);

fn on<H, R>(allow: &'static str, is: impl Guard + 'static, handler: H) -> Handled
where
    H: Handler<(Ask,), Output = R>,
    R: Responder + 'static,
{
    (allow, web::route().guard(is).to(handler))
}

/// `GET`, and `HEAD`, whose answer has no body.
fn get<H: Handler<(Ask,), Output = R>, R: Responder + 'static>(handler: H) -> Handled {
    on("GET, HEAD", guard::Any(guard::Get()).or(guard::Head()), handler)
}

fn post<H: Handler<(Ask,), Output = R>, R: Responder + 'static>(handler: H) -> Handled {
    on("POST", guard::Post(), handler)
}

fn put<H: Handler<(Ask,), Output = R>, R: Responder + 'static>(handler: H) -> Handled {
    on("PUT", guard::Put(), handler)
}

fn patch<H: Handler<(Ask,), Output = R>, R: Responder + 'static>(handler: H) -> Handled {
    on("PATCH", guard::Patch(), handler)
}

fn delete<H: Handler<(Ask,), Output = R>, R: Responder + 'static>(handler: H) -> Handled {
    on("DELETE", guard::Delete(), handler)
}

fn at(places: &mut dyn Places, path: &'static str, handled: Vec<Handled>) {
    places.put(path, handled);
}
