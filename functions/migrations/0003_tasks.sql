-- Tasks that come out of a meeting.

CREATE TABLE tasks (
    id uuid PRIMARY KEY,
    meeting_id uuid NOT NULL REFERENCES meetings (id) ON DELETE CASCADE,
    -- The meeting's team, kept here so that all tasks of a team are listed along an index.
    team_id uuid NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
    text text NOT NULL,
    status text NOT NULL DEFAULT 'incomplete' CHECK (status IN ('incomplete', 'complete', 'suggested')),
    assigned_to uuid REFERENCES users (id) ON DELETE SET NULL,
    reasoning text,
    related_area_for_support text,
    suggested_assignee text CHECK (suggested_assignee IN ('manager', 'team_member')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    -- Set and cleared with the status.
    CHECK ((status = 'complete') = (completed_at IS NOT NULL))
);
CREATE INDEX tasks_by_meeting ON tasks (meeting_id, created_at, id);
CREATE INDEX tasks_by_team ON tasks (team_id, created_at DESC, id DESC);
CREATE INDEX tasks_by_assignee ON tasks (assigned_to);
