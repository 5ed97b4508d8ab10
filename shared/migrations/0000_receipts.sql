-- Receipts: every write leaves one in its own statement, and is applied exactly once by it. src/db/receipt.rs has the
-- protocol. A row with a kind is a receipt; a row with a nonce is a tombstone, which keeps a late statement out.

-- The function below runs as its owner, whoever calls it, with the search path of here: the caller's temporary tables have
-- to come last in it.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

CREATE TABLE receipts (
    -- The first 16 bytes of the digest of the caller and the Idempotency-Key; a UUIDv7 for a write without a key.
    key uuid PRIMARY KEY,
    -- The first 16 bytes of the request's digest.
    request uuid NOT NULL,
    -- A tombstone's: the next statement under this key has to name it.
    nonce uuid,
    -- What the write changed, and the status that it was answered with.
    kind text,
    id uuid,
    version integer,
    status smallint,
    expires_at timestamptz NOT NULL,
    CHECK ((kind IS NULL) = (nonce IS NOT NULL))
);
CREATE INDEX receipts_by_expiry ON receipts (expires_at);

-- Deletes at most `batch` of the rows that expired within the last `age`, the oldest first. A function, so that the
-- health check's role, which sees no table, may call it; it deletes nothing that anything still asks for.
CREATE FUNCTION sweep_receipts(age interval, batch bigint) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    WITH swept AS (
        DELETE FROM receipts WHERE key IN (
            SELECT key FROM receipts
            WHERE expires_at <= now() AND expires_at > now() - age
            ORDER BY expires_at LIMIT batch
            FOR UPDATE SKIP LOCKED
        )
        RETURNING 1
    )
    SELECT count(*) FROM swept
$$;
