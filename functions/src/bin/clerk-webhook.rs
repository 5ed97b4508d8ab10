//! `POST /api/webhooks/clerk`: receives an event of the identity provider about a user, verified by its signature.
//! Safe to repeat: an event's id is its idempotency key, and an older one does not replace a newer.

use std::process::ExitCode;

use functions::clerk::{self, Delivery};
use functions::meetings::webhook::{DELIVERY_LIFETIME, Receipt};
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
            |()| Response::ok(&Receipt::RECEIVED),
        )
        .await
}
