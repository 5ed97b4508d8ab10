//! The record of a meeting's changes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::backend::Backend;
use super::people::id;

#[tokio::test]
async fn change_records_replaced_values() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({"title": "First"})).await;
    let meeting = format!("/api/meetings/{}", id(&made));
    let changes = format!("{meeting}/changes");
    let list = async || backend.get(&changes).by(&team.member).send().await.is(200).json();
    assert_eq!(list().await, json!([]));

    for (body, kind) in [
        (json!({"title": "Second"}), "renamed"),
        (json!({"date": "2032-01-01T10:00:00Z", "title": "Third"}), "rescheduled"),
        (json!({"duration": 45}), "rescheduled"),
        (json!({"agenda": "Plans"}), "updated"),
        (json!({"status": "cancelled", "duration": 15}), "cancelled"),
    ] {
        let before = backend.get(&meeting).by(&team.admin).send().await.is(200).json();
        let after = backend
            .put(&meeting)
            .by(&team.admin)
            .json(&body)
            .send()
            .await
            .is(200)
            .json();
        let newest = list().await[0].clone();
        assert_eq!(
            newest
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect::<BTreeSet<_>>(),
            BTreeSet::from([
                "id",
                "meetingId",
                "changeType",
                "previousTitle",
                "previousDate",
                "previousDuration",
                "newTitle",
                "newDate",
                "newDuration",
                "createdAt",
            ])
        );
        assert_eq!(newest["meetingId"], made["id"]);
        assert_eq!(newest["changeType"], kind, "{body}");
        for (field, previous, new) in [
            ("title", "previousTitle", "newTitle"),
            ("date", "previousDate", "newDate"),
            ("duration", "previousDuration", "newDuration"),
        ] {
            let differ = before[field] != after[field];
            let expected = if differ {
                (&before[field], &after[field])
            } else {
                (&Value::Null, &Value::Null)
            };
            assert_eq!((&newest[previous], &newest[new]), expected, "{body}");
        }
    }
    assert_eq!(list().await.as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn refused_change_is_not_recorded() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    let made = backend.meeting(&team, json!({})).await;
    let meeting = format!("/api/meetings/{}", id(&made));
    let put = async |body: Value| backend.put(&meeting).by(&team.admin).json(&body).send().await;
    put(json!({"title": "", "duration": 5})).await.names("title");
    put(json!({"teamMemberId": other.member.id, "title": "Taken over"}))
        .await
        .names("teamMemberId");
    let stale = backend
        .put(&meeting)
        .by(&team.admin)
        .header("if-match", "\"7\"")
        .json(&json!({"title": "Late"}));
    stale.send().await.problem(412, "precondition-failed");
    assert_eq!(backend.number("SELECT count(*) FROM meeting_changes").await, 0);
}

#[tokio::test]
async fn changes_are_paged_newest_first() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let made = backend.meeting(&team, json!({})).await;
    let meeting = format!("/api/meetings/{}", id(&made));
    for title in ["a", "b", "c", "d", "e"] {
        backend
            .put(&meeting)
            .by(&team.admin)
            .json(&json!({"title": title}))
            .send()
            .await
            .is(200);
    }
    let met = backend.walk(&team.member, &format!("{meeting}/changes"), 2).await;
    let titles: Vec<_> = met.iter().map(|change| change["newTitle"].clone()).collect();
    assert_eq!(titles, ["e", "d", "c", "b", "a"]);
    backend
        .get(&format!("{meeting}/changes?status=x"))
        .by(&team.admin)
        .send()
        .await
        .names("status");
}
