-- Invitations that the invited person accepts: a secret in the link, an expiry. Functions of the release before go on:
-- they name none of the new columns. A pending invitation from before has no link, and is accepted from the person's own
-- list.
--
-- The lock is short: the table is small, and the only scan is that of the rule about addresses.

ALTER TABLE invitations
    -- SHA-256 of the link's token as text; only the person who was given the link knows the token.
    ADD COLUMN token_hash bytea UNIQUE CHECK (octet_length(token_hash) = 32),
    ADD COLUMN expires_at timestamptz NOT NULL DEFAULT now() + interval '7 days',
    -- Without regard to the case of ASCII letters only: what else is the lower case of a letter depends on the system.
    DROP CONSTRAINT invitations_email_check,
    ADD CONSTRAINT invitations_email_check CHECK (email = lower(email COLLATE "C"));
