-- Meetings, and what was changed about them.

CREATE TABLE meetings (
    id uuid PRIMARY KEY,
    -- The admin whose team the meeting belongs to: the creator's admin, or the creator when that is an admin. Kept here
    -- so that who may see a meeting is decided from its own row, and lists follow an index.
    team_id uuid NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
    created_by uuid NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
    team_member_id uuid NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
    title text NOT NULL,
    date timestamptz NOT NULL,
    duration integer NOT NULL CHECK (duration BETWEEN 1 AND 1440),
    status text NOT NULL DEFAULT 'scheduled'
        CHECK (status IN ('scheduled', 'in_progress', 'completed', 'cancelled')),
    meeting_type text NOT NULL DEFAULT 'default'
        CHECK (meeting_type IN ('default', 'one_on_one', 'team_meeting', 'client_presentation', 'sales_call')),
    platform text CHECK (platform IN ('google_meet', 'zoom', 'teams')),
    platform_meeting_url text,
    -- The recording service's bot_id.
    meeting_baas_id text UNIQUE,
    processing_status text NOT NULL DEFAULT 'pending'
        CHECK (processing_status IN ('pending', 'processing', 'completed', 'failed')),
    recording_url text,
    transcript text,
    speakers text[] NOT NULL DEFAULT '{}',
    executive_summary text,
    wins text[] NOT NULL DEFAULT '{}',
    areas_for_support text[] NOT NULL DEFAULT '{}',
    key_insights text[] NOT NULL DEFAULT '{}',
    agenda text,
    -- When the recording service says the last applied status change happened: older ones arrive late and are skipped.
    bot_status_at timestamptz,
    -- Counts up with every change; the ETag.
    version integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
-- Lists are newest date first, by team, by member and by creator; id breaks ties for the cursor.
CREATE INDEX meetings_by_team ON meetings (team_id, date DESC, id DESC);
CREATE INDEX meetings_by_member ON meetings (team_member_id, date DESC, id DESC);
CREATE INDEX meetings_by_creator ON meetings (created_by, date DESC, id DESC);

CREATE TABLE meeting_changes (
    id uuid PRIMARY KEY,
    meeting_id uuid NOT NULL REFERENCES meetings (id) ON DELETE CASCADE,
    change_type text NOT NULL CHECK (change_type IN ('rescheduled', 'renamed', 'cancelled', 'updated')),
    previous_title text NOT NULL,
    previous_date timestamptz NOT NULL,
    previous_duration integer NOT NULL,
    new_title text NOT NULL,
    new_date timestamptz NOT NULL,
    new_duration integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX meeting_changes_by_meeting ON meeting_changes (meeting_id, created_at DESC, id DESC);
