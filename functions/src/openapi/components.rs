//! The parts that operations have in common: the token, headers, parameters, problems.

use serde_json::{Value, json};
use shared::http::page::Limit;
use shared::http::{FieldError, LONGEST_KEY};

use super::schemas::{self, Schemas};

/// Returns the parts that operations refer to: the token, headers, parameters, problems.
pub(super) fn components(schemas: &mut Schemas) -> Value {
    let field = schemas.answer::<FieldError>();
    let mut problem = json!({
        "type": "object",
        "description": "Why a request failed (RFC 9457).",
        "properties": {
            "type": {"type": "string", "description": "The type of the problem: stable, for matching."},
            "title": {"type": "string", "description": "The type in words."},
            "status": {"type": "integer", "description": "The status code."},
            "detail": {"type": "string", "description": "The problem of this request."},
            "error": {"type": "string", "description": "The same as `detail`."},
            "requestId": {"type": "string", "description": "The id to report to the operators."},
            "errors": {"type": "array", "items": field, "description": "The violated rules."},
        },
        "required": ["type", "title", "status", "detail", "error", "requestId"],
    });
    schemas.component("Problem", problem.clone());
    // One schema for both: generators take a union of the two for the first, or give up.
    problem["description"] = "A problem, if a function answers. API Gateway itself, before or instead of a function, \
        answers with `message` alone."
        .into();
    problem["properties"]["message"] = json!({"type": "string", "description": "The gateway's message."});
    problem.as_object_mut().map(|members| members.remove("required"));
    schemas.component("Failure", problem);
    let header = |description: &str, schema: Value, required: bool| json!({"description": description, "schema": schema, "required": required});
    json!({
        "securitySchemes": {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A token of the issuer that the HTTP API is configured with; its `sub` identifies the caller.",
            },
        },
        "headers": {
            "RequestId": header("The invocation's id, to report to the operators.", json!({"type": "string"}), true),
            "ETag": header(
                "The version of the meeting, for If-Match.",
                json!({"type": "string", "pattern": "^\"[0-9]+\"$"}),
                true,
            ),
            "Location": header("The address of the new resource.", json!({"type": "string", "format": "uri-reference"}), true),
            "IdempotencyReplayed": header(
                "The request was applied before under the same Idempotency-Key. A replay shows the resource as it is \
                    now, with the status of the first answer; its 403 or 404 has this header too.",
                json!({"type": "string", "enum": ["true"]}),
                false,
            ),
            "Link": header(
                "The address of the next page, with `rel=\"next\"` (RFC 8288); absent on the last page.",
                json!({"type": "string", "pattern": "^<[^>]+>; rel=\"next\"$"}),
                false,
            ),
            "RetryAfter": header("Seconds to wait before a retry.", json!({"type": "integer", "minimum": 1}), false),
            "Authenticate": header("How to authenticate.", json!({"type": "string"}), true),
            "NoStore": header("The answer is for this caller only, and must not be stored.", json!({"type": "string", "enum": ["no-store"]}), true),
            "Age": header(
                "Seconds since the check, if it was made for an earlier request.",
                json!({"type": "integer", "minimum": 0}),
                false,
            ),
        },
        "parameters": {
            "IdempotencyKey": {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Made by the client, once for each request that it may send again: for 24 hours it \
                    is applied once under the same key. A replay shows the resource as it is now, if the caller may see \
                    it now. Two requests under one key wait for each other.",
                "schema": {
                    "type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]([ -~]*[!-~])?$",
                },
                "example": "5c1d7f1e-create",
            },
            "IfMatch": {
                "name": "If-Match",
                "in": "header",
                "description": "The ETag of the version to change, or several, or `*` for any.",
                "schema": {"type": "string", "minLength": 1, "pattern": "^(\\*|(W/)?\"[^\",]*\"( *, *(W/)?\"[^\",]*\")*)$"},
                "example": "*",
            },
            "Limit": {
                "name": "limit",
                "in": "query",
                "description": "The maximum number of items on the page. A page has fewer if more would not fit an answer of 6 MB.",
                "schema": schemas::of::<Limit>(),
            },
            "Cursor": {
                "name": "cursor",
                "in": "query",
                "description": "The `cursor` in the Link header of the previous page.",
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{32}$"},
            },
        },
    })
}
