//! Invalid values at each place: malformed text, numbers out of range, ids that are not UUIDs. And valid values that
//! look harmful: SQL in text is text.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::bad_input::{Bodies, MIB};
use super::people::with;

/// Text that would do harm if it were executed as SQL.
const SQL: [&str; 8] = [
    "'; DROP TABLE users; --",
    "' OR '1'='1",
    "\"; DELETE FROM meetings; --",
    "$1 $$ $body$ :name ?",
    "\\'; SELECT pg_sleep(100); --",
    "1; COMMIT; BEGIN; --",
    "%_%\\%",
    "{\"a\":1}::jsonb || '{}' --",
];

#[tokio::test]
async fn text_type_and_length_are_checked() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    for route in &all.routes {
        for (field, most) in route.texts {
            let mut bad = vec![
                json!(7),
                json!(true),
                json!(["x"]),
                json!({"x": 1}),
                json!(""),
                json!("  "),
                json!("a\0b"),
            ];
            if most + 1 < MIB {
                bad.push(json!("x".repeat(most + 1)));
            }
            for value in bad {
                all.to(route)
                    .json(&with(route.body.clone(), json!({*field: value})))
                    .send()
                    .await
                    .names(field);
            }
        }
    }
    assert_eq!(all.backend.stored().await, before);
    // The maximum length, in characters and not in bytes.
    for route in &all.routes {
        for (field, most) in route.texts.iter().filter(|(_, most)| *most < MIB / 4) {
            let longest = json!("\u{1f389}".repeat(*most));
            let answer = all
                .to(route)
                .json(&with(route.body.clone(), json!({*field: longest})))
                .send()
                .await;
            assert!(answer.status < 300, "{field}: {}", answer.status);
            if *field == "meetingBaasId" {
                all.backend.execute("UPDATE meetings SET meeting_baas_id = NULL").await;
            }
        }
    }
}

/// Half of a character is not text. JSON can represent it, so it is named like any other value that violates a rule, or
/// rejected with its position.
#[tokio::test]
async fn lone_surrogates_are_located() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    for route in &all.routes {
        for (field, _) in route.texts {
            for half in ["\\ud800", "\\udc00", "x\\ud83d", "\\udf89\\ud83c"] {
                let mut body = with(route.body.clone(), json!({*field: "HALF"})).to_string();
                body = body.replace("HALF", half);
                let answer = all.to(route).body("application/json", body).send().await;
                assert!(matches!(answer.status, 400 | 422), "{}: {}", answer.status, answer.body);
                assert!(answer.body.contains(field), "{field} is not named: {}", answer.body);
            }
        }
    }
    assert_eq!(all.backend.stored().await, before);
}

