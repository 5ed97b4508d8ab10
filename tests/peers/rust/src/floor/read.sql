SELECT to_jsonb(m) AS meeting
FROM users u
LEFT JOIN meetings m ON m.id = $2
    AND (u.id IN (m.created_by, m.team_member_id) OR u.role = 'admin' AND u.id = m.team_id)
WHERE u.clerk_id = $1
