//! Lists of meetings: ordered, filtered, and paged to their end without missing or repeating a meeting.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use super::backend::Backend;
use super::people::{Person, id};

const MEETINGS: &str = "/api/meetings";

fn ids(items: &[Value]) -> Vec<Uuid> {
    items.iter().map(id).collect()
}

async fn listed(backend: &Backend, by: &Person, query: &str) -> Vec<Uuid> {
    let page = backend.get(&format!("{MEETINGS}{query}")).by(by).send().await.is(200);
    ids(&page.items())
}

#[tokio::test]
async fn lists_hold_visible_newest_first() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let other = backend.team("two").await;
    let on = async |day: &str| {
        backend
            .meeting(&team, json!({"date": format!("2031-03-{day}T09:00:00Z")}))
            .await
    };
    let (second, third, first) = (on("02").await, on("03").await, on("01").await);
    let own = backend
        .meeting(
            &team,
            json!({"teamMemberId": team.admin.id, "date": "2031-04-01T00:00:00Z"}),
        )
        .await;
    backend.meeting(&other, json!({})).await;
    let shared = [id(&third), id(&second), id(&first)];
    assert_eq!(listed(&backend, &team.member, "").await, shared);
    assert_eq!(
        listed(&backend, &team.admin, "").await,
        [vec![id(&own)], shared.to_vec()].concat()
    );
    let page = backend.get(MEETINGS).by(&team.admin).send().await;
    let mut expected = own.clone();
    for unlisted in ["transcript", "tasksData"] {
        expected.as_object_mut().unwrap().remove(unlisted);
    }
    let person = |person: &Person| json!({"id": person.id, "name": person.sub.trim_start_matches("user_"), "email": person.email});
    expected["user"] = person(&team.admin);
    expected["teamMember"] = person(&team.admin);
    assert_eq!(page.items()[0], expected);
    assert_eq!(page.items()[1]["teamMember"], person(&team.member));
    assert_eq!(page.header("link"), None);
    let nobody = backend.admin("nobody").await;
    let page = backend.get(MEETINGS).by(&nobody).send().await.is(200);
    assert_eq!((page.json(), page.header("link")), (json!([]), None));
    let alias = backend.get("/api/meetings/with-team-members").by(&team.member);
    let list = backend.get(MEETINGS).by(&team.member).send().await;
    assert_eq!(alias.send().await.is(200).json(), list.json());
}

#[tokio::test]
async fn lists_are_filtered() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let on = |day: &str| format!("2031-03-{day}T09:00:00Z");
    let one = backend
        .meeting(&team, json!({"date": on("01"), "status": "completed"}))
        .await;
    let two = backend
        .meeting(&team, json!({"date": on("02"), "teamMemberId": team.admin.id}))
        .await;
    let three = backend.meeting(&team, json!({"date": on("03")})).await;
    let (one, two, three) = (id(&one), id(&two), id(&three));
    let list = async |query: &str| listed(&backend, &team.admin, query).await;
    assert_eq!(list("?status=completed").await, [one]);
    assert!(list("?status=cancelled").await.is_empty());
    assert_eq!(list(&format!("?teamMemberId={}", team.member.id)).await, [three, one]);
    // Both ends are inclusive.
    assert_eq!(list(&format!("?from={}&to={}", on("02"), on("03"))).await, [three, two]);
    assert_eq!(list(&format!("?to={}", on("02"))).await, [two, one]);
    assert_eq!(list("?from=2031-03-02T10:00:00%2B01:00").await, [three, two]);
    for query in [
        "from=2031-03-02T10:00:00+01:00",
        "to=2031-03-02T10:00:00+01:00",
        "cursor=a+b",
        "status=in+progress",
    ] {
        let refused = backend.get(&format!("{MEETINGS}?{query}")).by(&team.admin).send().await;
        let refused = refused.problem(422, "invalid");
        assert!(refused.body.contains("write %2B"), "{}", refused.body);
    }
    assert_eq!(list("?from=2031-03-02T09:00:00.000001Z").await, [three]);
    assert_eq!(
        list(&format!("?status=scheduled&teamMemberId={}&limit=1", team.member.id)).await,
        [three]
    );
}

#[tokio::test]
async fn bad_query_is_refused_by_name() {
    let backend = Backend::start().await;
    let admin = backend.admin("ada").await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e1", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=5&limit=6", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=%00", "cursor"),
        ("status=done", "status"),
        ("status=", "status"),
        ("teamMemberId=7", "teamMemberId"),
        ("from=yesterday", "from"),
        ("from=2031-03-04", "from"),
        ("to=2031-02-30T00:00:00Z", "to"),
        ("to=10000-01-01T00:00:00Z", "to"),
        ("page=2", "page"),
        ("Status=completed", "Status"),
        ("status=completed'%20OR%201=1--", "status"),
    ] {
        backend
            .get(&format!("{MEETINGS}?{query}"))
            .by(&admin)
            .send()
            .await
            .names(field);
    }
}

