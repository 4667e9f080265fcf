//! The `OpenAPI` 3.1 document of the socket, generated from the types and routes that the server uses.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::events::EventMessage;
use super::protocol::{Ask, Bind, Failure, PREFIX};
use super::routes::{Handler, ROUTES, Route};
use super::status::Status;

/// Returns the document.
pub fn document() -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = Map::new();
    for route in &ROUTES {
        let operation = operation(route, &mut schemas);
        let path = paths.entry(format!("{PREFIX}{}", route.path)).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    let components = schemas.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "devrun",
            "version": "1",
            "description": "The supervisor of one worktree, at its unix socket. `devrun status` and the other verbs ask the same.",
        },
        "servers": [{ "url": "http://devrun", "description": "the unix socket named in <git-dir>/devrun/run.json" }],
        "paths": paths,
        "components": { "schemas": components },
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let answer = match route.handler {
        Handler::Query(_) | Handler::Ask(_) | Handler::Bind(_) => {
            content("application/json", &schema::<Status>(schemas))
        }
        Handler::Events => content("application/x-ndjson", &schema::<EventMessage>(schemas)),
        Handler::Terminal => content("application/octet-stream", &json!({})),
        Handler::Document => content("application/json", &json!({ "type": "object" })),
    };
    let mut operation = json!({
        "operationId": route.path.trim_start_matches('/').split(['/', '.']).next(),
        "summary": route.summary,
        "responses": {
            route.success.to_string(): { "description": "done", "content": answer },
            "default": {
                "description": "a failure, as every verb tells it",
                "content": content("application/json", &schema::<Failure>(schemas)),
            },
        },
    });
    if matches!(route.handler, Handler::Terminal) {
        operation["parameters"] =
            json!([{ "name": "name", "in": "path", "required": true, "schema": { "type": "string" } }]);
    }
    let body = match route.handler {
        Handler::Ask(_) => Some(schema::<Ask>(schemas)),
        Handler::Bind(_) => Some(schema::<Bind>(schemas)),
        _ => None,
    };
    if let Some(body) = body {
        operation["requestBody"] = json!({ "required": true, "content": content("application/json", &body) });
    }
    operation
}

fn content(kind: &str, schema: &Value) -> Value {
    json!({ kind: { "schema": schema } })
}

fn schema<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_document_equals_the_served_document() {
        let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        let text = format!("{:#}\n", document());
        if std::env::var_os("DEVRUN_BLESS").is_some() {
            crate::os::fs::replace(std::path::Path::new(kept), text.as_bytes(), 0o644).unwrap();
        }
        let found = std::fs::read_to_string(kept).unwrap();
        assert!(found == text, "docs/openapi.json is out of step: run this test with DEVRUN_BLESS=1");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        let names: Vec<&str> =
            text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(names.len() > 8);
        for name in names {
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }
}
