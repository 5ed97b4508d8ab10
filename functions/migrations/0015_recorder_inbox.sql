-- The recorder's deliveries that wait for their meeting, and the team that each bot belongs to.
--
-- On a table of some hundred thousand meetings build the index first, without blocking writes, outside a transaction:
-- CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS meetings_by_bot_and_team ON meetings (meeting_baas_id, team_id);

LOCK TABLE meetings IN ACCESS EXCLUSIVE MODE;

-- A bot belongs to the first team whose meeting has it. There is no foreign key: it stays theirs when the meeting is gone.
-- Two sessions that need a bot's row wait for each other, so that neither misses what the other is about to commit.
CREATE TABLE bots (
    id text PRIMARY KEY,
    -- NULL: the recorder has reported it, and no meeting has it yet.
    team_id uuid
);
INSERT INTO bots (id, team_id) SELECT meeting_baas_id, team_id FROM meetings WHERE meeting_baas_id IS NOT NULL;

-- Unique per team alone: a conflict with another team's meeting would tell that the bot exists. The name is that of the
-- constraint it replaces, which the functions of the release before know too.
CREATE UNIQUE INDEX IF NOT EXISTS meetings_by_bot_and_team ON meetings (meeting_baas_id, team_id);
ALTER TABLE meetings
    DROP CONSTRAINT meetings_meeting_baas_id_key,
    ADD CONSTRAINT meetings_meeting_baas_id_key UNIQUE USING INDEX meetings_by_bot_and_team;

-- What a delivery reports, as far as it could be read. A row is deleted once it is applied, except for one whose
-- transcript is still to be fetched.
CREATE TABLE webhook_inbox (
    id uuid PRIMARY KEY,
    received_at timestamptz NOT NULL,
    bot_id text NOT NULL,
    -- The meeting that the bot's creator named in `extra`.
    meeting_id uuid,
    -- 'progress' is a step of the call; 'failed' and 'complete' are the last report about it.
    kind text NOT NULL CHECK (kind IN ('progress', 'failed', 'complete')),
    -- When the step happened, for 'progress'.
    at timestamptz,
    status text,
    processing_status text,
    transcript text,
    -- Where the transcript is to be fetched, if the delivery does not have it.
    transcript_url text,
    speakers text[],
    recording_url text,
    -- The number of values that could not be read.
    skipped integer NOT NULL,
    applied_at timestamptz
);
CREATE INDEX webhook_inbox_waiting ON webhook_inbox (bot_id, received_at, id) WHERE applied_at IS NULL;
CREATE INDEX webhook_inbox_by_age ON webhook_inbox (received_at);

-- Applies to a meeting the reports that wait for its bot. It runs when any statement writes meeting_baas_id: for a new
-- meeting, for one that is given a bot, and in deliver_recording below.
CREATE FUNCTION take_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    delivery webhook_inbox;
    applied boolean := false;
    -- Later than any step: what is reported after the last report came late.
    finished CONSTANT timestamptz := 'infinity';
BEGIN
    IF TG_OP = 'INSERT' OR NEW.meeting_baas_id IS DISTINCT FROM OLD.meeting_baas_id THEN
        INSERT INTO bots AS b (id, team_id) VALUES (NEW.meeting_baas_id, NEW.team_id)
        ON CONFLICT (id) DO UPDATE SET team_id = coalesce(b.team_id, excluded.team_id);
        -- The steps of another bot say nothing about this one.
        NEW.bot_status_at := NULL;
    END IF;
    -- Another team's bot delivers nothing here, and its absence looks like a bot that has nothing to report.
    IF NOT EXISTS (SELECT FROM bots b WHERE b.id = NEW.meeting_baas_id AND b.team_id = NEW.team_id) THEN
        RETURN NEW;
    END IF;
    FOR delivery IN
        SELECT * FROM webhook_inbox w
        WHERE w.bot_id = NEW.meeting_baas_id AND w.applied_at IS NULL
        ORDER BY w.received_at, w.id
        FOR UPDATE
    LOOP
        IF delivery.kind = 'complete' THEN
            NEW.transcript := coalesce(delivery.transcript, NEW.transcript);
            NEW.speakers := coalesce(delivery.speakers, NEW.speakers);
            NEW.recording_url := coalesce(delivery.recording_url, NEW.recording_url);
            NEW.status := CASE WHEN NEW.status = 'cancelled' THEN NEW.status ELSE 'completed' END;
            NEW.processing_status := CASE
                WHEN delivery.transcript_url IS NOT NULL AND NEW.transcript IS NULL THEN 'processing'
                ELSE 'completed'
            END;
            NEW.bot_status_at := finished;
            applied := true;
        ELSIF NEW.processing_status <> 'completed'
            AND (NEW.bot_status_at IS NULL OR NEW.bot_status_at <= coalesce(delivery.at, finished))
            AND NEW.bot_status_at IS DISTINCT FROM finished
        THEN
            IF NEW.status NOT IN ('completed', 'cancelled') THEN
                NEW.status := coalesce(delivery.status, NEW.status);
            END IF;
            NEW.processing_status := coalesce(delivery.processing_status, NEW.processing_status);
            NEW.bot_status_at := coalesce(delivery.at, finished);
            applied := true;
        END IF;
        IF delivery.transcript_url IS NULL THEN
            DELETE FROM webhook_inbox w WHERE w.id = delivery.id;
        ELSE
            UPDATE webhook_inbox w SET applied_at = clock_timestamp() WHERE w.id = delivery.id;
        END IF;
    END LOOP;
    IF applied AND TG_OP = 'UPDATE' THEN
        NEW.version := OLD.version + 1;
        NEW.updated_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER take_deliveries BEFORE INSERT OR UPDATE OF meeting_baas_id ON meetings
FOR EACH ROW WHEN (NEW.meeting_baas_id IS NOT NULL) EXECUTE FUNCTION take_deliveries();

-- Stores a delivery, and applies it if its meeting is known. Returns whether it is.
CREATE FUNCTION deliver_recording(delivery webhook_inbox) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    owner uuid;
BEGIN
    -- Waits for a meeting that is being given this bot; the statements after it see that meeting.
    INSERT INTO bots (id) VALUES (delivery.bot_id) ON CONFLICT (id) DO NOTHING;
    SELECT b.team_id INTO owner FROM bots b WHERE b.id = delivery.bot_id FOR NO KEY UPDATE;
    -- Reports that have waited for a month are deleted.
    DELETE FROM webhook_inbox w WHERE w.id IN (
        SELECT old.id FROM webhook_inbox old WHERE old.received_at < clock_timestamp() - interval '30 days'
        ORDER BY old.received_at LIMIT 100 FOR UPDATE SKIP LOCKED
    );
    INSERT INTO webhook_inbox SELECT delivery.*;
    UPDATE meetings m SET meeting_baas_id = m.meeting_baas_id
    WHERE m.meeting_baas_id = delivery.bot_id AND m.team_id = owner;
    IF FOUND THEN
        RETURN true;
    END IF;
    UPDATE meetings m SET meeting_baas_id = delivery.bot_id, version = m.version + 1, updated_at = clock_timestamp()
    WHERE m.id = delivery.meeting_id AND m.meeting_baas_id IS NULL AND m.team_id = coalesce(owner, m.team_id);
    RETURN FOUND;
END
$$;
