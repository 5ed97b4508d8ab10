-- Something to look at: two teams, their meetings and tasks. Safe to run again; a subject who has registered keeps
-- their own id. The ids are those of tests/events.

INSERT INTO users (id, clerk_id, email, name, role, admin_id) VALUES
    ('01900000-0000-7000-8000-000000000001', 'dev-admin', 'admin@example.com', 'Avery Adams', 'admin', NULL),
    ('01900000-0000-7000-8000-000000000003', 'other-admin', 'other@example.com', 'Oakley Olsen', 'admin', NULL),
    ('01900000-0000-7000-8000-000000000004', 'dev-guest', 'guest@example.com', 'Gale Grant', 'admin', NULL)
ON CONFLICT DO NOTHING;

INSERT INTO users (id, clerk_id, email, name, role, admin_id)
SELECT '01900000-0000-7000-8000-000000000002', 'dev-member', 'member@example.com', 'Morgan Meyer', 'user', id
FROM users WHERE clerk_id = 'dev-admin'
ON CONFLICT DO NOTHING;

INSERT INTO meetings (
    id, team_id, created_by, team_member_id, title, date, duration, status, meeting_type, platform,
    platform_meeting_url, meeting_baas_id, processing_status, agenda
)
SELECT
    s.id, admin.id, admin.id, member.id, s.title, s.date, s.duration, s.status, s.meeting_type, s.platform,
    s.url, s.bot, s.processing, s.agenda
FROM (VALUES
    ('01900000-0000-7000-8000-000000000101'::uuid, 'dev-admin', 'dev-member', 'Weekly 1:1 with Morgan',
     date_trunc('hour', now()) + interval '1 day', 30, 'scheduled', 'one_on_one', 'google_meet',
     'https://meet.google.com/abc-defg-hij', 'dev-bot-1', 'pending', 'The release, the on-call rota, holidays'),
    ('01900000-0000-7000-8000-000000000102', 'dev-admin', 'dev-member', 'Weekly 1:1 with Morgan, last week',
     date_trunc('hour', now()) - interval '6 days', 30, 'completed', 'one_on_one', 'google_meet',
     'https://meet.google.com/abc-defg-hij', 'dev-bot-2', 'completed', 'How the migration went'),
    ('01900000-0000-7000-8000-000000000103', 'dev-admin', 'dev-member', 'Sprint planning',
     date_trunc('hour', now()) + interval '3 days', 60, 'scheduled', 'team_meeting', 'zoom',
     'https://zoom.us/j/1234567890', NULL, 'pending', NULL),
    ('01900000-0000-7000-8000-000000000104', 'dev-admin', 'dev-member', 'Roadmap for Acme',
     date_trunc('hour', now()) - interval '2 days', 45, 'cancelled', 'client_presentation', 'teams',
     NULL, NULL, 'pending', NULL),
    ('01900000-0000-7000-8000-000000000105', 'dev-admin', 'dev-admin', 'First call with Globex',
     date_trunc('minute', now()), 30, 'in_progress', 'sales_call', 'zoom',
     'https://zoom.us/j/9876543210', 'dev-bot-5', 'pending', NULL),
    ('01900000-0000-7000-8000-000000000106', 'other-admin', 'other-admin', 'Budget of the other team',
     date_trunc('hour', now()) + interval '2 days', 60, 'scheduled', 'default', NULL,
     NULL, NULL, 'pending', NULL)
) AS s (id, admin, member, title, date, duration, status, meeting_type, platform, url, bot, processing, agenda)
JOIN users admin ON admin.clerk_id = s.admin
JOIN users member ON member.clerk_id = s.member
ON CONFLICT DO NOTHING;

UPDATE meetings
SET recording_url = 'https://recordings.example.com/dev-bot-2.mp4',
    transcript = 'Avery Adams: How did the migration go?' || E'\n'
        || 'Morgan Meyer: Without a minute of downtime, but the runbook was out of date.' || E'\n'
        || 'Avery Adams: Then let us write it down before the next one.',
    speakers = '{Avery Adams,Morgan Meyer}',
    executive_summary = 'The migration went well; its runbook needs work before the next one.',
    wins = '{The migration had no downtime}',
    areas_for_support = '{Time to write documentation}',
    key_insights = '{Runbooks age faster than the systems they describe}'
WHERE id = '01900000-0000-7000-8000-000000000102' AND transcript IS NULL;

INSERT INTO meeting_changes (
    id, meeting_id, change_type, previous_title, previous_date, previous_duration, new_title, new_date, new_duration,
    created_at
)
SELECT
    '01900000-0000-7000-8000-000000000301', id, 'rescheduled', title, date - interval '1 hour', duration, title, date,
    duration, now() - interval '1 day'
