//! Analyses: stored ones, and what a member's completed meetings say.

use serde_json::{Value, json};

use super::backend::Backend;
use super::people::{Person, Team, id};

async fn current(backend: &Backend, team: &Team, by: &Person, query: &str) -> Value {
    let path = format!("/api/meetings/analyze/{}{query}", team.member.id);
    backend.get(&path).by(by).send().await.is(200).json()
}

/// Completes a new meeting on a day of January 2031.
async fn completed(backend: &Backend, team: &Team, day: u8, more: Value) -> uuid::Uuid {
    let date = format!("2031-01-{day:02}T09:30:00Z");
    let made = id(&backend.meeting(team, json!({"date": date})).await);
    let path = format!("/api/meetings/{made}");
    for body in [more, json!({"status": "completed"})] {
        backend.put(&path).by(&team.admin).json(&body).send().await.is(200);
    }
    made
}

fn numbered(word: &str, numbers: std::ops::Range<u8>) -> Vec<String> {
    numbers.map(|number| format!("{word} {number}")).collect()
}

#[tokio::test]
async fn analyses_are_listed_newest_first() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let list = format!("/api/meetings/analysis-history/{}", team.member.id);
    let none = backend.get(&list).by(&team.admin).send().await.is(200);
    assert_eq!(none.json(), json!([]));
    let mut ids = Vec::new();
    for day in 1..4 {
        let at = format!("2026-03-0{day}T09:30:00Z");
        ids.insert(0, backend.analysis(&team, &format!("Win {day}"), &at).await);
    }
    for caller in [&team.admin, &team.member] {
        let listed = backend.get(&list).by(caller).send().await.is(200).json();
        let expected = json!({
            "id": ids[0],
            "userId": team.member.id,
            "wins": ["Win 3"],
            "areasForSupport": ["Area"],
            "tasks": ["Task"],
            "analyzedAt": "2026-03-03T09:30:00Z",
        });
        assert_eq!(listed[0], expected);
        let found: Vec<_> = listed.as_array().unwrap().iter().map(id).collect();
        assert_eq!(found, ids);
        let walked = backend.walk(caller, &list, 2).await;
        assert_eq!(walked.iter().map(id).collect::<Vec<_>>(), ids);
        let one = format!("/api/meetings/analysis/{}/{}", team.member.id, ids[0]);
        assert_eq!(backend.get(&one).by(caller).send().await.is(200).json(), expected);
    }
    // Under its own member only.
    let other = format!("/api/meetings/analysis/{}/{}", team.admin.id, ids[0]);
    backend
        .get(&other)
        .by(&team.admin)
        .send()
        .await
        .problem(404, "not-found");
    // Everybody on the team sees when it was.
    let users = backend.get("/api/users").by(&team.member).send().await.is(200).json();
    let times: Vec<_> = users
        .as_array()
        .unwrap()
        .iter()
        .map(|user| &user["lastAnalyzedAt"])
        .collect();
    assert_eq!(times, [&Value::Null, &json!("2026-03-03T09:30:00Z")]);
    let members = backend
        .get("/api/users/team-members")
        .by(&team.admin)
        .send()
        .await
        .is(200);
    assert_eq!(members.json()[0]["lastAnalyzedAt"], "2026-03-03T09:30:00Z");
    let one = format!("/api/users/{}", team.member.id);
    let member = backend.get(&one).by(&team.admin).send().await.is(200).json();
    assert_eq!(member["lastAnalyzedAt"], "2026-03-03T09:30:00Z");
}