#[tokio::test]
async fn wrong_types_are_named() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    let (create, update) = (&all.routes[1], &all.routes[2]);
    let nobody = "01890c5e-0000-7000-8000-00000000000";
    let bad: BTreeMap<&str, Vec<Value>> = BTreeMap::from([
        (
            "duration",
            vec![
                json!(0),
                json!(-1),
                json!(1441),
                json!(30.5),
                json!("30"),
                json!(u64::MAX),
                json!(i64::MIN),
                json!(1e300),
                json!(2_147_483_648_u64),
                json!(true),
                json!([30]),
            ],
        ),
        (
            "teamMemberId",
            vec![
                json!(""),
                json!("me"),
                json!(7),
                json!(nobody),
                json!(format!("{nobody}g")),
                json!(["x"]),
                json!(format!("{nobody}1' OR '1'='1")),
                json!(format!("{{{nobody}1}}")),
                json!(format!("urn:uuid:{nobody}1")),
                json!(format!("{nobody}1").replace('-', "")),
            ],
        ),
        (
            "date",
            vec![
                json!(""),
                json!("2031-03-04"),
                json!("2031-03-04T09:30:00"),
                json!("04.03.2031"),
                json!(1_900_000_000),
                json!("2031-02-30T09:30:00Z"),
                json!("1969-12-31T23:59:59Z"),
                json!("10000-01-01T00:00:00Z"),
                json!("-0001-01-01T00:00:00Z"),
                json!("infinity"),
                json!("now"),
                json!("2031-03-04T09:30:00Z; DROP"),
            ],
        ),
        (
            "status",
            vec![
                json!("done"),
                json!("SCHEDULED"),
                json!(1),
                json!(""),
                json!(["scheduled"]),
                json!({"scheduled": null}),
            ],
        ),
        (
            "meetingType",
            vec![json!("party"), json!({}), json!("one on one"), json!({"default": null})],
        ),
        (
            "platform",
            vec![json!("phone"), json!(0), json!("ZOOM"), json!({"zoom": null})],
        ),
        (
            "platformMeetingUrl",
            vec![
                json!("javascript:alert(1)"),
                json!("/relative"),
                json!("ftp://example.com"),
                json!("https://"),
                json!("http://exa mple.com"),
                json!("https://example.com/\0"),
                json!(7),
                json!(format!("https://example.com/{}", "x".repeat(8192))),
            ],
        ),
        (
            "recordingUrl",
            vec![json!("file:///etc/passwd"), json!("data:text/html,x"), json!("")],
        ),
        (
            "speakers",
            vec![json!("Ada"), json!({"0": "Ada"}), json!(vec!["x"; 101])],
        ),
    ]);
    for route in [create, update] {
        for (field, values) in &bad {
            for value in values {
                all.to(route)
                    .json(&with(route.body.clone(), json!({*field: value})))
                    .send()
                    .await
                    .names(field);
            }
        }
        // Within a list the item is named.
        for (field, value, named) in [
            ("speakers", json!(["Ada", 7]), "speakers[1]"),
            ("wins", json!([null]), "wins[0]"),
            ("areasForSupport", json!(["a", "b", "\0"]), "areasForSupport[2]"),
            ("keyInsights", json!(["x".repeat(2001)]), "keyInsights[0]"),
        ] {
            all.to(route)
                .json(&with(route.body.clone(), json!({field: value})))
                .send()
                .await
                .names(named);
        }
    }
    // Only some parsers distinguish numbers that no type represents from text that is not JSON: both are rejected.
    for number in [
        "1e400",
        "-1e400",
        "99999999999999999999999999999999999999",
        "1e999999999",
        "NaN",
        "Infinity",
        "0x1e",
        "030",
    ] {
        let body = create
            .body
            .to_string()
            .replace("\"duration\":30", &format!("\"duration\":{number}"));
        let answer = all.to(create).body("application/json", body).send().await;
        assert!(
            matches!(answer.status, 400 | 422),
            "{number}: {} {}",
            answer.status,
            answer.body
        );
    }
    assert_eq!(all.backend.stored().await, before);
}

