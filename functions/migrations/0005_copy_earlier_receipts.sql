-- The earlier release kept its receipts in idempotency_keys; from now on they are in the engine's table, receipts, which
-- shared/migrations makes first.

-- In the order in which writes of the earlier release lock them, and at once as strongly as the next migration needs them:
-- a lock that is taken later, or made stronger, deadlocks with a write that waits for it.
LOCK TABLE meetings, tasks, idempotency_keys IN ACCESS EXCLUSIVE MODE;

-- The function below runs as its owner, whoever calls it, with the search path of here: the caller's temporary tables have
-- to come last in it.
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), 'pg_temp'), true);

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
