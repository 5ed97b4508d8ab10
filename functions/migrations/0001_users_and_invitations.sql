-- Users, and the invitations that put someone on an admin's team.
-- Enumerations are text with CHECK: a PostgreSQL enum costs every connection a look-up of its type.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    clerk_id text NOT NULL UNIQUE,
    email text NOT NULL,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('admin', 'user')),
    -- The admin whose team this user is on; an admin leads a team of their own.
    admin_id uuid REFERENCES users (id) ON DELETE RESTRICT,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (role = 'admin' OR admin_id IS NOT NULL)
);
CREATE INDEX users_by_admin ON users (admin_id);

CREATE TABLE invitations (
    id uuid PRIMARY KEY,
    admin_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Lower case: addresses are compared without regard to case.
    email text NOT NULL CHECK (email = lower(email)),
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'accepted')),
    accepted_by uuid REFERENCES users (id) ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX invitations_pending ON invitations (email, admin_id) WHERE status = 'pending';
CREATE INDEX invitations_by_admin ON invitations (admin_id);
CREATE INDEX invitations_by_accepted ON invitations (accepted_by);
