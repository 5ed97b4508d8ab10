-- Retention of invited addresses: an invitation that expired a month ago is deleted, whether it was accepted or not. An
-- accepted one has served its purpose, and a pending one cannot be accepted any more.

-- As in 0005: the function runs as its owner, with the search path of here.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

CREATE INDEX invitations_by_expiry ON invitations (expires_at);

-- Deletes at most `batch` of them, the oldest first. A function, so that the health check's role, which sees no table,
-- may call it.
CREATE FUNCTION sweep_invitations(batch bigint) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    WITH swept AS (
        DELETE FROM invitations WHERE id IN (
            SELECT id FROM invitations WHERE expires_at <= now() - interval '30 days'
            ORDER BY expires_at LIMIT batch
            FOR UPDATE SKIP LOCKED
        )
        RETURNING 1
    )
    SELECT count(*) FROM swept
$$;
