-- Audit: who changed which row, in which request. The statement of a write adds its row beside the receipt, and the row
-- stays when the receipt has expired and the named row is deleted. Functions of the release before go on: they name no
-- column of here, and leave no row.

-- The function below runs as its owner, whoever calls it, with the search path of here: the caller's temporary tables have
-- to come last in it.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

CREATE TABLE audit (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    id bigint GENERATED ALWAYS AS IDENTITY,
    -- The id of the invocation: in the function's log lines, in the access log, and in the client's x-request-id.
    request_id text NOT NULL,
    -- The subject of the caller's token; NULL for a request without a token, such as a webhook's.
    actor text,
    -- The route, such as `PUT /api/meetings/{id}`.
    action text NOT NULL,
    -- The row and what became of it, as in the receipt: no content of a request, an answer or a row.
    kind text NOT NULL,
    row_id uuid,
    version integer,
    status smallint NOT NULL,
    PRIMARY KEY (at, id)
);
CREATE INDEX audit_by_row ON audit (row_id, at);

-- Default privileges gave the functions' role every right on the table. It needs to add rows, at the time that it is:
-- its password is not enough to read, change or delete a row.
DO $$
DECLARE
    other text;
BEGIN
    FOR other IN
        SELECT DISTINCT grantee::regrole::text FROM pg_class, aclexplode(relacl)
        WHERE oid = 'audit'::regclass AND grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('REVOKE ALL ON audit FROM %s', other);
        EXECUTE format(
            'GRANT INSERT (request_id, actor, action, kind, row_id, version, status) ON audit TO %s', other
        );
    END LOOP;
END
$$;

-- Deletes at most `batch` rows that are older than a year, the oldest first. A function, so that the health check's role,
-- which sees no table, may call it. The age is no parameter: whoever may call it cannot delete a newer row.
CREATE FUNCTION sweep_audit(batch bigint) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    WITH swept AS (
        DELETE FROM audit WHERE (at, id) IN (
            SELECT at, id FROM audit WHERE at <= now() - interval '1 year'
            ORDER BY at LIMIT batch
            FOR UPDATE SKIP LOCKED
        )
        RETURNING 1
    )
    SELECT count(*) FROM swept
$$;
