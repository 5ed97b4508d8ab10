//! AI providers and Google: what is not configured says so.

use serde_json::json;

use super::backend::Backend;

const AI: &str = "/api/users/ai-settings";

#[tokio::test]
async fn ai_settings_are_the_defaults() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    for caller in [&team.admin, &team.member] {
        let settings = backend.get(AI).by(caller).send().await.is(200).json();
        let expected = json!({
            "useCustomAI": false,
            "aiProvider": "anthropic",
            "hasAnthropicKey": false,
            "hasOpenAIKey": false,
            "hasGeminiKey": false,
            "hasValidApiKey": false,
        });
        assert_eq!(settings, expected);
    }
}

/// No key is stored, and none is logged.
#[tokio::test]
async fn ai_key_is_refused() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let before = backend.stored().await;
    let save = |body| backend.post(AI).by(&ada).json(&body).send();
    for provider in ["anthropic", "openai", "gemini"] {
        for key in [json!(""), json!("sk-secret"), json!(null)] {
            let body = json!({"useCustomAI": true, "aiProvider": provider, "apiKey": key});
            let answer = save(body).await.problem(501, "not-configured");
            let log = answer.environment().log().join("\n");
            assert!(
                !log.contains("sk-secret") && !answer.body.contains("sk-secret"),
                "{log}"
            );
        }
    }
    save(json!({"useCustomAI": false, "aiProvider": "gemini"}))
        .await
        .problem(501, "not-configured");
    save(json!({"aiProvider": "gemini"})).await.names("useCustomAI");
    save(json!({"useCustomAI": true, "aiProvider": "other"}))
        .await
        .names("aiProvider");
    save(json!({"useCustomAI": true, "aiProvider": "gemini", "apiKey": 7}))
        .await
        .names("apiKey");
    assert_eq!(backend.stored().await, before);
}

#[tokio::test]
async fn google_is_never_connected() {
    let backend = Backend::start().await;
    let ada = backend.admin("ada").await;
    let before = backend.stored().await;
    for _ in 0..2 {
        let status = backend.get("/api/auth/google/status").by(&ada).send().await.is(200);
        let expected = json!({"connected": false, "hasCalendarIntegration": false, "fullyConnected": false});
        assert_eq!(status.json(), expected);
        let disconnect = backend.post("/api/auth/google/disconnect").by(&ada).json(&json!({}));
        let done = disconnect.send().await.is(200).json();
        assert_eq!(
            (&done["success"], &done["calendarIntegrationsRemoved"]),
            (&json!(true), &json!(0))
        );
    }
    // The page has its token in the body, and no Authorization.
    let prepare = |body| backend.post("/api/auth/google/prepare").json(&body).send();
    prepare(json!({"token": "x"})).await.problem(501, "not-configured");
    prepare(json!({})).await.names("token");
    assert_eq!(backend.stored().await, before);
}
