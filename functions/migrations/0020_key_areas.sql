-- Key areas: what the admin of a team agrees with a member to work on.

CREATE TABLE key_areas (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The admin whose team the member was on. A member who changes teams takes none along: they are the old team's.
    team_id uuid NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
    created_by uuid NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
    name text NOT NULL,
    description text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX key_areas_by_user ON key_areas (user_id, team_id, created_at DESC, id DESC);
-- For the foreign keys alone.
CREATE INDEX key_areas_by_team ON key_areas (team_id);
CREATE INDEX key_areas_by_creator ON key_areas (created_by);