FROM meetings WHERE id = '01900000-0000-7000-8000-000000000101'
ON CONFLICT DO NOTHING;

INSERT INTO tasks (
    id, meeting_id, team_id, text, status, assigned_to, reasoning, related_area_for_support, suggested_assignee,
    created_at, completed_at
)
SELECT
    s.id, m.id, m.team_id, s.text, s.status, assignee.id, s.reasoning, s.area, s.suggested,
    now() - s.age, CASE WHEN s.status = 'complete' THEN now() - s.age / 2 END
FROM (VALUES
    ('01900000-0000-7000-8000-000000000201'::uuid, '01900000-0000-7000-8000-000000000102'::uuid,
     'Bring the migration runbook up to date', 'incomplete', 'dev-member', NULL,
     'Time to write documentation', 'team_member', interval '6 days'),
    ('01900000-0000-7000-8000-000000000202', '01900000-0000-7000-8000-000000000102',
     'Thank the database team', 'complete', 'dev-admin', NULL, NULL, 'manager', interval '5 days 23 hours'),
    ('01900000-0000-7000-8000-000000000203', '01900000-0000-7000-8000-000000000102',
     'Keep Friday mornings free of meetings', 'suggested', NULL,
     'Morgan said twice that there is no time to write.', 'Time to write documentation', 'manager',
     interval '5 days 22 hours'),
    ('01900000-0000-7000-8000-000000000204', '01900000-0000-7000-8000-000000000102',
     'Ask for feedback on the old runbook', 'suggested', NULL, 'It was out of date.', NULL, 'team_member',
     interval '5 days 21 hours'),
    ('01900000-0000-7000-8000-000000000205', '01900000-0000-7000-8000-000000000101',
     'Plan the on-call rota', 'incomplete', 'dev-admin', NULL, NULL, NULL, interval '1 day'),
    ('01900000-0000-7000-8000-000000000206', '01900000-0000-7000-8000-000000000101',
     'Hand in holiday dates', 'incomplete', 'dev-member', NULL, NULL, NULL, interval '20 hours'),
    ('01900000-0000-7000-8000-000000000207', '01900000-0000-7000-8000-000000000103',
     'Estimate the open stories', 'incomplete', NULL, NULL, NULL, NULL, interval '2 hours'),
    ('01900000-0000-7000-8000-000000000208', '01900000-0000-7000-8000-000000000106',
     'Collect the figures', 'incomplete', 'other-admin', NULL, NULL, NULL, interval '1 hour')
) AS s (id, meeting, text, status, assignee, reasoning, area, suggested, age)
JOIN meetings m ON m.id = s.meeting
LEFT JOIN users assignee ON assignee.clerk_id = s.assignee
ON CONFLICT DO NOTHING;

INSERT INTO key_areas (id, user_id, team_id, created_by, name, description, created_at, updated_at)
SELECT s.id, member.id, admin.id, admin.id, s.name, s.description, now() - s.age, now() - s.age
FROM (VALUES
    ('01900000-0000-7000-8000-000000000501'::uuid, 'Runbooks',
     'Every runbook is tried out once a quarter', interval '20 days'),
    ('01900000-0000-7000-8000-000000000502', 'On-call',
     'Leads the rota, and reviews each alert that woke somebody', interval '5 days')
) AS s (id, name, description, age)
JOIN users member ON member.clerk_id = 'dev-member'
JOIN users admin ON admin.id = member.admin_id
ON CONFLICT DO NOTHING;

INSERT INTO analyses (id, user_id, team_id, wins, areas_for_support, tasks, analyzed_at)
SELECT
    '01900000-0000-7000-8000-000000000601', member.id, admin.id, '{The migration had no downtime}',
    '{Time to write documentation}', '{Bring the migration runbook up to date}', now() - interval '5 days'
FROM users member JOIN users admin ON admin.id = member.admin_id
WHERE member.clerk_id = 'dev-member'
ON CONFLICT DO NOTHING;

-- The token of the link is development-invitation.
INSERT INTO invitations (id, admin_id, email, token_hash)
SELECT '01900000-0000-7000-8000-000000000401', id, 'guest@example.com', sha256('development-invitation')
FROM users WHERE clerk_id = 'dev-admin'
ON CONFLICT DO NOTHING;

UPDATE invitations SET expires_at = now() + interval '7 days'
WHERE id = '01900000-0000-7000-8000-000000000401' AND status = 'pending';
