-- What a write does in the engine's tables. Doctor runs it after the product's trial, in a transaction that it rolls
-- back. Each statement has to write a row.

INSERT INTO audit (request_id, actor, action, kind, row_id, version, status) VALUES
    ('trial', 'trial', 'trial', 'trial', '00000000-0000-4000-8000-000000000024', 1, 201);
INSERT INTO receipts (key, request, kind, id, version, status, expires_at) VALUES
    ('00000000-0000-4000-8000-000000000021', '00000000-0000-4000-8000-000000000022', 'trial',
        '00000000-0000-4000-8000-000000000024', 1, 201, now());
INSERT INTO receipts AS r (key, request, nonce, expires_at) VALUES
    ('00000000-0000-4000-8000-000000000021', '00000000-0000-4000-8000-000000000022',
        '00000000-0000-4000-8000-000000000023', now())
ON CONFLICT (key) DO UPDATE SET nonce = CASE WHEN r.kind IS NULL THEN excluded.nonce END RETURNING r.*;
DELETE FROM receipts WHERE key = '00000000-0000-4000-8000-000000000021';
