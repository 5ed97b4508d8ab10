//! Meetings: create, read, change, delete.

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Answer;
use super::backend::Backend;
use super::people::{Team, id, meeting};

const MEETINGS: &str = "/api/meetings";

fn path(meeting: &Value) -> String {
    format!("{MEETINGS}/{}", id(meeting))
}

async fn change(backend: &Backend, team: &Team, meeting: &Value, body: Value) -> Answer {
    backend.put(&path(meeting)).by(&team.admin).json(&body).send().await
}

#[tokio::test]
async fn omitted_fields_have_defaults() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let body = meeting(team.member.id, json!({"date": "2031-03-04T09:30:00+02:00"}));
    let answer = backend.post(MEETINGS).by(&team.admin).json(&body).send().await.is(201);
    let mut made = answer.json();
    assert_eq!(answer.header("location"), Some(path(&made).as_str()));
    assert_eq!(id(&made).get_version_num(), 7);
    for time in ["createdAt", "updatedAt"] {
        let at = made[time]
            .as_str()
            .unwrap()
            .parse::<chrono::DateTime<chrono::Utc>>()
            .unwrap();
        assert!(
            (chrono::Utc::now() - at).abs() < chrono::TimeDelta::minutes(5),
            "{made}"
        );
        made.as_object_mut().unwrap().remove(time);
    }
    let made_id = made.as_object_mut().unwrap().remove("id").unwrap();
    assert_eq!(
        made,
        json!({
            "title": "Weekly 1:1", "teamMemberId": team.member.id, "date": "2031-03-04T07:30:00Z", "duration": 30,
            "status": "scheduled", "meetingType": "one_on_one", "platform": "google_meet", "platformMeetingUrl": null,
            "googleMeetLink": null, "tasksData": [],
            "meetingBaasId": null, "calendarEventId": null, "processingStatus": "pending", "recordingUrl": null, "transcript": null,
            "speakers": [], "executiveSummary": null, "wins": [], "areasForSupport": [], "keyInsights": [],
            "agenda": null, "createdBy": team.admin.id,
        })
    );
    let read = backend
        .get(&format!("{MEETINGS}/{}", made_id.as_str().unwrap()))
        .by(&team.admin)
        .send()
        .await
        .is(200);
    assert_eq!(read.json(), answer.json());
}

#[tokio::test]
async fn fields_come_back_as_given() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let given = json!({
        "title": "Überblick 1:1 — 日本語 🎉 \u{202e}rtl\t",
        "teamMemberId": team.admin.id,
        "date": "2031-03-04T09:30:00.123456Z",
        "duration": 1440,
        "status": "completed",
        "meetingType": "client_presentation",
        "platform": "google_meet",
        "platformMeetingUrl": "https://meet.example.com/a-b?c=%20d#e",
        "meetingBaasId": "bot-1",
        "calendarEventId": "event-1",
        "recordingUrl": "http://example.com/r.mp4",
        "transcript": "Ada: \"Hi\"\nMax: \\ back\\slash \u{1}\u{7f}",
        "speakers": ["Ada", "Max"],
        "executiveSummary": "{\"not\": \"parsed\"}",
        "wins": ["one, two", "{three}", "NULL", "\"four\""],
        "areasForSupport": ["a"],
        "keyInsights": ["b", "b"],
        "agenda": " leading and trailing ",
    });
    let made = backend
        .post(MEETINGS)
        .by(&team.admin)
        .json(&given)
        .send()
        .await
        .is(201)
        .json();
    for answered in [
        &made,
        &backend.get(&path(&made)).by(&team.admin).send().await.is(200).json(),
    ] {
        for (name, value) in given.as_object().unwrap() {
            assert_eq!(&answered[name], value, "{name}");
        }
    }
}

#[tokio::test]
async fn meeting_has_its_tasks_and_link() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let link = "https://meet.example.com/a";
    let made = backend.meeting(&team, json!({"platformMeetingUrl": link})).await;
    let mut tasks = Vec::new();
    for text in ["first", "second", "third"] {
        tasks.push(backend.task(&team.admin, id(&made), json!({"text": text})).await);
    }
    let read = backend.get(&path(&made)).by(&team.member).send().await.is(200).json();
    assert_eq!(
        (&read["googleMeetLink"], &read["tasksData"]),
        (&json!(link), &json!(tasks))
    );
    let changed = change(&backend, &team, &made, json!({"title": "New"}))
        .await
        .is(200)
        .json();
    assert_eq!(
        (&changed["googleMeetLink"], &changed["tasksData"]),
        (&json!(link), &json!(tasks))
    );
}

