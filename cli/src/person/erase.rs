//! The effect of an erasure on each table.
//!
//! Rows about the person are deleted. Rows that others need keep the user's id, and the user's row loses subject,
//! address and name: as for a deleted account, which `functions::clerk` describes.

use anyhow::Result;
use shared::db::Session;

use super::Person;

/// Begins the subject of an erased user: a token's subject never contains a control character.
const ERASED: &str = "\u{1}erased:";

/// Statements about the user `$1`, in their order, with what they do to the rows they count.
const OF_USER: [(&str, &str, &str); 9] = [
    (
        "webhook_inbox",
        "deleted: reports about these meetings",
        "DELETE FROM webhook_inbox w USING meetings m
         WHERE m.team_member_id = $1 AND (w.meeting_id = m.id OR w.bot_id = m.meeting_baas_id)",
    ),
    (
        "meetings",
        "deleted: meetings about the person, with their tasks and changes",
        "DELETE FROM meetings WHERE team_member_id = $1",
    ),
    (
        "meetings",
        "changed: the person is no longer named among the speakers",
        "UPDATE meetings m
         SET speakers = array_replace(m.speakers, u.name, 'Former member'), version = m.version + 1,
             updated_at = clock_timestamp()
         FROM users u WHERE u.id = $1 AND m.team_id = coalesce(u.admin_id, u.id) AND u.name = ANY (m.speakers)",
    ),
    (
        "tasks",
        "changed: assigned to nobody",
        "UPDATE tasks SET assigned_to = NULL, updated_at = clock_timestamp() WHERE assigned_to = $1",
    ),
    ("key_areas", "deleted", "DELETE FROM key_areas WHERE user_id = $1"),
    ("analyses", "deleted", "DELETE FROM analyses WHERE user_id = $1"),
    (
        "invitations",
        "deleted: sent or accepted by the person",
        "DELETE FROM invitations WHERE admin_id = $1 OR accepted_by = $1",
    ),
    (
        "audit",
        "changed: the actor is a pseudonym",
        "UPDATE audit a SET actor = 'erased:' || u.id FROM users u
         WHERE u.id = $1 AND a.actor = split_part(replace(u.clerk_id, E'\\x01deleted:', ''), E'\\x01', 1)",
    ),
    (
        "audit",
        "added: that the person was erased",
        "INSERT INTO audit (request_id, action, kind, row_id, status)
         VALUES (gen_random_uuid()::text, 'cargo seer person erase', 'user', $1, 204)",
    ),
];

/// Erases the person within the caller's transaction. Returns a line for each table that changed.
pub(super) async fn erase(db: &mut Session, person: &Person) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut add = |table: &str, what: &str, rows: u64| {
        if rows > 0 {
            lines.push(format!("{table:<15} {rows:>6} {what}"));
        }
    };
    if let Some(user) = person.user {
        for (table, what, sql) in OF_USER {
            add(
                table,
                what,
                sqlx::query(sql).bind(user).execute(&mut *db).await?.rows_affected(),
            );
        }
    }
    let invited = sqlx::query("DELETE FROM invitations WHERE email = ANY ($1)").bind(&person.addresses);
    let invited = invited.execute(&mut *db).await?.rows_affected();
    add("invitations", "deleted: to the person's address", invited);
    if let Some(user) = person.user {
        let replaced = sqlx::query(
            "UPDATE users SET clerk_id = $2 || id, email = id || '@deleted.invalid', name = 'Former member',
                clerk_updated_at = NULL, updated_at = clock_timestamp()
             WHERE id = $1",
        );
        let replaced = replaced
            .bind(user)
            .bind(ERASED)
            .execute(&mut *db)
            .await?
            .rows_affected();
        add("users", "changed: subject, address and name are pseudonyms", replaced);
        let members: i64 = sqlx::query_scalar("SELECT count(*) FROM users WHERE admin_id = $1")
            .bind(user)
            .fetch_one(&mut *db)
            .await?;
        if members > 0 {
            lines.push(format!("the person leads a team of {members}, which has no admin then"));
        }
    }
    Ok(lines)
}