#[tokio::test]
async fn bad_path_id_is_named() {
    let all = Bodies::start().await;
    let before = all.backend.stored().await;
    let good = Uuid::now_v7();
    let bad = [
        "7".to_owned(),
        "me".to_owned(),
        format!("{good}0"),
        good.simple().to_string(),
        format!("%7B{good}%7D"),
        format!("urn:uuid:{good}"),
        format!("{good}%00"),
        format!("%20{good}"),
        "%27%20OR%20%271%27%3D%271".to_owned(),
        "%F0%9F%8E%89".to_owned(),
        "..%2F..%2Fetc".to_owned(),
        "x".repeat(4000),
    ];
    for bad in &bad {
        for (method, path, field) in [
            ("GET", format!("/api/meetings/{bad}"), "id"),
            ("PUT", format!("/api/meetings/{bad}"), "id"),
            ("DELETE", format!("/api/meetings/{bad}"), "id"),
            ("GET", format!("/api/meetings/{bad}/changes"), "id"),
            ("GET", format!("/api/meetings/{bad}/agenda"), "id"),
            ("GET", format!("/api/meetings/team-member/{bad}"), "userId"),
            ("POST", format!("/api/meetings/{bad}/suggest-tasks"), "id"),
            ("GET", format!("/api/meetings/{bad}/tasks"), "id"),
            ("POST", format!("/api/meetings/{bad}/tasks"), "id"),
            ("PATCH", format!("/api/meetings/{bad}/tasks/{good}"), "id"),
            ("PATCH", format!("/api/meetings/{good}/tasks/{bad}"), "taskId"),
            ("PATCH", format!("/api/meetings/{good}/tasks/{bad}/approve"), "taskId"),
            ("DELETE", format!("/api/meetings/{good}/tasks/{bad}"), "taskId"),
            ("GET", format!("/api/users/{bad}/key-areas"), "id"),
            ("POST", format!("/api/users/{bad}/key-areas"), "id"),
            ("PUT", format!("/api/users/{good}/key-areas/{bad}"), "areaId"),
            ("DELETE", format!("/api/users/{bad}/key-areas/{good}"), "id"),
            ("GET", format!("/api/meetings/analysis-history/{bad}"), "userId"),
            ("GET", format!("/api/meetings/analysis/{good}/{bad}"), "analysisId"),
            ("GET", format!("/api/meetings/analyze/{bad}"), "userId"),
        ] {
            let call = all.backend.call(method, &path).by(&all.team.admin);
            let call = if matches!(method, "GET" | "DELETE") {
                call
            } else {
                call.json(&json!({"text": "x"}))
            };
            call.send().await.names(field);
        }
    }
    assert_eq!(all.backend.stored().await, before);
    // Case is no difference.
    let nothing = good.to_string().to_uppercase();
    all.backend
        .get(&format!("/api/meetings/{nothing}"))
        .by(&all.team.admin)
        .send()
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn sql_in_text_is_text() {
    let all = Bodies::start().await;
    let tables = all.backend.stored().await;
    for sql in SQL {
        for route in &all.routes[1..] {
            for (field, _) in route.texts {
                let body = with(route.body.clone(), json!({*field: sql}));
                let answer = all.to(route).json(&body).send().await;
                assert!(answer.status < 300, "{field}: {}", answer.body);
                assert_eq!(answer.json()[field], sql);
                if *field == "meetingBaasId" {
                    all.backend.execute("UPDATE meetings SET meeting_baas_id = NULL").await;
                }
            }
        }
        let lists = json!({"speakers": [sql], "wins": [sql, sql], "areasForSupport": [sql], "keyInsights": [sql]});
        let answer = all.to(&all.routes[2]).json(&lists).send().await.is(200).json();
        for (field, value) in lists.as_object().unwrap() {
            assert_eq!(&answer[field], value);
        }
        let claims = json!({"sub": sql, "email": "sql@example.com", "name": sql});
        let user = all
            .backend
            .post("/api/users/register")
            .claiming(claims.clone())
            .send()
            .await
            .is(201)
            .json();
        assert_eq!((&user["clerkId"], &user["name"]), (&json!(sql), &json!(sql)));
        let me = all
            .backend
            .get("/api/users/me")
            .claiming(claims)
            .send()
            .await
            .is(200)
            .json();
        assert_eq!(me, user);
        let keyed = all
            .to(&all.routes[1])
            .key(sql)
            .json(&all.routes[1].body)
            .send()
            .await
            .is(201);
        let replayed = all
            .to(&all.routes[1])
            .key(sql)
            .json(&all.routes[1].body)
            .send()
            .await
            .is(201);
        assert_eq!(replayed.body, keyed.body);
    }
    let after = all.backend.stored().await;
    assert!(
        tables.iter().all(|(table, (rows, _))| after[table].0 >= *rows),
        "rows are gone"
    );
}