/// Tasks that would not fit an answer beside a long transcript are left to their own list.
#[tokio::test]
async fn long_meeting_fits_the_answer_limit() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend
        .meeting(&team, json!({"transcript": "x".repeat(1_000_000)}))
        .await;
    let meeting = id(&made);
    backend
        .execute(&format!(
            "INSERT INTO tasks (id, meeting_id, team_id, text)
             SELECT gen_random_uuid(), id, team_id, repeat(chr(1), 5000) FROM meetings, generate_series(1, 300)
             WHERE id = '{meeting}'"
        ))
        .await;
    let read = backend.get(&path(&made)).by(&team.admin).send().await.is(200);
    let shown = read.json()["tasksData"].as_array().unwrap().len();
    assert!((100..200).contains(&shown), "{shown}");
    let all = backend
        .walk(&team.admin, &format!("{}/tasks", path(&made)), 1_000)
        .await;
    assert_eq!(all.len(), 300);
}

#[tokio::test]
async fn every_contract_choice_is_taken() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    for (field, choices) in [
        (
            "status",
            ["scheduled", "in_progress", "completed", "cancelled", "scheduled"],
        ),
        (
            "meetingType",
            [
                "default",
                "one_on_one",
                "team_meeting",
                "client_presentation",
                "sales_call",
            ],
        ),
        ("platform", ["google_meet", "zoom", "teams", "zoom", "teams"]),
    ] {
        for choice in choices {
            assert_eq!(backend.meeting(&team, json!({field: choice})).await[field], choice);
        }
        let body = meeting(team.member.id, json!({field: "other"}));
        backend
            .post(MEETINGS)
            .by(&team.admin)
            .json(&body)
            .send()
            .await
            .names(field);
    }
}

#[tokio::test]
async fn meeting_needs_a_team_member() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let before = backend.stored().await;
    for nobody in [other.member.id, other.admin.id, Uuid::now_v7()] {
        let body = meeting(nobody, json!({}));
        backend
            .post(MEETINGS)
            .by(&team.admin)
            .json(&body)
            .send()
            .await
            .names("teamMemberId");
    }
    let body = meeting(team.member.id, json!({}));
    backend
        .post(MEETINGS)
        .by(&team.member)
        .json(&body)
        .send()
        .await
        .problem(403, "forbidden");
    assert_eq!(backend.stored().await, before);

    let made = backend.meeting(&team, json!({})).await;
    change(&backend, &team, &made, json!({"teamMemberId": other.member.id}))
        .await
        .names("teamMemberId");
    change(&backend, &team, &made, json!({"teamMemberId": team.admin.id}))
        .await
        .is(200);
}

#[tokio::test]
async fn only_participants_read_meeting() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let colleague = backend.member(&team.admin, "colleague").await;
    let made = backend.meeting(&team, json!({})).await;
    for person in [&team.admin, &team.member] {
        let answer = backend.get(&path(&made)).by(person).send().await.is(200);
        assert_eq!(answer.json(), made);
        assert_eq!(answer.header("etag"), Some("\"1\""));
    }
    backend
        .get(&path(&made))
        .by(&colleague)
        .send()
        .await
        .problem(404, "not-found");
    backend
        .get(&format!("{MEETINGS}/{}", Uuid::now_v7()))
        .by(&team.admin)
        .send()
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn recording_has_one_meeting() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let first = backend.meeting(&team, json!({"meetingBaasId": "bot-1"})).await;
    let second = backend.meeting(&team, json!({"meetingBaasId": "bot-2"})).await;
    let before = backend.stored().await;
    let body = meeting(team.member.id, json!({"meetingBaasId": "bot-1"}));
    backend
        .post(MEETINGS)
        .by(&team.admin)
        .json(&body)
        .send()
        .await
        .problem(409, "conflict");
    change(&backend, &team, &second, json!({"meetingBaasId": "bot-1"}))
        .await
        .problem(409, "conflict");
    assert_eq!(backend.stored().await, before);
    change(&backend, &team, &first, json!({"meetingBaasId": null}))
        .await
        .is(200);
    change(&backend, &team, &second, json!({"meetingBaasId": "bot-1"}))
        .await
        .is(200);
}

#[tokio::test]
async fn change_touches_only_named_fields() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend
        .meeting(
            &team,
            json!({"agenda": "Plans", "wins": ["one"], "transcript": "Ada: Hi"}),
        )
        .await;
    let body = json!({"title": "Monthly", "agenda": null, "duration": 60});
    let answer = change(&backend, &team, &made, body).await.is(200);
    let mut expected = made.clone();
    expected["title"] = json!("Monthly");
    expected["agenda"] = Value::Null;
    expected["duration"] = json!(60);
    expected["updatedAt"] = answer.json()["updatedAt"].clone();
    assert_eq!(answer.json(), expected);
    assert_ne!(expected["updatedAt"], made["updatedAt"]);
    let read = backend.get(&path(&made)).by(&team.member).send().await.is(200);
    assert_eq!(read.json(), expected);
    assert_eq!(read.header("etag"), answer.header("etag"));
    assert_eq!(read.header("etag"), Some("\"2\""));
}

