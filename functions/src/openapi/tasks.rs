//! The operations of [`tasks`](crate::tasks).

use serde_json::{Value, json};

use super::operation::{Operation, operation};
use super::schemas::Schemas;
use crate::tasks::suggest::Suggestions;
use crate::tasks::{Draft, Status, Task};
use shared::http::Error;

const MEETING: &str = "The meeting it belongs to";
const TASK: &str = "The task";
/// Seed data: a meeting with tasks, and those of them to be changed, approved, deleted.
const RECORDED: &str = "01900000-0000-7000-8000-000000000102";
const OPEN: &str = "01900000-0000-7000-8000-000000000201";
const SUGGESTED: &str = "01900000-0000-7000-8000-000000000203";
const UNWANTED: &str = "01900000-0000-7000-8000-000000000204";
const MEMBER: &str = "01900000-0000-7000-8000-000000000002";

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (task, tasks) = (schemas.answer::<Task>(), schemas.list::<Task>());
    let suggestions = schemas.answer::<Suggestions>();
    let draft = schemas.request::<Draft>("A new task.");
    schemas.describe("TaskDraft", "Task");
    let said = "The fields of a task that a client changes: at least one. Null clears an optional field.";
    let changes = schemas.changes("TaskChanges", "TaskDraft", said);
    schemas.defaults_to("TaskDraft", "status", &json!(Status::default()));
    let stranger = || Error::field("assignedTo", "must be somebody of the meeting's team, or null");
    let example = || example(RECORDED);
    vec![
        operation!("tasks-list")
            .registered()
            .id("id", MEETING, RECORDED)
            .paged()
            .reads()
            .refuses(Error::not_found("meeting"))
            .answers_page(tasks.clone(), example()),
        operation!("tasks-create")
            .registered()
            .id("id", MEETING, "01900000-0000-7000-8000-000000000101")
            .body(
                draft,
                true,
                json!({"text": "Write the release notes", "assignedTo": MEMBER, "suggestedAssignee": "team_member"}),
            )
            .keyed()
            .refuses(Error::not_found("meeting"))
            .refuses(Error::forbidden(
                "Only the meeting's creator and its team's admin may add tasks.",
            ))
            .refuses(stranger())
            .answers(201, "The task", &[("Location", "Location")], task.clone(), example()),
        operation!("tasks-update")
            .registered()
            .id("id", MEETING, RECORDED)
            .id("taskId", TASK, OPEN)
            .body(changes, true, json!({"status": "complete"}))
            .keyed()
            .refuses(Error::not_found("task"))
            .refuses(Error::forbidden(
                "The team member may only change a task between incomplete and complete.",
            ))
            .refuses(stranger())
            .answers(200, "The task as it is now", &[], task.clone(), example()),
        operation!("tasks-approve")
            .registered()
            .id("id", MEETING, RECORDED)
            .id("taskId", TASK, SUGGESTED)
            .keyed()
            .refuses(Error::not_found("task"))
            .refuses(Error::conflict("Only a suggested task can be approved."))
            .answers(200, "The task as it is now", &[], task, example()),
        operation!("tasks-delete")
            .registered()
            .id("id", MEETING, RECORDED)
            .id("taskId", TASK, UNWANTED)
            .keyed()
            .refuses(Error::not_found("task"))
            .refuses(Error::forbidden(
                "Only the meeting's creator and its team's admin may delete tasks.",
            ))
            .answers_nothing("It is gone"),
        operation!("tasks-suggest")
            .registered()
            .id("id", MEETING, RECORDED)
            .keyed()
            .refuses(Error::not_found("meeting"))
            .refuses(Error::conflict(
                "The meeting has no areas for support, for which tasks could be suggested.",
            ))
            .answers(
                200,
                "The number of suggestions, of now or before",
                &[],
                suggestions,
                json!({
                    "message": "Approve the suggested tasks, or delete them.",
                    "suggestedTasksCount": 2,
                    "areasForSupportCount": 1,
                }),
            ),
        operation!("tasks-all")
            .registered()
            .paged()
            .query::<Status>("status", "Only tasks with this status.")
            .reads()
            .refuses(Error::forbidden("Only an admin may list the tasks of the team."))
            .answers_page(tasks, example()),
    ]
}

pub(super) fn example(meeting: &str) -> Value {
    json!({
        "id": OPEN,
        "text": "Bring the migration runbook up to date",
        "status": "incomplete",
        "assignedTo": MEMBER,
        "reasoning": null,
        "relatedAreaForSupport": "Time to write documentation",
        "suggestedAssignee": "team_member",
        "meetingId": meeting,
        "createdAt": "2026-03-02T10:05:12.654321Z",
        "completedAt": null,
    })
}
