//! A request of the tests: converted to the event that API Gateway would send, and sent to the function of its route.

use std::net::Ipv4Addr;

use http::Request;
use local::gateway::{Claims, event};
use local::lambda::Payload;
use serde_json::Value;
use tokio::time::timeout;

use super::answer::Answer;
use super::backend::{Backend, HANG_TIMEOUT, ROUTES, tells_no_secret};
use super::people::Person;

/// A request that has not been sent.
pub struct Call<'a> {
    backend: &'a Backend,
    request: http::request::Builder,
    method: &'static str,
    target: String,
    body: Vec<u8>,
    claims: Option<Claims>,
    cold: bool,
}

impl Backend {
    /// GET of a path with its query.
    pub fn get(&self, target: &str) -> Call<'_> {
        self.call("GET", target)
    }

    /// POST to a path.
    pub fn post(&self, target: &str) -> Call<'_> {
        self.call("POST", target)
    }

    /// PUT to a path.
    pub fn put(&self, target: &str) -> Call<'_> {
        self.call("PUT", target)
    }

    /// PATCH of a path.
    pub fn patch(&self, target: &str) -> Call<'_> {
        self.call("PATCH", target)
    }

    /// DELETE of a path.
    pub fn delete(&self, target: &str) -> Call<'_> {
        self.call("DELETE", target)
    }

    /// Any method.
    pub fn call(&self, method: &'static str, target: &str) -> Call<'_> {
        Call {
            backend: self,
            request: Request::builder(),
            method,
            target: target.to_owned(),
            body: Vec::new(),
            claims: None,
            cold: false,
        }
    }
}

impl Call<'_> {
    /// Adds a valid token of this person.
    pub fn by(self, person: &Person) -> Self {
        self.claiming(person.claims())
    }

    /// Adds a valid token with these claims.
    pub fn claiming(mut self, claims: Value) -> Self {
        self.claims = Some(claims.as_object().unwrap().clone());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Adds an Idempotency-Key.
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Adds a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Adds any body.
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    /// Uses an environment that has not served before.
    pub fn cold(mut self) -> Self {
        self.cold = true;
        self
    }

    /// Returns the function of its route, and the event for it.
    pub fn event(self) -> (String, Value) {
        let path = self.target.split('?').next().unwrap();
        let matched = ROUTES.find(self.method, path);
        let matched = matched.unwrap_or_else(|| panic!("the router has no {} {path}", self.method));
        let uri = format!("http://localhost:3001{}", self.target);
        let request = self
            .request
            .method(self.method)
            .uri(uri)
            .body(self.body.into())
            .unwrap();
        let event = event(&matched, &request, self.claims.as_ref(), Ipv4Addr::LOCALHOST.into());
        (matched.route.function.clone(), event)
    }

    /// Sends it and waits for the answer.
    pub async fn send(self) -> Answer {
        let (backend, cold) = (self.backend, self.cold);
        let (function, event) = self.event();
        backend.send(&function, event, cold).await
    }
}

impl Backend {
    /// Sends an event for which a client expects an HTTP answer.
    pub async fn send(&self, function: &str, event: impl Into<Payload>, cold: bool) -> Answer {
        let event = event.into();
        let invocation = async {
            if cold {
                self.lambda().invoke_cold(function, event).await
            } else {
                self.lambda().invoke(function, event).await
            }
        };
        let invocation = timeout(HANG_TIMEOUT, invocation).await.expect("it hangs").unwrap();
        if let Some(environment) = &invocation.environment {
            tells_no_secret(&environment.log());
        }
        Answer::of(function, invocation)
    }

    /// Returns the items of every page of a list, from the first to the one without a next.
    pub async fn walk(&self, by: &Person, list: &str, limit: usize) -> Vec<Value> {
        let first = format!("{list}?limit={limit}");
        let (mut next, mut items) = (first.clone(), Vec::new());
        // More pages than any list of these tests has.
        for _ in 0..100 {
            let page = self.get(&next).by(by).send().await.is(200);
            let page_items = page.items();
            assert!(page_items.len() <= limit, "{} items at limit {limit}", page_items.len());
            items.extend(page_items);
            match page.next_page() {
                Some(address) => address.clone_into(&mut next),
                None => return items,
            }
        }
        panic!("the walk of {first} has no end")
    }
}
