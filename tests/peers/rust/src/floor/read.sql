SELECT
    (SELECT to_jsonb(m) FROM meetings m WHERE m.id = seen.id) AS meeting,
    (
        SELECT jsonb_agg(t ORDER BY t.created_at, t.id) FROM (
            SELECT * FROM tasks WHERE meeting_id = seen.id ORDER BY created_at, id LIMIT 1000
        ) t
    ) AS tasks
FROM users u
LEFT JOIN meetings seen ON seen.id = $2 AND sees(u, seen)
WHERE u.clerk_id = $1
