//! The agenda of a meeting: its own, or one that is proposed.

use serde_json::{Value, json};
use uuid::Uuid;

use super::backend::Backend;
use super::people::{Person, Team, id};

async fn agenda(backend: &Backend, by: &Person, meeting: &Value) -> Value {
    let path = format!("/api/meetings/{}/agenda", id(meeting));
    backend.get(&path).by(by).send().await.is(200).json()
}

/// A completed meeting that left something, and a later one without an agenda.
async fn pair(backend: &Backend, team: &Team) -> (Value, Value) {
    let earlier = json!({
        "date": "2031-03-01T09:00:00Z", "status": "completed", "wins": ["The release"],
        "areasForSupport": ["Time to write"],
    });
    let earlier = backend.meeting(team, earlier).await;
    for (text, status) in [
        ("Write it down", "incomplete"),
        ("Done", "complete"),
        ("Perhaps", "suggested"),
    ] {
        let task = json!({"text": text, "status": status});
        backend.task(&team.admin, id(&earlier), task).await;
    }
    let later = backend.meeting(team, json!({"date": "2031-03-08T09:00:00Z"})).await;
    (earlier, later)
}

#[tokio::test]
async fn own_agenda_comes_first() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let (_, later) = pair(&backend, &team).await;
    let put = backend.put(&format!("/api/meetings/{}", id(&later))).by(&team.admin);
    put.json(&json!({"agenda": "The release\n\n  Holidays \n"}))
        .send()
        .await
        .is(200);
    let before = backend.stored().await;
    let own = agenda(&backend, &team.member, &later).await;
    assert_eq!(
        own,
        json!({"phases": [{"name": "Agenda", "items": ["The release", "Holidays"]}], "note": null})
    );
    assert_eq!(backend.stored().await, before, "a GET wrote something");
    // As an import stores it; an unusable one does not make the answer fail.
    let store = async |phases: &str| {
        backend
            .execute(&format!(
                "UPDATE meetings SET agenda_phases = '{phases}' WHERE id = '{}'",
                id(&later)
            ))
            .await;
    };
    store(r#"{"phases": [{"name": "First", "items": ["a", "b"]}], "more": 1}"#).await;
    let stored = agenda(&backend, &team.admin, &later).await;
    assert_eq!(
        stored,
        json!({"phases": [{"name": "First", "items": ["a", "b"]}], "note": null})
    );
    store(r#"{"phases": [7]}"#).await;
    assert_eq!(agenda(&backend, &team.admin, &later).await, own);
}

#[tokio::test]
async fn agenda_takes_up_the_meeting_before() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let (earlier, later) = pair(&backend, &team).await;
    // Neither later, nor with another person, nor cancelled.
    for more in [
        json!({"date": "2031-03-09T09:00:00Z", "status": "completed", "wins": ["Later"]}),
        json!({"date": "2031-03-02T09:00:00Z", "status": "completed", "wins": ["Other"], "teamMemberId": team.admin.id}),
        json!({"date": "2031-03-02T09:00:00Z", "status": "cancelled", "wins": ["Cancelled"]}),
    ] {
        backend.meeting(&team, more).await;
    }
    let before = backend.stored().await;
    let proposed = agenda(&backend, &team.member, &later).await;
    let items: Vec<_> = proposed["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phase| phase["items"].clone())
        .collect();
    assert_eq!(
        items[..3],
        [
            json!(["The release"]),
            json!(["Write it down"]),
            json!(["Time to write"])
        ]
    );
    assert!(proposed["note"].as_str().unwrap().contains("2031-03-01"), "{proposed}");
    // The first meeting has none before it.
    let first = agenda(&backend, &team.member, &earlier).await;
    assert_eq!(first["phases"].as_array().unwrap().len(), 3);
    assert!(first["note"].is_string());
    assert_eq!(backend.stored().await, before, "a GET wrote something");
}

/// A creator who is not the admin sees only their own meetings, so that no other is the source of an agenda.
#[tokio::test]
async fn agenda_tells_only_what_is_visible() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let creator = backend.member(&team.admin, "creator").await;
    let (_, later) = pair(&backend, &team).await;
    let to_creator = format!(
        "UPDATE meetings SET created_by = '{}' WHERE id = '{}'",
        creator.id,
        id(&later)
    );
    backend.execute(&to_creator).await;
    let usual = agenda(&backend, &creator, &later).await;
    assert!(!usual.to_string().contains("The release"), "{usual}");
    let nowhere = format!("/api/meetings/{}/agenda", Uuid::now_v7());
    let absent = backend.get(&nowhere).by(&creator).send().await;
    absent.problem(404, "not-found");
}
