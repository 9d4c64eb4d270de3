//! The document of a small API.

use poem_openapi::param::{Path, Query};
use poem_openapi::{Object, OpenApi, SecurityScheme, Tags, Union};
use serde_json::json;

use super::*;
use crate::error::{ApiError, common};
use crate::http::{Body, Created, Json, Listed, NoContent, PageOut, Replayable};

#[derive(Tags)]
enum DocTags {
    /// Things.
    Things,
}

#[derive(Object, Clone)]
struct DocThing {
    id: i64,
    /// Its owner's note.
    note: Option<String>,
    parent: Option<DocParent>,
}

#[derive(Object, Clone)]
struct DocParent {
    id: i64,
}

#[derive(Object)]
struct DocThingIn {
    name: String,
}

#[derive(Union)]
#[oai(one_of)]
enum DocBatch {
    One(DocThingIn),
    Many(Vec<DocThingIn>),
}

#[derive(SecurityScheme)]
#[oai(ty = "bearer")]
#[expect(dead_code, reason = "only its description is used")]
struct DocBearer(poem_openapi::auth::Bearer);

struct Things;
struct MoreThings;

#[OpenApi(prefix_path = "/things", tag = "DocTags::Things")]
impl Things {
    /// Lists things.
    #[oai(path = "/", method = "get", operation_id = "list_things")]
    async fn list(&self, page: Query<Option<i64>>) -> Result<Json<PageOut<DocThing>>, ApiError> {
        let _ = page;
        Err(common::NOT_FOUND.into())
    }

    /// Reads one thing.
    ///
    /// Anybody may.
    ///
    /// Errors: 404 `not_found`, 409 `conflict`
    /// `idempotency_in_progress`.
    #[oai(path = "/:id", method = "get", operation_id = "get_thing")]
    async fn get(&self, id: Path<i64>, _caller: DocBearer) -> Result<Json<DocThing>, ApiError> {
        Err(ApiError::internal(format!("{}", id.0)))
    }
}

#[OpenApi(tag = "DocTags::Things")]
impl MoreThings {
    /// Makes things.
    #[oai(path = "/things", method = "post", operation_id = "create_things")]
    async fn create(&self, body: Body<DocBatch>) -> Result<Replayable<Created<DocThing>>, ApiError> {
        let _ = body;
        Err(common::NOT_FOUND.into())
    }

    /// Deletes all things.
    #[oai(path = "/things/", method = "delete", operation_id = "delete_things")]
    async fn delete(&self) -> Result<NoContent, ApiError> {
        Ok(NoContent)
    }

    /// Lists them barely.
    #[oai(path = "/bare/", method = "get", operation_id = "list_bare")]
    async fn bare(&self) -> Result<Listed<DocThing>, ApiError> {
        Err(common::NOT_FOUND.into())
    }
}

fn document() -> Document {
    let info = Info {
        title: "T".into(),
        version: "1".into(),
        description: "D".into(),
        server: "/".into(),
    };
    Document::of::<(Things, MoreThings)>(&info, &[])
}

#[test]
fn nothing_is_missing() {
    assert_eq!(document().problems(), Vec::<String>::new());
}

#[test]
fn structs_that_share_a_path_share_an_entry() {
    let document = document();
    let item = document.value()["paths"]["/things/"]
        .as_object()
        .expect("one entry");
    assert_eq!(item.keys().collect::<Vec<_>>(), ["get", "post", "delete"]);
}

#[test]
fn errors_come_from_the_comment_and_the_form() {
    let document = document();
    let get = &document.value()["paths"]["/things/{id}/"]["get"];
    let statuses: Vec<&String> = get["responses"].as_object().expect("responses").keys().collect();
    assert_eq!(
        statuses,
        [
            "200", "400", "401", "403", "404", "405", "409", "414", "429", "431", "500", "503"
        ]
    );
    assert_eq!(
        get["responses"]["409"]["description"],
        "`conflict`, `idempotency_in_progress`"
    );
    assert_eq!(
        get["responses"]["401"]["headers"]["WWW-Authenticate"]["$ref"],
        "#/components/headers/Authenticate"
    );
    let example = &get["responses"]["404"]["content"]["application/json"]["examples"]["not_found"]["value"];
    assert_eq!(
        example,
        &json!({"detail": "资源不存在", "error": "资源不存在", "code": "not_found"})
    );
    assert_eq!(get["summary"], "Reads one thing.");
    assert_eq!(get["description"], "Anybody may.");
    let post = &document.value()["paths"]["/things/"]["post"];
    assert!(post["responses"].get("415").is_some() && post["responses"].get("401").is_none());
    assert_eq!(post["security"], json!([]));
    assert_eq!(post["parameters"][0]["name"], "Idempotency-Key");
    assert!(post["responses"].get("409").is_some() && post["responses"].get("422").is_some());
}

#[test]
fn schemas_say_what_is_written() {
    let document = document();
    let schemas = &document.value()["components"]["schemas"];
    let thing = &schemas["DocThing"]["properties"];
    assert_eq!(thing["note"]["nullable"], true);
    assert_eq!(
        thing["parent"],
        json!({"nullable": true, "allOf": [{"$ref": "#/components/schemas/DocParent"}]})
    );
    assert!(thing["id"].get("nullable").is_none());
    assert_eq!(schemas["DocThing"]["required"], json!(["id", "note", "parent"]));
    assert_eq!(schemas["ErrorBody"]["required"], json!(["error", "code"]));
    assert!(
        schemas["ErrorBody"]["properties"]["detail"]
            .get("nullable")
            .is_none()
    );
    assert!(schemas["DocBatch"].get("type").is_none() && schemas["DocBatch"].get("oneOf").is_some());
    let page = &document.value()["paths"]["/things/"]["get"]["responses"]["200"]["content"];
    assert_eq!(
        page.as_object().expect("content").keys().collect::<Vec<_>>(),
        ["application/json"]
    );
    let bare = &document.value()["paths"]["/bare/"]["get"]["responses"]["200"]["headers"];
    assert!(bare.get("X-Total-Count").is_some());
}

#[test]
fn every_code_is_in_the_list() {
    let list: Value = serde_json::from_str(&error_codes_json(&[])).expect("JSON");
    let codes: Vec<&str> = list
        .as_array()
        .expect("list")
        .iter()
        .filter_map(|r| r["code"].as_str())
        .collect();
    assert!(codes.contains(&"not_found") && codes.contains(&"request_timeout"));
    assert!(codes.is_sorted());
}