#[tokio::test]
async fn paging_is_stable_under_writes() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    // Days shared by several: the id breaks ties.
    for day in [3, 1, 2, 2, 3, 1, 2, 3, 3, 2, 1] {
        backend
            .meeting(&team, json!({"date": format!("2031-03-0{day}T09:00:00Z")}))
            .await;
    }
    let all = ids(&backend.walk(&team.admin, MEETINGS, 100).await);
    assert_eq!(all.len(), 11);
    for limit in [1, 2, 3, 10, 11, 12] {
        assert_eq!(
            ids(&backend.walk(&team.admin, MEETINGS, limit).await),
            all,
            "limit {limit}"
        );
        assert_eq!(
            ids(&backend.walk(&team.member, MEETINGS, limit).await),
            all,
            "limit {limit}"
        );
    }

    let mut met = Vec::new();
    let mut ended = false;
    let mut next = format!("{MEETINGS}?limit=2");
    // More pages than there can be meetings to fill them.
    for _ in 0..100 {
        let page = backend.get(&next).by(&team.admin).send().await.is(200);
        met.extend(ids(&page.items()));
        // One on each side of the current position, and one is deleted that was already returned.
        backend.meeting(&team, json!({"date": "2039-01-01T00:00:00Z"})).await;
        backend.meeting(&team, json!({"date": "2031-03-02T09:00:00Z"})).await;
        if let Some(old) = met.iter().rev().nth(1) {
            backend
                .delete(&format!("{MEETINGS}/{old}"))
                .by(&team.admin)
                .send()
                .await;
        }
        match page.next_page() {
            Some(address) => address.clone_into(&mut next),
            None => {
                ended = true;
                break;
            }
        }
    }
    assert!(ended, "the walk has no end");
    let distinct: BTreeSet<_> = met.iter().collect();
    assert_eq!(distinct.len(), met.len(), "something was met twice");
    assert!(all.iter().all(|id| distinct.contains(id)), "something was missed");
}

/// Imported rows may have one time: the id breaks ties in every list, so that no page skips or repeats one of them.
#[tokio::test]
async fn rows_of_one_time_are_paged_whole() {
    const TIME: &str = "2031-03-04T09:30:00Z";
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let meeting = id(&backend.meeting(&team, json!({})).await);
    let path = format!("{MEETINGS}/{meeting}");
    for _ in 0..5 {
        backend.task(&team.admin, meeting, json!({})).await;
        backend.key_area(&team, "Area").await;
        backend.analysis(&team, "Win", TIME).await;
        let rename = backend.put(&path).by(&team.admin).json(&json!({"title": "New"}));
        rename.send().await.is(200);
    }
    for table in ["tasks", "key_areas", "meeting_changes"] {
        backend
            .execute(&format!("UPDATE {table} SET created_at = '{TIME}'"))
            .await;
    }
    let member = team.member.id;
    let oldest_first = format!("{path}/tasks");
    for list in [
        oldest_first.clone(),
        "/api/meetings/tasks/all".to_owned(),
        format!("{path}/changes"),
        format!("/api/users/{member}/key-areas"),
        format!("/api/meetings/analysis-history/{member}"),
    ] {
        for limit in [1, 2, 5] {
            let found = ids(&backend.walk(&team.admin, &list, limit).await);
            let mut expected: Vec<_> = found.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
            if list != oldest_first {
                expected.reverse();
            }
            assert_eq!((found.len(), &found), (5, &expected), "{list}, limit {limit}");
        }
    }
}

#[tokio::test]
async fn long_pages_fit_the_answer_limit() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    // Escaped, each of these characters takes six: the worst case for an answer of 6 MB.
    let lines = vec!["\u{1}".repeat(2_000); 75];
    for _ in 0..12 {
        backend.meeting(&team, json!({"keyInsights": lines})).await;
    }
    let met = backend.walk(&team.admin, MEETINGS, 1_000).await;
    assert_eq!(met.len(), 12);
    assert_eq!(ids(&met).into_iter().collect::<BTreeSet<_>>().len(), 12);
    assert!(met.iter().all(|meeting| meeting["keyInsights"] == json!(lines)));
}

/// Without a limit, a list of some hundred items has one page.
#[tokio::test]
async fn list_without_limit_is_whole() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    backend
        .meeting(&team, json!({"transcript": "Ada: Good morning."}))
        .await;
    backend
        .execute(
            "INSERT INTO meetings (id, team_id, created_by, team_member_id, title, date, duration)
             SELECT gen_random_uuid(), team_id, created_by, team_member_id, title, date + n * interval '1 day', 30
             FROM meetings, generate_series(1, 299) n",
        )
        .await;
    let page = backend.get(MEETINGS).by(&team.admin).send().await.is(200);
    assert_eq!((page.items().len(), page.header("link")), (300, None));
    // The next page keeps the filter.
    let filtered = format!("{MEETINGS}?status=scheduled&limit=200");
    let page = backend.get(&filtered).by(&team.admin).send().await.is(200);
    let next = page.next_page().unwrap();
    assert!(
        next.starts_with("/api/meetings?status=scheduled&limit=200&cursor="),
        "{next}"
    );
    let page = backend.get(next).by(&team.admin).send().await.is(200);
    assert_eq!((page.items().len(), page.header("link")), (100, None));
}

#[tokio::test]
async fn cursor_reveals_no_other_team() {
    let backend = Backend::start().await;
    let (team, other) = (backend.team("one").await, backend.team("two").await);
    for _ in 0..3 {
        backend.meeting(&team, json!({})).await;
    }
    let own = backend.meeting(&other, json!({"date": "2030-01-01T00:00:00Z"})).await;
    let page = backend.get(&format!("{MEETINGS}?limit=1")).by(&team.admin).send().await;
    let next = page.next_page().unwrap().strip_prefix(MEETINGS).unwrap();
    assert_eq!(listed(&backend, &other.admin, next).await, [id(&own)]);
}