#[tokio::test]
async fn meetings_are_summed_up() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let empty = current(&backend, &team, &team.admin, "").await;
    assert_eq!((&empty["source"], &empty["cached"]), (&json!("none"), &json!(false)));
    for list in ["wins", "areasForSupport", "tasks", "actionItems"] {
        assert_eq!(empty[list], json!([]), "{list}");
    }
    // The pages print the time, and do so badly if there is none.
    assert!(empty["lastAnalyzedAt"].is_string());

    let older = json!({"wins": numbered("win", 0..6), "areasForSupport": ["old", "both"]});
    let older = completed(&backend, &team, 2, older).await;
    let newer = json!({"wins": numbered("win", 4..9), "areasForSupport": ["both", "new"]});
    let newer = completed(&backend, &team, 3, newer).await;
    for (meeting, text, status) in [
        (older, "open of both", "incomplete"),
        (older, "old", "incomplete"),
        (newer, "open of both", "incomplete"),
        (newer, "done", "complete"),
        (newer, "only suggested", "suggested"),
    ] {
        backend
            .task(&team.admin, meeting, json!({"text": text, "status": status}))
            .await;
    }
    // One that is not completed, and one of another member.
    backend.meeting(&team, json!({"wins": ["planned"]})).await;
    let colleague = backend.member(&team.admin, "colleague").await;
    let other = Team {
        admin: team.admin.clone(),
        member: colleague,
    };
    completed(&backend, &other, 4, json!({"wins": ["of another"]})).await;

    for caller in [&team.admin, &team.member] {
        let summary = current(&backend, &team, caller, "?forceRefresh=false").await;
        let mut wins = numbered("win", 4..9);
        wins.extend(numbered("win", 0..3));
        assert_eq!(summary["wins"], json!(wins));
        assert_eq!(summary["areasForSupport"], json!(["both", "new", "old"]));
        assert_eq!(summary["tasks"], json!(["open of both", "old"]));
        assert_eq!(summary["actionItems"], summary["tasks"]);
        assert_eq!(
            (&summary["source"], &summary["cached"]),
            (&json!("meetings"), &json!(false))
        );
    }
    let before = backend.stored().await;
    current(&backend, &team, &team.admin, "?forceRefresh=true").await;
    assert_eq!(backend.stored().await, before, "a GET wrote something");
}

/// An analysis is the answer until a completed meeting changes.
#[tokio::test]
async fn analysis_is_current_until_a_meeting_changes() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = completed(&backend, &team, 2, json!({"wins": ["of the meeting"]})).await;
    let at = "2031-01-03T09:30:00Z";
    backend.analysis(&team, "older", "2031-01-02T09:30:00Z").await;
    backend.analysis(&team, "of the analysis", at).await;
    let summary = current(&backend, &team, &team.member, "").await;
    let expected = json!({
        "wins": ["of the analysis"],
        "areasForSupport": ["Area"],
        "tasks": ["Task"],
        "actionItems": ["Task"],
        "cached": true,
        "lastAnalyzedAt": at,
        "source": "analysis",
    });
    assert_eq!(summary, expected);
    let forced = current(&backend, &team, &team.member, "?forceRefresh=true").await;
    assert_eq!(
        (&forced["wins"], &forced["cached"]),
        (&json!(["of the meeting"]), &json!(false))
    );
    // The time of the change decides, not the date of the meeting.
    backend
        .execute(&format!("UPDATE meetings SET updated_at = '{at}' WHERE id = '{made}'"))
        .await;
    let changed = current(&backend, &team, &team.member, "").await;
    assert_eq!(
        (&changed["wins"], &changed["source"]),
        (&json!(["of the meeting"]), &json!("meetings"))
    );

    let path = format!("/api/meetings/analyze/{}?forceRefresh=perhaps", team.member.id);
    backend.get(&path).by(&team.admin).send().await.names("forceRefresh");
}

/// A member who changes teams takes nothing of the old team's meetings along.
#[tokio::test]
async fn new_team_sees_no_old_analysis() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    completed(&backend, &team, 2, json!({"wins": ["Secret"]})).await;
    let analysis = backend.analysis(&team, "Secret", "2026-03-02T09:30:00Z").await;
    let (member, admin) = (team.member.id, other.admin.id);
    backend
        .execute(&format!("UPDATE users SET admin_id = '{admin}' WHERE id = '{member}'"))
        .await;
    for caller in [&other.admin, &team.member] {
        assert_eq!(current(&backend, &team, caller, "").await["source"], "none");
        let list = format!("/api/meetings/analysis-history/{member}");
        assert_eq!(backend.get(&list).by(caller).send().await.is(200).json(), json!([]));
        let one = format!("/api/meetings/analysis/{member}/{analysis}");
        backend.get(&one).by(caller).send().await.problem(404, "not-found");
        let users = backend.get("/api/users").by(caller).send().await.is(200);
        assert!(!users.body.contains("2026-03-02"), "{}", users.body);
    }
    let path = format!("/api/meetings/analyze/{member}");
    backend
        .get(&path)
        .by(&team.admin)
        .send()
        .await
        .problem(404, "not-found");
}
