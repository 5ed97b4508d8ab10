-- A receipt for every write, in the same transaction: see shared/src/db/receipt.rs.

CREATE TABLE idempotency_keys (
    -- SHA-256 of the caller and the key.
    key bytea PRIMARY KEY,
    -- SHA-256 of the request.
    request bytea NOT NULL,
    -- The saved response; empty for a write that brought no key.
    response bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);
