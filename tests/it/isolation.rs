//! Two isolated teams: the answer of each route to every caller other than the owner.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::backend::{Backend, ROUTES};
use super::people::{Person, Team, id, meeting};

/// A request that concerns a resource of the first team.
struct Attempt {
    function: &'static str,
    method: &'static str,
    path: String,
    body: Option<Value>,
    /// The expected statuses: for the team's member who takes part in the meeting, a colleague of theirs, the other
    /// team's admin, the other team's member, an unregistered caller with a valid token, and a request without a token.
    expected: [u16; 6],
}

fn attempts(team: &Team, made: Uuid, task: Uuid, area: Uuid, analysis: Uuid, invited: &Value) -> Vec<Attempt> {
    let one = format!("/api/meetings/{made}");
    let areas = format!("/api/users/{}/key-areas", team.member.id);
    let texts = json!({"name": "x", "description": "x"});
    let attempt = |function, method, path: &str, body, expected| Attempt {
        function,
        method,
        path: path.to_owned(),
        body,
        expected,
    };
    vec![
        attempt("health", "GET", "/api/health", None, [200; 6]),
        attempt(
            "users-leave",
            "POST",
            "/api/users/me/leave",
            None,
            [200, 200, 409, 200, 401, 401],
        ),
        // An unregistered caller can do this.
        attempt(
            "users-register",
            "POST",
            "/api/users/register",
            None,
            [200, 200, 200, 200, 201, 401],
        ),
        attempt("users-me", "GET", "/api/users/me", None, [200, 200, 200, 200, 401, 401]),
        attempt("users-list", "GET", "/api/users", None, [200, 200, 200, 200, 401, 401]),
        attempt(
            "invitations-create",
            "POST",
            "/api/users/invite",
            Some(json!({"email": "new@example.com"})),
            [403, 403, 201, 403, 401, 401],
        ),
        attempt(
            "analyses-list",
            "GET",
            &format!("/api/meetings/analysis-history/{}", team.member.id),
            None,
            [200, 403, 404, 404, 401, 401],
        ),
        attempt(
            "analyses-get",
            "GET",
            &format!("/api/meetings/analysis/{}/{analysis}", team.member.id),
            None,
            [200, 403, 404, 404, 401, 401],
        ),
        attempt(
            "analyses-current",
            "GET",
            &format!("/api/meetings/analyze/{}", team.member.id),
            None,
            [200, 403, 404, 404, 401, 401],
        ),
        attempt(
            "ai-settings-get",
            "GET",
            "/api/users/ai-settings",
            None,
            [200, 200, 200, 200, 401, 401],
        ),
        attempt(
            "users-get",
            "GET",
            &format!("/api/users/{}", team.member.id),
            None,
            [200, 200, 404, 404, 401, 401],
        ),
        attempt(
            "team-get",
            "GET",
            "/api/users/team",
            None,
            [200, 200, 200, 200, 401, 401],
        ),
        attempt(
            "ai-settings-save",
            "POST",
            "/api/users/ai-settings",
            Some(json!({"useCustomAI": false, "aiProvider": "openai", "apiKey": ""})),
            [501, 501, 501, 501, 501, 401],
        ),
        attempt(
            "google-status",
            "GET",
            "/api/auth/google/status",
            None,
            [200, 200, 200, 200, 401, 401],
        ),
        attempt(
            "google-disconnect",
            "POST",
            "/api/auth/google/disconnect",
            Some(json!({})),
            [200, 200, 200, 200, 401, 401],
        ),
        attempt(
            "google-prepare",
            "POST",
            "/api/auth/google/prepare",
            Some(json!({"token": "x"})),
            [501; 6],
        ),
        attempt("key-areas-list", "GET", &areas, None, [200, 403, 404, 404, 401, 401]),
        attempt(
            "key-areas-create",
            "POST",
            &areas,
            Some(texts.clone()),
            [403, 403, 404, 404, 401, 401],
        ),
        attempt(
            "key-areas-update",
            "PUT",
            &format!("{areas}/{area}"),
            Some(texts),
            [403, 403, 404, 404, 401, 401],
        ),
        attempt(
            "key-areas-delete",
            "DELETE",
            &format!("{areas}/{area}"),
            None,
            [403, 403, 404, 404, 401, 401],
        ),
        attempt(
            "team-members",
            "GET",
            "/api/users/team-members",
            None,
            [403, 403, 200, 403, 401, 401],
        ),
        attempt(
            "team-remove",
            "DELETE",
            &format!("/api/users/team-members/{}", team.member.id),
            None,
            [403, 403, 404, 403, 401, 401],
        ),
        attempt(
            "invitations-status",
            "GET",
            "/api/users/can-invite",
            None,
            [403, 403, 200, 403, 401, 401],
        ),
        attempt(
            "invitations-list",
            "GET",
            "/api/users/invitations",
            None,
            [403, 403, 200, 403, 401, 401],
        ),
        attempt(
            "invitations-cancel",
            "DELETE",
            &format!("/api/users/invitations/{}", id(invited)),
            None,
            [403, 403, 404, 403, 401, 401],
        ),
        // Members of the team are on it already; the others are on a team, or lead one.
        attempt(
            "invitations-accept",
            "POST",
            "/api/users/invite/accept",
            Some(json!({"token": invited["token"]})),
            [200, 200, 409, 409, 401, 401],
        ),
        attempt(
            "invitations-received",
            "GET",
            "/api/users/me/invitations",
            None,
            [200, 200, 200, 200, 401, 401],
        ),
        attempt(
            "invitations-join",
            "POST",
            &format!("/api/users/me/invitations/{}/accept", id(invited)),
            None,
            [404, 404, 404, 404, 401, 401],
        ),
        attempt(
            "invitations-decline",
            "DELETE",
            &format!("/api/users/me/invitations/{}", id(invited)),
            None,
            [404, 404, 404, 404, 401, 401],
        ),
        attempt(
            "meetings-list",
            "GET",
            "/api/meetings",
            None,
            [200, 200, 200, 200, 401, 401],
        ),
        attempt(
            "meetings-with-team-members",
            "GET",
            "/api/meetings/with-team-members",
            None,
            [200, 200, 200, 200, 401, 401],
        ),
        attempt(
            "meetings-by-member",
            "GET",
            &format!("/api/meetings/team-member/{}", team.member.id),
            None,
            [200, 200, 404, 404, 401, 401],
        ),
        attempt(
            "meetings-create",
            "POST",
            "/api/meetings",
            Some(meeting(team.member.id, json!({}))),
            [403, 403, 422, 403, 401, 401],
        ),
        attempt("meetings-get", "GET", &one, None, [200, 404, 404, 404, 401, 401]),
        attempt(
            "meetings-update",
            "PUT",
            &one,
            Some(json!({"title": "Mine"})),
            [403, 404, 404, 404, 401, 401],
        ),
        attempt("meetings-delete", "DELETE", &one, None, [403, 404, 404, 404, 401, 401]),
        attempt(
            "meetings-changes",
            "GET",
            &format!("{one}/changes"),
            None,
            [200, 404, 404, 404, 401, 401],
        ),
        attempt(
            "meetings-agenda",
            "GET",
            &format!("{one}/agenda"),
            None,
            [200, 404, 404, 404, 401, 401],
        ),
        attempt(
            "meetings-webhook",
            "POST",
            "/api/meetings/webhook",
            Some(json!({"event": "complete", "data": {"bot_id": "bot-1"}})),
            [401; 6],
        ),
        attempt(
            "meetings-webhook-alias",
            "POST",
            "/api/meetingbaas/webhooks",
            Some(json!({"event": "complete", "data": {"bot_id": "bot-1"}})),
            [401; 6],
        ),
        attempt(
            "clerk-webhook",
            "POST",
            "/api/webhooks/clerk",
            Some(json!({"type": "user.deleted", "data": {"id": team.member.sub}})),
            [401; 6],
        ),
        attempt(
            "tasks-list",
            "GET",
            &format!("{one}/tasks"),
            None,
            [200, 404, 404, 404, 401, 401],
        ),
        attempt(
            "tasks-suggest",
            "POST",
            &format!("{one}/suggest-tasks"),
            None,
            [200, 404, 404, 404, 401, 401],
        ),
        attempt(
            "tasks-create",
            "POST",
            &format!("{one}/tasks"),
            Some(json!({"text": "x"})),
            [403, 404, 404, 404, 401, 401],
        ),
        attempt(
            "tasks-update",
            "PATCH",
            &format!("{one}/tasks/{task}"),
            Some(json!({"text": "x"})),
            [403, 404, 404, 404, 401, 401],
        ),
        attempt(
            "tasks-approve",
            "PATCH",
            &format!("{one}/tasks/{task}/approve"),
            None,
            [200, 404, 404, 404, 401, 401],
        ),
        attempt(
            "tasks-delete",
            "DELETE",
            &format!("{one}/tasks/{task}"),
            None,
            [403, 404, 404, 404, 401, 401],
        ),
        attempt(
            "tasks-all",
            "GET",
            "/api/meetings/tasks/all",
            None,
            [403, 403, 200, 403, 401, 401],
        ),
    ]
}