#[tokio::test]
async fn change_breaks_no_rule() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({})).await;
    let before = backend.stored().await;
    change(&backend, &team, &made, json!({})).await.problem(422, "invalid");
    for field in [
        "title",
        "teamMemberId",
        "date",
        "duration",
        "status",
        "meetingType",
        "speakers",
        "wins",
    ] {
        change(&backend, &team, &made, json!({field: null})).await.names(field);
    }
    for field in ["id", "createdBy", "processingStatus", "createdAt", "version", "teamId"] {
        change(&backend, &team, &made, json!({field: made["id"]}))
            .await
            .names(field);
    }
    let body = json!({"title": "Mine"});
    backend
        .put(&path(&made))
        .by(&team.member)
        .json(&body)
        .send()
        .await
        .problem(403, "forbidden");
    let nothing = format!("{MEETINGS}/{}", Uuid::now_v7());
    backend
        .put(&nothing)
        .by(&team.admin)
        .json(&body)
        .send()
        .await
        .problem(404, "not-found");
    assert_eq!(backend.stored().await, before);
}

#[tokio::test]
async fn if_match_prevents_lost_updates() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({})).await;
    let put = async |tag: &str, title: &str| {
        let call = backend.put(&path(&made)).by(&team.admin).header("if-match", tag);
        call.json(&json!({"title": title})).send().await
    };
    put("\"1\"", "first").await.is(200);
    let before = backend.stored().await;
    put("\"1\"", "late").await.problem(412, "precondition-failed");
    put("\"999\", \"nonsense\"", "late")
        .await
        .problem(412, "precondition-failed");
    put("W/\"2\", ", "late").await.problem(412, "precondition-failed");
    put("\"02\"", "late").await.problem(412, "precondition-failed");
    put("2", "late").await.names("If-Match");
    put("", "late").await.names("If-Match");
    let delete = async |tag: &str| {
        backend
            .delete(&path(&made))
            .by(&team.admin)
            .header("if-match", tag)
            .send()
            .await
    };
    delete("\"1\"").await.problem(412, "precondition-failed");
    assert_eq!(backend.stored().await, before);
    put("\"1\", \"2\"", "one of them").await.is(200);
    put("*", "any").await.is(200);
    delete("\"4\"").await.is(204);
}

#[tokio::test]
async fn concurrent_if_match_applies_one() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({})).await;
    let put = async |title: &str| {
        let call = backend
            .put(&path(&made))
            .by(&team.admin)
            .header("if-match", "\"1\"")
            .cold();
        call.json(&json!({"title": title})).send().await.status
    };
    let answers = tokio::join!(put("a"), put("b"), put("c"));
    let mut statuses = [answers.0, answers.1, answers.2];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412]);
    assert_eq!(backend.number("SELECT count(*) FROM meeting_changes").await, 1);
}

#[tokio::test]
async fn concurrent_field_changes_are_kept() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({})).await;
    let put = async |body: Value| {
        backend
            .put(&path(&made))
            .by(&team.admin)
            .cold()
            .json(&body)
            .send()
            .await
            .is(200)
    };
    tokio::join!(
        put(json!({"title": "New"})),
        put(json!({"duration": 99})),
        put(json!({"agenda": "Plans"})),
        put(json!({"wins": ["one"]})),
    );
    let meeting = backend.get(&path(&made)).by(&team.admin).send().await.is(200);
    assert_eq!(meeting.header("etag"), Some("\"5\""));
    let meeting = meeting.json();
    assert_eq!(
        (
            &meeting["title"],
            &meeting["duration"],
            &meeting["agenda"],
            &meeting["wins"]
        ),
        (&json!("New"), &json!(99), &json!("Plans"), &json!(["one"]))
    );
    // Each record begins where the one before it ended.
    let chain = "SELECT count(*) FROM (SELECT previous_title, previous_duration, \
                 lag(new_title) OVER w AS title, lag(new_duration) OVER w AS duration \
                 FROM meeting_changes WINDOW w AS (ORDER BY created_at)) c \
                 WHERE (previous_title, previous_duration) = (coalesce(title, 'Weekly 1:1'), coalesce(duration, 30))";
    assert_eq!(backend.number(chain).await, 4);
}

#[tokio::test]
async fn delete_removes_dependent_rows() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({})).await;
    backend.task(&team.admin, id(&made), json!({})).await;
    change(&backend, &team, &made, json!({"title": "Renamed"}))
        .await
        .is(200);
    let before = backend.stored().await;
    backend
        .delete(&path(&made))
        .by(&team.member)
        .send()
        .await
        .problem(403, "forbidden");
    assert_eq!(backend.stored().await, before);
    backend.delete(&path(&made)).by(&team.admin).send().await.is(204);
    backend
        .delete(&path(&made))
        .by(&team.admin)
        .send()
        .await
        .problem(404, "not-found");
    backend
        .get(&path(&made))
        .by(&team.admin)
        .send()
        .await
        .problem(404, "not-found");
    for table in ["meetings", "tasks", "meeting_changes"] {
        assert_eq!(
            backend.number(&format!("SELECT count(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
}
