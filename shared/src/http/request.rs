//! A handler's request, and its access to the database.
//!
//! All input is taken from the event unchanged and validated on access. `read` and `write` run within the invocation's
//! deadline; `write` applies the Idempotency-Key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Abort;
use super::body;
use super::caller::Caller;
use super::function::Function;
use super::if_match::IfMatch;
use super::page::{self, Page};
use super::problem::Error;
use super::response::Response;
use crate::db::{Change, Deadline, IdempotencyKey, Origin, Pool, Receipt, Session, WriteAttempt, Written};
use crate::text::Id;

/// The longest idempotency key, in characters.
pub const LONGEST_KEY: usize = 255;

/// The rule in the error for an invalid idempotency key.
pub const KEY_RULE: &str = "must be 1 to 255 visible ASCII characters";

/// One request.
#[derive(Debug)]
pub struct Request {
    event: Box<ApiGatewayV2httpRequest>,
    caller: Option<Caller>,
    body: Vec<u8>,
    deadline: Deadline,
    function: &'static Function,
    route: &'static str,
    /// The invocation's id.
    id: String,
    rehearsal: bool,
}

impl Request {
    /// Creates a request of `route` from an event of payload format 2.0. `id` is the invocation's.
    ///
    /// # Errors
    /// Fails with 413 for a body over the service's limit, and with 400 for invalid base64.
    pub(super) fn new(
        mut event: Box<ApiGatewayV2httpRequest>,
        id: &str,
        deadline: Deadline,
        function: &'static Function,
        route: &'static str,
    ) -> Result<Self, Error> {
        let text = event.body.take().unwrap_or_default();
        // Base64 encodes three bytes as four characters, so the size is checked before decoding.
        let limit = function.service.largest_body;
        let most = if event.is_base64_encoded {
            limit.div_ceil(3) * 4
        } else {
            limit
        };
        if text.len() > most {
            return Err(Error::TooLarge(limit));
        }
        let body = if event.is_base64_encoded {
            STANDARD
                .decode(text)
                .map_err(|_| Error::Malformed("The body is not valid base64.".to_owned()))?
        } else {
            text.into_bytes()
        };
        if body.len() > limit {
            return Err(Error::TooLarge(limit));
        }
        let authorizer = event.request_context.authorizer.as_ref();
        let jwt = authorizer.and_then(|authorizer| authorizer.jwt.as_ref());
        Ok(Self {
            caller: jwt.and_then(|jwt| Caller::from_claims(&jwt.claims)),
            event,
            body,
            deadline,
            function,
            route,
            id: id.to_owned(),
            rehearsal: false,
        })
    }

    /// Creates a request from the route's example event, which INIT handles for a caller that does not exist: its reads
    /// find nothing, and its writes change nothing. Afterwards the server has prepared and planned its statement.
    pub(super) fn rehearsal(
        example: &str,
        deadline: Deadline,
        function: &'static Function,
        route: &'static str,
    ) -> Option<Self> {
        let event = serde_json::from_str(example).ok()?;
        let request = Self::new(event, "", deadline, function, route).ok()?;
        Some(Self {
            caller: Some(Caller::nonexistent()),
            rehearsal: true,
            ..request
        })
    }

    /// Returns whether this is the example event that INIT handles, which has no signature.
    pub fn is_rehearsal(&self) -> bool {
        self.rehearsal
    }

    /// Returns the deadline of the answer.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Returns the raw body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the headers; API Gateway sends their names in lower case.
    pub fn headers(&self) -> &HeaderMap {
        &self.event.headers
    }

    /// Returns the caller.
    ///
    /// # Errors
    /// Fails with 401 if the gateway sent none.
    pub fn caller(&self) -> Result<Caller, Error> {
        self.caller.clone().ok_or_else(Caller::missing)
    }

    /// Returns the caller's subject; `None` if the gateway sent no caller.
    pub(super) fn subject(&self) -> Option<&str> {
        self.caller.as_ref().map(|caller| caller.sub.as_str())
    }

    /// Returns an id from the path: a UUID, or a type that a product made for the ids of one kind.
    ///
    /// # Errors
    /// Fails with 422 and the parameter's name.
    pub fn id<T: From<Uuid>>(&self, name: &str) -> Result<T, Error> {
        let text = self
            .event
            .path_parameters
            .get(name)
            .map(String::as_str)
            .unwrap_or_default();
        let id = Id::parse(text).ok_or_else(|| Error::field(name, Id::RULE))?;
        Ok(T::from(id.uuid()))
    }

