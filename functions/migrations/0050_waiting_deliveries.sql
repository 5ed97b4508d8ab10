-- The health check's role sees no table, so it could not read how long deliveries have waited: a function, as
-- sweep_invitations in 0041, which runs as its owner with the search path of here.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

-- Returns the age in seconds of the oldest delivery that waits for its meeting, or 0 if none waits.
CREATE FUNCTION oldest_waiting_delivery() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0)::bigint
    FROM webhook_inbox WHERE applied_at IS NULL AND isfinite(received_at)
$$;
