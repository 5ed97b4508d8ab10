SELECT (SELECT to_jsonb(m) FROM meetings m WHERE m.id = seen.id) AS meeting
FROM users u
LEFT JOIN meetings seen ON seen.id = $2
    AND (u.id IN (seen.created_by, seen.team_member_id) OR u.role = 'admin' AND u.id = seen.team_id)
WHERE u.clerk_id = $1
