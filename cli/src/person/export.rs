//! Every row about a person.

use anyhow::Result;
use shared::db::Session;

use super::Person;

/// One object: the name of each table with its rows. A meeting is a person's if they lead it or it is about them. The
/// subject of a deleted account is inside what `functions::clerk` made of it. Secrets are left out: the digest of an
/// invitation's link.
const ROWS: &str = "
    WITH person AS (
        SELECT * FROM users WHERE id = $1
    ), held AS (
        SELECT * FROM meetings WHERE team_member_id = $1 OR created_by = $1
    ), found (name, rows) AS (
        SELECT 'users', (SELECT jsonb_agg(to_jsonb(r)) FROM person r)
        UNION ALL SELECT 'invitations', (
            SELECT jsonb_agg(to_jsonb(r) - 'token_hash' ORDER BY r.created_at) FROM invitations r
            WHERE r.admin_id = $1 OR r.accepted_by = $1 OR r.email = ANY ($2)
        )
        UNION ALL SELECT 'meetings', (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.date) FROM held r)
        UNION ALL SELECT 'meeting_changes', (
            SELECT jsonb_agg(to_jsonb(r) ORDER BY r.created_at) FROM meeting_changes r
            WHERE r.meeting_id IN (SELECT id FROM held)
        )
        UNION ALL SELECT 'tasks', (
            SELECT jsonb_agg(to_jsonb(r) ORDER BY r.created_at) FROM tasks r
            WHERE r.assigned_to = $1 OR r.meeting_id IN (SELECT id FROM held)
        )
        UNION ALL SELECT 'key_areas', (
            SELECT jsonb_agg(to_jsonb(r) ORDER BY r.created_at) FROM key_areas r
            WHERE r.user_id = $1 OR r.created_by = $1
        )
        UNION ALL SELECT 'analyses', (
            SELECT jsonb_agg(to_jsonb(r) ORDER BY r.analyzed_at) FROM analyses r WHERE r.user_id = $1
        )
        UNION ALL SELECT 'webhook_inbox', (
            SELECT jsonb_agg(to_jsonb(r) ORDER BY r.received_at) FROM webhook_inbox r
            WHERE r.meeting_id IN (SELECT id FROM held) OR r.bot_id IN (SELECT meeting_baas_id FROM held)
        )
        UNION ALL SELECT 'audit', (
            SELECT jsonb_agg(to_jsonb(r) ORDER BY r.at) FROM audit r
            WHERE r.row_id = $1 OR r.actor IN (
                SELECT split_part(replace(clerk_id, E'\\x01deleted:', ''), E'\\x01', 1) FROM person
            )
        )
    )
    SELECT jsonb_pretty(jsonb_object_agg(name, coalesce(rows, '[]'))) FROM found";

pub(super) async fn rows(db: &mut Session, person: &Person) -> Result<String> {
    let rows = sqlx::query_scalar(ROWS).bind(person.user).bind(&person.addresses);
    Ok(rows.fetch_one(db).await?)
}
