-- One write and one read of each kind, with rows that belong to nobody: what the functions' statements need from the
-- schema, its triggers and the role's privileges. `cargo seer doctor` runs it in a transaction that it rolls back. Each
-- statement has to write or find a row. Its subjects have a control character, which no token's has.

INSERT INTO users (id, clerk_id, email, name, role, admin_id) VALUES
    ('00000000-0000-4000-8000-0000000000a1', E'\x01trial 1', 'lead@trial.invalid', 'Trial', 'admin', NULL),
    ('00000000-0000-4000-8000-0000000000a2', E'\x01trial 2', 'member@trial.invalid', 'Trial', 'user',
        '00000000-0000-4000-8000-0000000000a1');
UPDATE users SET name = 'Trial member' WHERE clerk_id = E'\x01trial 2';
INSERT INTO invitations (id, admin_id, email, token_hash) VALUES
    ('00000000-0000-4000-8000-0000000000b1', '00000000-0000-4000-8000-0000000000a1', 'guest@trial.invalid',
        sha256('trial'));
UPDATE invitations SET expires_at = now() + interval '7 days' WHERE id = '00000000-0000-4000-8000-0000000000b1';
INSERT INTO meetings (
    id, team_id, created_by, team_member_id, title, date, duration, meeting_type, platform, meeting_baas_id,
    calendar_event_id
) VALUES (
    '00000000-0000-4000-8000-0000000000c1', '00000000-0000-4000-8000-0000000000a1',
    '00000000-0000-4000-8000-0000000000a1', '00000000-0000-4000-8000-0000000000a2', 'Trial',
    '2031-03-04T09:30:00Z', 30, 'one_on_one', 'google_meet', E'\x01trial bot', E'\x01trial event'
);
UPDATE meetings SET title = 'Trial meeting', version = version + 1
WHERE id = '00000000-0000-4000-8000-0000000000c1' AND version = 1;
INSERT INTO meeting_changes (
    id, meeting_id, change_type, previous_title, previous_date, previous_duration, new_title, new_date, new_duration
) VALUES (
    '00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-0000000000c1', 'renamed', 'Trial',
    '2031-03-04T09:30:00Z', 30, 'Trial meeting', '2031-03-04T09:30:00Z', 30
);
SELECT deliver_recording(jsonb_populate_record(NULL::webhook_inbox, jsonb_build_object(
    'id', '00000000-0000-4000-8000-0000000000e1', 'received_at', now(), 'bot_id', E'\x01trial bot',
    'event_id', E'\x01trial event', 'kind', 'complete', 'transcript', 'Trial: words', 'skipped', 0
)));
INSERT INTO tasks (id, meeting_id, team_id, text, assigned_to) VALUES
    ('00000000-0000-4000-8000-0000000000f1', '00000000-0000-4000-8000-0000000000c1',
        '00000000-0000-4000-8000-0000000000a1', 'Trial', '00000000-0000-4000-8000-0000000000a2');
UPDATE tasks SET status = 'complete', completed_at = now() WHERE id = '00000000-0000-4000-8000-0000000000f1';
INSERT INTO key_areas (id, user_id, team_id, created_by, name, description) VALUES
    ('00000000-0000-4000-8000-000000000011', '00000000-0000-4000-8000-0000000000a2',
        '00000000-0000-4000-8000-0000000000a1', '00000000-0000-4000-8000-0000000000a1', 'Trial', 'Trial');
UPDATE key_areas SET name = 'Trial area' WHERE id = '00000000-0000-4000-8000-000000000011';
SELECT m.id FROM users u, meetings m
WHERE u.clerk_id = E'\x01trial 2' AND m.id = '00000000-0000-4000-8000-0000000000c1' AND sees(u, m)
    AND m.transcript = 'Trial: words' AND m.status = 'completed';
SELECT t.id FROM users u JOIN meetings m ON manages(u, m) JOIN tasks t ON t.meeting_id = m.id
WHERE u.clerk_id = E'\x01trial 1' AND m.id = '00000000-0000-4000-8000-0000000000c1' AND m.team_id = team_of(u)
    AND t.status = 'complete';
SELECT * FROM meeting_changes WHERE meeting_id = '00000000-0000-4000-8000-0000000000c1';
SELECT k.id FROM users u, users o JOIN key_areas k ON k.user_id = o.id
WHERE u.clerk_id = E'\x01trial 1' AND o.clerk_id = E'\x01trial 2' AND writes(u, o) AND reads(u, o);
SELECT id FROM colleagues WHERE id = '00000000-0000-4000-8000-0000000000a2';
SELECT id FROM invitations WHERE id = '00000000-0000-4000-8000-0000000000b1' AND expires_at > now();
DELETE FROM invitations WHERE id = '00000000-0000-4000-8000-0000000000b1';
DELETE FROM key_areas WHERE id = '00000000-0000-4000-8000-000000000011';
DELETE FROM tasks WHERE id = '00000000-0000-4000-8000-0000000000f1';
DELETE FROM meetings WHERE id = '00000000-0000-4000-8000-0000000000c1';