#[tokio::test]
async fn other_teams_are_out_of_reach() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let colleague = backend.member(&team.admin, "colleague").await;
    let made = id(&backend
        .meeting(
            &team,
            json!({"meetingBaasId": "bot-1", "title": "Secret", "areasForSupport": ["x"]}),
        )
        .await);
    let task = id(&backend
        .task(&team.admin, made, json!({"status": "suggested", "text": "Secret"}))
        .await);
    let area = id(&backend.key_area(&team, "Secret").await);
    let analysis = backend.analysis(&team, "Secret", "2026-03-02T09:30:00Z").await;
    let invited = backend.invite(&team.admin, "secret@example.com").await;
    let attempts = attempts(&team, made, task, area, analysis, &invited);
    let tried: BTreeSet<_> = attempts.iter().map(|attempt| attempt.function).collect();
    assert_eq!(tried, ROUTES.functions(), "a route has nobody who tries it here");

    let stranger = Person::stranger("stranger");
    let callers = [
        Some(&team.member),
        Some(&colleague),
        Some(&other.admin),
        Some(&other.member),
        Some(&stranger),
        None,
    ];
    // Last are leaving, which ends a membership, and registering, which registers the stranger.
    let (last, others): (Vec<_>, Vec<_>) = attempts
        .into_iter()
        .partition(|attempt| ["users-register", "users-leave"].contains(&attempt.function));
    for attempt in others.into_iter().chain(last) {
        for (caller, expected) in callers.into_iter().zip(attempt.expected) {
            let before = backend.stored().await;
            let mut call = backend.call(attempt.method, &attempt.path);
            if let Some(caller) = caller {
                call = call.by(caller);
            }
            if let Some(body) = &attempt.body {
                call = call.json(body);
            }
            let (function, event) = call.event();
            assert_eq!(function, attempt.function);
            let answer = backend.send(&function, event, false).await;
            let who = caller.map_or("nobody", |caller| &caller.sub);
            assert_eq!(
                answer.status, expected,
                "{} by {who}: {}",
                attempt.function, answer.body
            );
            if expected >= 400 {
                assert_eq!(
                    backend.stored().await,
                    before,
                    "{} by {who} wrote something",
                    attempt.function
                );
            }
            let own = caller.is_some_and(|caller| caller.sub == team.member.sub);
            assert!(
                own || !answer.body.contains("Secret"),
                "{} tells {who}: {}",
                attempt.function,
                answer.body
            );
        }
    }
    // After all that the data is unchanged.
    let kept = backend
        .get(&format!("/api/meetings/{made}"))
        .by(&team.admin)
        .send()
        .await
        .is(200);
    assert_eq!(
        (kept.header("etag"), &kept.json()["title"]),
        (Some("\"1\""), &json!("Secret"))
    );
}

