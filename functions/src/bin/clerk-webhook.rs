//! `POST /api/webhooks/clerk`: receives an event of the identity provider about a user, verified by its signature.
//! Safe to repeat: an event's id is its idempotency key, and an older one does not replace a newer.

use std::process::ExitCode;

use functions::clerk::{self, Delivery};
use functions::meetings::webhook::{Acknowledgement, DELIVERY_LIFETIME};
use functions::{SERVICE, example_event};
use shared::http::{Error, Request, Response};

fn main() -> ExitCode {
    SERVICE.run("POST /api/webhooks/clerk", example_event!(), handle)
}

async fn handle(request: Request) -> Result<Response, Error> {
    let Delivery { id, event } = Delivery::of(&request)?;
    let key = request.scoped_key("clerk", &id).kept_for(DELIVERY_LIFETIME);
    request
        .write_under(
            key,
            event,
            async |db, attempt, event| clerk::apply(db, attempt, event).await,
            async |_, _, _| Ok(()),
            |()| Response::ok(&Acknowledgement::RECEIVED),
        )
        .await
}

functions::describe!(|operation, schemas| {
    use functions::openapi::webhooks::clerk_event;
    use serde_json::json;
    let (event, acknowledgement) = (clerk_event(schemas), schemas.answer::<Acknowledgement>());
    operation
        .public()
        .header(
            "svix-id",
            "The event's id, the same for each retry (or `webhook-id`).",
            "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        )
        .header(
            "svix-timestamp",
            "When it was sent: Unix time in seconds, at most five minutes off (or `webhook-timestamp`).",
            "1767258000",
        )
        .header(
            "svix-signature",
            "HMAC-SHA256 with the secret over id, timestamp and raw body (or `webhook-signature`).",
            "v1,57YwqnFhyVZ7mr8jC96NLyOXdWktDF0od7WjSU1Ovek=",
        )
        .body(
            event,
            true,
            json!({
                "type": "user.updated",
                "data": {
                    "id": "dev-member",
                    "first_name": "Morgan",
                    "last_name": "Meyer",
                    "primary_email_address_id": "idn_1",
                    "email_addresses": [{
                        "id": "idn_1",
                        "email_address": "morgan@example.com",
                        "verification": {"status": "verified"},
                    }],
                    "updated_at": 1_767_258_000_000_u64,
                },
            }),
        )
        .writes()
        .refuses(Error::unauthorized(clerk::REFUSED))
        .answers(
            200,
            "It is applied, or ignored",
            &[],
            acknowledgement,
            json!({"received": true}),
        )
});
