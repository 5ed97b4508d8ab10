//! Rows that the API cannot have written: a page shows them and does not fail.

use serde_json::{Value, json};

use super::backend::Backend;
use super::people::id;

#[tokio::test]
async fn odd_row_does_not_fail_a_page() {
    let backend = Backend::start().await;
    let team = backend.team("one").await;
    let good = backend.meeting(&team, json!({"title": "Good"})).await;
    let odd = id(&backend.meeting(&team, json!({"title": "Odd"})).await);
    backend
        .task(&team.admin, odd, json!({"text": "Odd", "status": "complete"}))
        .await;
    backend
        .put(&format!("/api/meetings/{odd}"))
        .by(&team.admin)
        .json(&json!({"title": "Odder"}))
        .send()
        .await
        .is(200);
    let one = format!("/api/meetings/{odd}");
    for date in [
        "infinity",
        "-infinity",
        "10000-01-01",
        "294276-12-31",
        "0044-03-15 BC",
        "2031-01-01",
    ] {
        backend
            .execute(&format!(
                "UPDATE meetings SET date = '{date}', updated_at = '{date}', speakers = '{{a,NULL}}', \
                 wins = '{{{{a,b}},{{c,d}}}}' WHERE id = '{odd}'; \
                 UPDATE tasks SET completed_at = '{date}'; UPDATE users SET updated_at = '{date}'; \
                 UPDATE meeting_changes SET new_date = '{date}', previous_date = '{date}'"
            ))
            .await;
        for path in [
            "/api/meetings",
            "/api/meetings/tasks/all",
            "/api/users",
            "/api/users/me",
            &one,
            &format!("{one}/changes"),
            &format!("{one}/tasks"),
        ] {
            backend.get(path).by(&team.admin).send().await.is(200);
        }
        let shown = backend.get(&one).by(&team.admin).send().await.is(200).json();
        assert_eq!(
            (&shown["speakers"], &shown["wins"]),
            (&json!(["a"]), &json!(["a", "b", "c", "d"]))
        );
        let year: u32 = shown["date"].as_str().unwrap()[..4].parse().unwrap();
        let expected = match date {
            "2031-01-01" => 2031,
            "-infinity" | "0044-03-15 BC" => 1,
            _ => 9999,
        };
        assert_eq!(year, expected, "{date}");
        // The page has the good row, in one piece and page by page.
        let all = backend.walk(&team.admin, "/api/meetings", 1).await;
        assert!(
            all.iter().any(|item: &Value| item["id"] == good["id"]),
            "{date}: {all:?}"
        );
    }
}
