//! The description of the routes against the routes: nothing is missing, nothing invented.

#![allow(clippy::unwrap_used)]

mod common;

use common::Larder;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn description() -> Value {
    serde_json::from_str(larder_api::openapi()).unwrap()
}

/// Each operation as its method, its path and what is said of it.
fn operations(description: &Value) -> Vec<(String, String, Value)> {
    let paths = description["paths"].as_object().unwrap();
    let each = |(path, item): (&String, &Value)| {
        let of = |method: &&str| Some((method.to_uppercase(), path.clone(), item.get(method)?.clone()));
        METHODS.iter().filter_map(of).collect::<Vec<_>>()
    };
    paths.iter().flat_map(each).collect()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let plain = |path: &str| path.replace(":.+}", "}");
    // A HEAD is what its GET is; the page's own files are no routes for programs.
    let routes =
        larder_api::routes().into_iter().filter(|(method, path)| *method != "HEAD" && !path.starts_with("/docs/"));
    let routes: BTreeSet<_> = routes.map(|(method, path)| format!("{method} {}", plain(path))).collect();
    let described: BTreeSet<_> =
        operations(&description()).iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert_eq!(described, routes);
}

#[test]
fn the_description_is_of_openapi_3_1_and_whole() {
    let description = description();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."));
    let ids: Vec<_> = operations(&description).iter().map(|(_, _, told)| told["operationId"].to_string()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an operation's id is not its own: {ids:?}");
    let mut pointed = vec![];
    references(&description, &mut pointed);
    assert!(pointed.len() > 20);
    for reference in pointed {
        let there = description.pointer(reference.strip_prefix('#').unwrap());
        assert!(there.is_some(), "{reference} leads nowhere");
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(ToOwned::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// A route refuses an unknown parameter and says which ones it knows: these are the described ones.
#[test]
fn the_described_parameters_are_those_that_each_route_knows() {
    let larder = Larder::start();
    let scene = Scene::new(&larder);
    for (method, path, told) in operations(&description()) {
        let target = scene.target(&path);
        let mut request = larder.root(&format!("{method} {target}?unknown=1"));
        if matches!(&*method, "POST" | "PATCH") {
            request = request.header("Content-Type", "application/json").body(b"{}");
        }
        let answer = request.send();
        let parameters = told["parameters"].as_array().cloned().unwrap_or_default();
        let described = parameters.iter().filter(|one| one["in"] == "query").map(|one| one["name"].as_str().unwrap());
        assert_eq!(answer.status, 422, "{method} {path}: {}", answer.text());
        assert_eq!(known(&answer.json()), described.map(ToOwned::to_owned).collect(), "{method} {path}");
    }
}

/// The same of the fields of JSON bodies.
#[test]
fn the_described_fields_are_those_that_each_route_knows() {
    let larder = Larder::start();
    let description = description();
    let mut asked = 0;
    for (method, path, told) in operations(&description) {
        let schema = &told["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let Some(reference) = schema.as_str() else { continue };
        let fields = &description.pointer(reference.strip_prefix('#').unwrap()).unwrap()["properties"];
        let described: BTreeSet<_> = fields.as_object().unwrap().keys().cloned().collect();
        let target = Scene::new(&larder).target(&path);
        let request = larder.root(&format!("{method} {target}")).header("Content-Type", "application/json");
        let answer = request.body(br#"{"unknown": 1}"#).send();
        assert_eq!(answer.status, 422, "{method} {path}: {}", answer.text());
        let mut known = known(&answer.json());
        // It is read only to say that a name never changes.
        if path == "/api/v1/users/{id}" {
            known.remove("username");
        }
        assert_eq!(known, described, "{method} {path}");
        asked += 1;
    }
    assert!(asked >= 5, "only {asked} bodies were looked at");
}

/// The names that a refusal of an unknown one lists.
fn known(problem: &Value) -> BTreeSet<String> {
    let message = problem["errors"][0]["message"].as_str().unwrap();
    match message.split_once("known are ") {
        Some((_, names)) => names.split(", ").map(ToOwned::to_owned).collect(),
        None => BTreeSet::new(),
    }
}

/// What is in the paths.
struct Scene(BTreeMap<&'static str, String>);

impl Scene {
    fn new(larder: &Larder) -> Self {
        let file = larder.put_by(&larder.root, "a.txt", b"x")["id"].as_str().unwrap().to_owned();
        Self(BTreeMap::from([
            ("/users/{id}", format!("/users/{}", larder.ada.id)),
            ("{id}", file),
            ("{bucket}", "documents".into()),
            ("{name}", "a.txt".into()),
            ("{revision}", "1".into()),
            ("{preset}", "thumb".into()),
            ("{signature}", "1.x".into()),
            ("{recipe}", "w_1".into()),
        ]))
    }

    fn target(&self, path: &str) -> String {
        self.0.iter().fold(path.to_owned(), |path, (from, to)| path.replace(from, to))
    }
}

#[test]
fn the_description_in_the_documents_is_the_present_one() {
    let kept = include_str!("../../../docs/openapi.json");
    assert!(
        kept.trim_end() == larder_api::openapi(),
        "docs/openapi.json is not the present one: run `cargo xtask codegen`"
    );
}

#[test]
fn the_description_and_its_page_are_served_to_everybody() {
    let larder = Larder::start();
    let answer = larder.anybody("GET /api/v1/openapi.json").send();
    assert_eq!((answer.status, answer.json()), (200, description()));
    let answer = larder.anybody("GET /docs").send();
    assert_eq!((answer.status, answer.header("location")), (307, Some("/docs/")));
    let page = larder.anybody("GET /docs/").send();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html")));
    for part in ["index.css", "swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        assert!(page.text().contains(part), "{part} is no part of {}", page.text());
        let part = larder.anybody(&format!("GET /docs/{part}")).send();
        assert_eq!(part.status, 200);
        let policy = part.header("content-security-policy").unwrap();
        assert!(policy.contains("script-src 'self';"), "{policy}");
    }
    // What it loads is in the binary, and what it does not is left out (packaging/swagger-ui).
    for part in page.text().split('"').filter_map(|text| text.strip_prefix("./")) {
        let found = larder.anybody(&format!("GET /docs/{part}")).send();
        assert!(found.status == 200 && !found.text().contains("Not loaded by the page"), "{part}");
    }
    assert!(larder.anybody("GET /docs/swagger-initializer.js").send().text().contains("/api/v1/openapi.json"));
    assert_eq!(larder.anybody("GET /docs/../Cargo.toml").send().status, 404);
    assert_eq!(larder.anybody("GET /docs/none").send().json()["code"], json!("not_found"));
}