/// The answers for invisible and absent resources are identical.
#[tokio::test]
async fn invisible_looks_like_absent() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let made = id(&backend.meeting(&team, json!({})).await);
    let task = id(&backend.task(&team.admin, made, json!({})).await);
    let area = id(&backend.key_area(&team, "Secret").await);
    let analysis = backend.analysis(&team, "Secret", "2026-03-02T09:30:00Z").await;
    let (member, absent) = (team.member.id, Uuid::now_v7());
    for (method, theirs, nowhere) in [
        ("GET", format!("meetings/{made}"), format!("meetings/{absent}")),
        ("DELETE", format!("meetings/{made}"), format!("meetings/{absent}")),
        (
            "GET",
            format!("meetings/{made}/changes"),
            format!("meetings/{absent}/changes"),
        ),
        (
            "GET",
            format!("meetings/{made}/agenda"),
            format!("meetings/{absent}/agenda"),
        ),
        (
            "GET",
            format!("meetings/{made}/tasks"),
            format!("meetings/{absent}/tasks"),
        ),
        (
            "POST",
            format!("meetings/{made}/suggest-tasks"),
            format!("meetings/{absent}/suggest-tasks"),
        ),
        (
            "DELETE",
            format!("meetings/{made}/tasks/{task}"),
            format!("meetings/{absent}/tasks/{absent}"),
        ),
        (
            "PATCH",
            format!("meetings/{made}/tasks/{task}/approve"),
            format!("meetings/{absent}/tasks/{absent}/approve"),
        ),
        (
            "GET",
            format!("users/{member}/key-areas"),
            format!("users/{absent}/key-areas"),
        ),
        (
            "DELETE",
            format!("users/{member}/key-areas/{area}"),
            format!("users/{absent}/key-areas/{absent}"),
        ),
        (
            "GET",
            format!("meetings/analysis/{member}/{analysis}"),
            format!("meetings/analysis/{absent}/{absent}"),
        ),
        (
            "GET",
            format!("meetings/analyze/{member}"),
            format!("meetings/analyze/{absent}"),
        ),
    ] {
        let mut answers = Vec::new();
        for path in [theirs, nowhere] {
            let call = backend.call(method, &format!("/api/{path}")).by(&other.admin);
            let mut problem = call.send().await.problem(404, "not-found").json();
            problem.as_object_mut().unwrap().remove("requestId");
            answers.push(problem);
        }
        assert_eq!(answers[0], answers[1], "{method}");
    }
}

