-- Receipts: every write leaves one in its own statement, and is applied exactly once by it. shared/src/db/receipt.rs has
-- the protocol. A row with a kind is a receipt; a row with a nonce is a tombstone, which keeps a late statement out.

-- In the order in which writes of the earlier release lock them, and at once as strongly as the next migration needs them:
-- a lock that is taken later, or made stronger, deadlocks with a write that waits for it.
LOCK TABLE meetings, tasks, idempotency_keys IN ACCESS EXCLUSIVE MODE;

-- The functions below run as their owner, whoever calls them, with the search path of here: the caller's temporary tables
-- have to come last in it.
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

-- While functions of the earlier release run beside the new ones, their receipts are in idempotency_keys. This trigger
-- copies each into receipts, in the same transaction: the new functions find it, and of two requests under one key, one to
-- each release, the second fails on the key. A later migration drops the table and the trigger.
CREATE FUNCTION copy_receipt_of_earlier_release() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    first_bytes CONSTANT uuid := encode(substring(NEW.key FOR 16), 'hex')::uuid;
    answer jsonb;
BEGIN
    -- Without a client's key nothing comes back for it.
    IF NEW.response <> '' THEN
        answer := convert_from(NEW.response, 'UTF8')::jsonb;
        DELETE FROM receipts WHERE key = first_bytes AND expires_at <= now();
        INSERT INTO receipts (key, request, kind, id, status, expires_at)
        VALUES (
            first_bytes, encode(substring(NEW.request FOR 16), 'hex')::uuid, 'earlier release',
            ((answer ->> 'body')::jsonb ->> 'id')::uuid, (answer ->> 'status')::smallint, NEW.expires_at
        );
    END IF;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION copy_receipt_of_earlier_release() FROM PUBLIC;
CREATE TRIGGER copy_receipt AFTER INSERT OR UPDATE ON idempotency_keys
FOR EACH ROW EXECUTE FUNCTION copy_receipt_of_earlier_release();

-- The receipts there are already: the trigger's lock keeps others from being added meanwhile.
INSERT INTO receipts (key, request, kind, id, status, expires_at)
SELECT
    encode(substring(key FOR 16), 'hex')::uuid, encode(substring(request FOR 16), 'hex')::uuid, 'earlier release',
    ((answer ->> 'body')::jsonb ->> 'id')::uuid, (answer ->> 'status')::smallint, expires_at
FROM idempotency_keys, LATERAL (SELECT convert_from(response, 'UTF8')::jsonb AS answer) AS saved
WHERE response <> '' AND expires_at > now();