    /// Deserializes the body from JSON.
    ///
    /// # Errors
    /// Fails with 415 for a compressed body, and with 415, 400, or 422 and the field's name; see [`body::json`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.refuse_compression()?;
        let content_type = self.headers().get(http::header::CONTENT_TYPE);
        body::json(content_type.and_then(|value| value.to_str().ok()), &self.body)
    }

    /// Deserializes JSON like [`json`](Self::json), from a corrected copy of the body. For a sender that cannot be told to
    /// send something else, so its Content-Type does not matter.
    ///
    /// # Errors
    /// As [`json`](Self::json), except for the Content-Type.
    pub fn json_from<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        self.refuse_compression()?;
        body::json(None, body)
    }

    fn refuse_compression(&self) -> Result<(), Error> {
        let mut codings = self.headers().get_all(http::header::CONTENT_ENCODING).iter();
        if codings.any(|coding| !body::is_identity(coding.to_str().unwrap_or("?"))) {
            return Err(Error::UnsupportedEncoding);
        }
        Ok(())
    }

    /// Deserializes the query string into a struct of fields that are parsed from text.
    ///
    /// # Errors
    /// Fails with 422 and the parameter's name.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Error> {
        body::query(self.event.raw_query_string.as_deref().unwrap_or_default())
    }

    /// Returns 200 with a page of the list that was asked for, as a JSON array; if there is a next page, its address is
    /// in a Link header.
    pub fn page<T: Serialize>(&self, page: &Page<T>) -> Response {
        let (response, next) = page.written();
        let Some(cursor) = next else {
            return response;
        };
        let path = self.event.raw_path.as_deref().unwrap_or_default();
        let query = self.event.raw_query_string.as_deref().unwrap_or_default();
        response.with_header(
            "link",
            format!("<{}>; rel=\"next\"", page::next_address(path, query, &cursor)),
        )
    }

    /// Returns the If-Match header (RFC 9110 §13.1.1).
    ///
    /// # Errors
    /// Fails with 422 and the header's name if it is not a valid entity tag.
    pub fn if_match(&self) -> Result<IfMatch, Error> {
        let values = self.headers().get_all(http::header::IF_MATCH);
        let values: Option<Vec<_>> = values.iter().map(|value| value.to_str().ok()).collect();
        let condition = values.and_then(|values| match &*values {
            [] => Some(IfMatch::Absent),
            [..] => IfMatch::parse(&values.join(",")),
        });
        condition.ok_or_else(|| Error::field("If-Match", "must be an ETag as it was received, quotes included, or *"))
    }

    /// Runs a read; see [`Pool::read`].
    ///
    /// # Errors
    /// Fails with the rejection of `work`, or with the database error.
    ///
    /// # Cancel safety
    /// As [`Pool::read`].
    pub async fn read<T, W>(&self, work: W) -> Result<T, Error>
    where
        W: AsyncFn(&mut Session) -> Result<T, Abort>,
    {
        if self.rehearsal {
            self.pool()?.rehearse(self.deadline, work).await;
            return Err(Error::unknown_caller());
        }
        self.pool()?.read(self.deadline, work).await
    }

    /// Runs a write exactly once; see [`Pool::write`]. `answer` builds the response from the value that `work` returns,
    /// or that `replay` reads if a request with the same Idempotency-Key was applied in the last 24 hours: the resource
    /// as it is now, with the original status. Both get `input`.
    ///
    /// # Errors
    /// Fails with the rejection of `work` or `replay`, with 422 for a key of another request, or with the database
    /// error.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the write applied or not. A request with the same Idempotency-Key then applies or
    /// replays it; without that header it is unknown which.
    pub async fn write<I, T, W, P>(
        &self,
        input: I,
        work: W,
        replay: P,
        answer: fn(T) -> Response,
    ) -> Result<Response, Error>
    where
        W: AsyncFn(&mut Session, &WriteAttempt, &I) -> Result<T, Abort>,
        P: AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort>,
    {
        let key = self.key_of_header()?;
        self.write_under(key, input, work, replay, answer).await
    }

    /// Runs a write of several statements exactly once; see [`Pool::transact`], and [`write`](Self::write) for
    /// `replay` and `answer`. `work` sends all its statements regardless of their results, so that INIT prepares each.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    pub async fn transact<I, T, W, P>(
        &self,
        input: I,
        work: W,
        replay: P,
        answer: fn(T) -> Response,
    ) -> Result<Response, Error>
    where
        W: AsyncFn(&mut Session, &I) -> Result<(T, Option<Change>), Abort>,
        P: AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort>,
    {
        let key = self.key_of_header()?.from_request(self.origin());
        let pool = self.pool()?;
        if self.rehearsal {
            pool.rehearse_transaction(self.deadline, &input, work).await;
            return Err(Error::unknown_caller());
        }
        answered(pool.transact(self.deadline, &key, &input, work, replay).await?, answer)
    }

    /// Runs a write under `key` instead of the header's key; see [`write`](Self::write).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    /// As [`write`](Self::write), with `key` for the header's.
    pub async fn write_under<I, T, W, P>(
        &self,
        key: IdempotencyKey,
        input: I,
        work: W,
        replay: P,
        answer: fn(T) -> Response,
    ) -> Result<Response, Error>
    where
        W: AsyncFn(&mut Session, &WriteAttempt, &I) -> Result<T, Abort>,
        P: AsyncFn(&mut Session, &Receipt, &I) -> Result<T, Abort>,
    {
        let pool = self.pool()?;
        if self.rehearsal {
            pool.rehearse_write(self.deadline, &input, work).await;
            return Err(Error::unknown_caller());
        }
        let key = key.from_request(self.origin());
        answered(pool.write(self.deadline, &key, &input, work, replay).await?, answer)
    }

    /// Returns what `audit` records about the request. The gateway names no caller of a route without a token.
    fn origin(&self) -> Origin {
        Origin {
            request_id: self.id.clone(),
            actor: self.subject().map(str::to_owned),
            action: self.route,
        }
    }

    /// Returns the key of the header, for this caller; a new one without the header.
    fn key_of_header(&self) -> Result<IdempotencyKey, Error> {
        Ok(match self.idempotency_key()? {
            Some(key) => self.key(self.subject().ok_or_else(Caller::missing)?, key),
            None => IdempotencyKey::generated(),
        })
    }

    /// Returns the key of a request that does not carry it in the header; `scope` separates such keys from others. The
    /// same body under the same key is the same request at every path.
    pub fn scoped_key(&self, scope: &str, key: &str) -> IdempotencyKey {
        // A token's subject never contains a control character.
        IdempotencyKey::from_client(&format!("\0{scope}"), key, &[&self.body])
    }

    /// Returns the key of this request. It includes a condition if there is one, and is unchanged without.
    fn key(&self, caller: &str, key: &str) -> IdempotencyKey {
        let method = self.event.request_context.http.method.as_str().as_bytes();
        let path = self.event.raw_path.as_deref().unwrap_or_default().as_bytes();
        let mut request = vec![method, path, &self.body];
        request.extend(
            self.headers()
                .get_all(http::header::IF_MATCH)
                .iter()
                .map(HeaderValue::as_bytes),
        );
        IdempotencyKey::from_client(caller, key, &request)
    }

    fn idempotency_key(&self) -> Result<Option<&str>, Error> {
        let Some(value) = self.headers().get("idempotency-key") else {
            return Ok(None);
        };
        let key = value
            .to_str()
            .ok()
            .map(str::trim)
            .filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
        key.map(Some).ok_or_else(|| Error::field("Idempotency-Key", KEY_RULE))
    }

    /// Returns the pool, for work that is neither a read nor a write.
    ///
    /// # Errors
    /// Fails with 500 if `DATABASE_URL` is not usable.
    pub fn pool(&self) -> Result<&'static Pool, Error> {
        self.function.pool()
    }
}

/// Makes the response of a write.
fn answered<T>(written: Written<T, Error>, answer: fn(T) -> Response) -> Result<Response, Error> {
    match written {
        Written::Done(value) => Ok(answer(value)),
        Written::Replayed(receipt, Ok(value)) => Ok(answer(value).replayed(receipt.status)),
        Written::Replayed(_, Err(rejection)) => Err(Error::Replayed(Box::new(rejection))),
        Written::KeyReused => Err(Error::KeyReused),
    }
}
