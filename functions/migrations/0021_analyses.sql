-- Analyses of a member's meetings, and the people of a team with the time of their newest one.

CREATE TABLE analyses (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The admin whose team the member was on: as for key_areas, the old team's analyses stay with it.
    team_id uuid NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
    wins text[] NOT NULL,
    areas_for_support text[] NOT NULL,
    tasks text[] NOT NULL,
    analyzed_at timestamptz NOT NULL
);
CREATE INDEX analyses_by_user ON analyses (user_id, team_id, analyzed_at DESC, id DESC);
-- For the foreign key alone.
CREATE INDEX analyses_by_team ON analyses (team_id);

-- Users as their team sees them: without clerk_id, which identifies them at another service.
CREATE VIEW colleagues AS
SELECT
    id, email, name, role, admin_id, created_at, updated_at,
    (
        SELECT max(a.analyzed_at) FROM analyses a
        WHERE a.user_id = users.id AND a.team_id = coalesce(users.admin_id, users.id)
    ) AS last_analyzed_at
FROM users;
