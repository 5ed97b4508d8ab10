WITH caller AS (
    SELECT id, role = 'admin' AS admin FROM users WHERE clerk_id = $1
), created AS (
    INSERT INTO meetings (
        id, team_id, created_by, team_member_id, title, date, duration, status, meeting_type, platform,
        platform_meeting_url, meeting_baas_id, recording_url, transcript, speakers, executive_summary, wins,
        areas_for_support, key_insights, agenda
    )
    SELECT
        n.id, c.id, c.id, t.id, n.title, n.date, n.duration, n.status, n.meeting_type, n.platform,
        n.platform_meeting_url, n.meeting_baas_id, n.recording_url, n.transcript, n.speakers,
        n.executive_summary, n.wins, n.areas_for_support, n.key_insights, n.agenda
    FROM caller c, jsonb_populate_record(NULL::meetings, $2::text::jsonb) n
    JOIN users t ON t.id = n.team_member_id
    WHERE c.admin AND team_of(t) = c.id
    RETURNING *
), receipt AS (
    INSERT INTO receipts (key, request, kind, id, version, status, expires_at)
    SELECT $3, $3, 'meeting', id, version, 201, now() + interval '1 day' FROM created
)
SELECT c.admin AS admin, to_jsonb(m) AS meeting
FROM caller c LEFT JOIN created m ON true