#[tokio::test]
async fn lists_stay_within_the_team() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let mut expected = Vec::new();
    for team in [&team, &other] {
        let made = backend.meeting(team, json!({})).await;
        let task = backend.task(&team.admin, id(&made), json!({})).await;
        expected.push((made, task));
    }
    for (team, (made, task)) in [&team, &other].into_iter().zip(expected) {
        let meetings = format!("/api/meetings?teamMemberId={}", team.member.id);
        for list in ["/api/meetings", meetings.as_str()] {
            let page = backend.get(list).by(&team.admin).send().await.is(200).json();
            assert_eq!(page[0]["id"], made["id"]);
            assert_eq!(page.as_array().unwrap().len(), 1);
        }
        let tasks = backend
            .get("/api/meetings/tasks/all")
            .by(&team.admin)
            .send()
            .await
            .is(200)
            .json();
        assert_eq!(tasks, json!([task]));
    }
    for team in [&team, &other] {
        for caller in [&team.admin, &team.member] {
            let users = backend.get("/api/users").by(caller).send().await.is(200).json();
            let ids: Vec<_> = users.as_array().unwrap().iter().map(id).collect();
            assert_eq!(ids, [team.admin.id, team.member.id]);
        }
    }
    // Filtering by the other team's member changes nothing.
    let theirs = format!("/api/meetings?teamMemberId={}", other.member.id);
    let page = backend.get(&theirs).by(&team.admin).send().await.is(200).json();
    assert_eq!(page, json!([]));
}

/// Only rows that no route creates make a person a participant of another team's meeting; even then they do not see it.
#[tokio::test]
async fn foreign_participant_sees_nothing() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let made = id(&backend.meeting(&team, json!({})).await);
    let path = format!("/api/meetings/{made}");
    for stranger in [&other.admin, &other.member] {
        backend
            .execute(&format!(
                "UPDATE meetings SET team_member_id = '{0}', created_by = '{0}'",
                stranger.id
            ))
            .await;
        let before = backend.stored().await;
        for (method, path) in [
            ("GET", path.clone()),
            ("GET", format!("{path}/tasks")),
            ("DELETE", path.clone()),
        ] {
            let call = backend.call(method, &path).by(stranger);
            call.send().await.problem(404, "not-found");
        }
        let put = backend.put(&path).by(stranger).json(&json!({"title": "x"}));
        put.send().await.problem(404, "not-found");
        let list = backend.get("/api/meetings").by(stranger).send().await.is(200);
        assert_eq!(list.json(), json!([]));
        assert_eq!(backend.stored().await, before);
    }
}
