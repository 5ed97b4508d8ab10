//! The route files as modules of this library, for the descriptions in them, and the list of these modules.
//!
//! `cargo seer routes --write` writes the part between the markers, from the route files.

// Of each file, only the description is used here.
#![allow(dead_code)]

use super::RouteFile;

/// Replaces the standard macro in these modules, for `example_event!()`, so that no event is compiled in. Otherwise a
/// missing event would keep `cargo seer routes --write`, which creates it, from compiling.
macro_rules! include_str {
    ($($file:tt)*) => {
        ""
    };
}

macro_rules! route_file {
    ($name:literal, $module:ident) => {
        RouteFile {
            name: $name,
            source: std::include_str!(concat!("../bin/", $name, ".rs")),
            describe: $module::describe,
        }
    };
}

// routes: begin
#[path = "../bin/ai-settings-get.rs"]
mod ai_settings_get;
#[path = "../bin/ai-settings-save.rs"]
mod ai_settings_save;
#[path = "../bin/analyses-current.rs"]
mod analyses_current;
#[path = "../bin/analyses-get.rs"]
mod analyses_get;
#[path = "../bin/analyses-list.rs"]
mod analyses_list;
#[path = "../bin/clerk-webhook.rs"]
mod clerk_webhook;
#[path = "../bin/google-disconnect.rs"]
mod google_disconnect;
#[path = "../bin/google-prepare.rs"]
mod google_prepare;
#[path = "../bin/google-status.rs"]
mod google_status;
#[path = "../bin/health.rs"]
mod health;
#[path = "../bin/invitations-accept.rs"]
mod invitations_accept;
#[path = "../bin/invitations-cancel.rs"]
mod invitations_cancel;
#[path = "../bin/invitations-create.rs"]
mod invitations_create;
#[path = "../bin/invitations-decline.rs"]
mod invitations_decline;
#[path = "../bin/invitations-join.rs"]
mod invitations_join;
#[path = "../bin/invitations-list.rs"]
mod invitations_list;
#[path = "../bin/invitations-received.rs"]
mod invitations_received;
#[path = "../bin/invitations-status.rs"]
mod invitations_status;
#[path = "../bin/key-areas-create.rs"]
mod key_areas_create;
#[path = "../bin/key-areas-delete.rs"]
mod key_areas_delete;
#[path = "../bin/key-areas-list.rs"]
mod key_areas_list;
#[path = "../bin/key-areas-update.rs"]
mod key_areas_update;
#[path = "../bin/meetings-agenda.rs"]
mod meetings_agenda;
#[path = "../bin/meetings-by-member.rs"]
mod meetings_by_member;
#[path = "../bin/meetings-changes.rs"]
mod meetings_changes;
#[path = "../bin/meetings-create.rs"]
mod meetings_create;
#[path = "../bin/meetings-delete.rs"]
mod meetings_delete;
#[path = "../bin/meetings-get.rs"]
mod meetings_get;
#[path = "../bin/meetings-list.rs"]
mod meetings_list;
#[path = "../bin/meetings-update.rs"]
mod meetings_update;
#[path = "../bin/meetings-webhook.rs"]
mod meetings_webhook;
#[path = "../bin/meetings-webhook-alias.rs"]
mod meetings_webhook_alias;
#[path = "../bin/meetings-with-team-members.rs"]
mod meetings_with_team_members;
#[path = "../bin/tasks-all.rs"]
mod tasks_all;
#[path = "../bin/tasks-approve.rs"]
mod tasks_approve;
#[path = "../bin/tasks-create.rs"]
mod tasks_create;
#[path = "../bin/tasks-delete.rs"]
mod tasks_delete;
#[path = "../bin/tasks-list.rs"]
mod tasks_list;
#[path = "../bin/tasks-suggest.rs"]
mod tasks_suggest;
#[path = "../bin/tasks-update.rs"]
mod tasks_update;
#[path = "../bin/team-get.rs"]
mod team_get;
#[path = "../bin/team-members.rs"]
mod team_members;
#[path = "../bin/team-remove.rs"]
mod team_remove;
#[path = "../bin/users-get.rs"]
mod users_get;
#[path = "../bin/users-leave.rs"]
mod users_leave;
#[path = "../bin/users-list.rs"]
mod users_list;
#[path = "../bin/users-me.rs"]
mod users_me;
#[path = "../bin/users-register.rs"]
mod users_register;

pub(super) const ROUTES: &[RouteFile] = &[
    route_file!("ai-settings-get", ai_settings_get),
    route_file!("ai-settings-save", ai_settings_save),
    route_file!("analyses-current", analyses_current),
    route_file!("analyses-get", analyses_get),
    route_file!("analyses-list", analyses_list),
    route_file!("clerk-webhook", clerk_webhook),
    route_file!("google-disconnect", google_disconnect),
    route_file!("google-prepare", google_prepare),
    route_file!("google-status", google_status),
    route_file!("health", health),
    route_file!("invitations-accept", invitations_accept),
    route_file!("invitations-cancel", invitations_cancel),
    route_file!("invitations-create", invitations_create),
    route_file!("invitations-decline", invitations_decline),
    route_file!("invitations-join", invitations_join),
    route_file!("invitations-list", invitations_list),
    route_file!("invitations-received", invitations_received),
    route_file!("invitations-status", invitations_status),
    route_file!("key-areas-create", key_areas_create),
    route_file!("key-areas-delete", key_areas_delete),
    route_file!("key-areas-list", key_areas_list),
    route_file!("key-areas-update", key_areas_update),
    route_file!("meetings-agenda", meetings_agenda),
    route_file!("meetings-by-member", meetings_by_member),
    route_file!("meetings-changes", meetings_changes),
    route_file!("meetings-create", meetings_create),
    route_file!("meetings-delete", meetings_delete),
    route_file!("meetings-get", meetings_get),
    route_file!("meetings-list", meetings_list),
    route_file!("meetings-update", meetings_update),
    route_file!("meetings-webhook", meetings_webhook),
    route_file!("meetings-webhook-alias", meetings_webhook_alias),
    route_file!("meetings-with-team-members", meetings_with_team_members),
    route_file!("tasks-all", tasks_all),
    route_file!("tasks-approve", tasks_approve),
    route_file!("tasks-create", tasks_create),
    route_file!("tasks-delete", tasks_delete),
    route_file!("tasks-list", tasks_list),
    route_file!("tasks-suggest", tasks_suggest),
    route_file!("tasks-update", tasks_update),
    route_file!("team-get", team_get),
    route_file!("team-members", team_members),
    route_file!("team-remove", team_remove),
    route_file!("users-get", users_get),
    route_file!("users-leave", users_leave),
    route_file!("users-list", users_list),
    route_file!("users-me", users_me),
    route_file!("users-register", users_register),
];
// routes: end
