//! Authentication of the recording service: Standard Webhooks signatures over the raw body, five minutes either way.

use serde_json::json;
use standardwebhooks::Webhook;

use super::backend::{Backend, WEBHOOK_SECRET};
use super::webhook::{Delivery, WEBHOOK, complete, read, recorded};

#[tokio::test]
async fn older_header_names_are_accepted() {
    let (backend, team, path) = recorded(json!({})).await;
    let delivery = Delivery {
        prefix: "svix",
        ..Delivery::of(&complete("bot-1"))
    };
    delivery.send(&backend).await.is(200);
    assert_eq!(read(&backend, &team, &path).await["status"], "completed");
}

#[tokio::test]
async fn unsigned_delivery_is_refused() {
    let (backend, team, _) = recorded(json!({})).await;
    let before = backend.stored().await;
    let event = complete("bot-1");
    let refused = async |delivery: Delivery| delivery.send(&backend).await.problem(401, "unauthorized");
    let good = || Delivery::of(&event);

    refused(Delivery {
        signature: "v1,AAAA".to_owned(),
        ..good()
    })
    .await;
    refused(Delivery {
        signature: String::new(),
        ..good()
    })
    .await;
    refused(Delivery {
        signature: "nonsense".to_owned(),
        ..good()
    })
    .await;
    let signature = good().signature;
    refused(Delivery {
        signature: signature.replacen("v1,", "v2,", 1),
        ..good()
    })
    .await;
    refused(Delivery {
        body: event.to_string().replace("Good", "Evil"),
        ..good()
    })
    .await;
    refused(Delivery {
        body: format!("{event} "),
        ..good()
    })
    .await;
    refused(Delivery {
        id: "msg_other".to_owned(),
        ..good()
    })
    .await;
    refused(Delivery {
        timestamp: good().timestamp + 1,
        ..good()
    })
    .await;
    let mut other = good();
    other.sign("whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0");
    refused(other).await;

    for offset in [-3600, -310, 310, 3600] {
        refused(Delivery::at(&event, offset)).await;
    }
    for timestamp in [0, -1, i64::MAX, i64::MIN] {
        let mut delivery = Delivery { timestamp, ..good() };
        delivery.sign(WEBHOOK_SECRET);
        refused(delivery).await;
    }

    let all = good();
    let timestamp = all.timestamp.to_string();
    let headers = [
        ("webhook-id", all.id.as_str()),
        ("webhook-timestamp", &timestamp),
        ("webhook-signature", &all.signature),
    ];
    for missing in 0..3 {
        let mut call = backend.post(WEBHOOK).body("application/json", all.body.clone());
        for (place, (name, value)) in headers.into_iter().enumerate() {
            if place != missing {
                call = call.header(name, value);
            }
        }
        call.send().await.problem(401, "unauthorized");
    }
    let large = Delivery::of(&json!({"event": "complete", "padding": "x".repeat(4 * 1024 * 1024)}));
    large.send(&backend).await.problem(413, "too-large");
    // A valid token is no signature.
    backend
        .post(WEBHOOK)
        .by(&team.admin)
        .json(&event)
        .send()
        .await
        .problem(401, "unauthorized");
    assert_eq!(backend.stored().await, before);
}

/// Anyone can send one, so it must cost nothing: no connection, no statement, and its body is not parsed.
#[tokio::test]
async fn forged_delivery_reaches_no_database() {
    let backend = Backend::start().await;
    let mut forged = Delivery::of(&complete("bot-1"));
    forged.signature = "v1,AAAA".to_owned();
    let unsigned = || backend.post(WEBHOOK).body("text/plain", "{");
    let key = unsigned().header("x-meeting-baas-api-key", "0123456789abcdef0123456789abcdef");
    for call in [forged.call(&backend), unsigned(), key] {
        let line = call.send().await.problem(401, "unauthorized").line();
        for count in ["connects", "attempts", "round_trips", "rows", "database_ms"] {
            assert_eq!(line[count].as_f64(), Some(0.0), "{count}: {line}");
        }
    }
}

#[tokio::test]
async fn one_valid_signature_is_enough() {
    let (backend, ..) = recorded(json!({})).await;
    let mut delivery = Delivery::of(&complete("bot-1"));
    delivery.signature = format!("v1,AAAA {} v2,BBBB", delivery.signature);
    delivery.send(&backend).await.is(200);
}

#[tokio::test]
async fn small_clock_skew_is_accepted() {
    let (backend, ..) = recorded(json!({})).await;
    for offset in [-240, 240] {
        Delivery::at(&complete("bot-1"), offset).send(&backend).await.is(200);
    }
}

#[tokio::test]
async fn missing_secret_refuses_all() {
    let backend = Backend::with(|function| function.env.retain(|(name, _)| name != "WEBHOOK_SECRET")).await;
    let answer = Delivery::of(&complete("bot-1"))
        .send(&backend)
        .await
        .problem(500, "misconfigured");
    let log = answer.environment().log();
    assert!(log.iter().any(|line| line.contains("WEBHOOK_SECRET")), "{log:#?}");
    // No other function needs it.
    backend.admin("ada").await;
}

/// The crate that signs here is the one that verifies there: an example that other implementations sign the same.
#[test]
fn signature_matches_the_standard() {
    let signer = Webhook::new(WEBHOOK_SECRET).unwrap();
    let signature = signer
        .sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}")
        .unwrap();
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}
