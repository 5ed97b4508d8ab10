-- A recording that waits reaches its meeting in more cases: if the meeting's first bot failed, if other meetings named the
-- event and no longer do, if the meeting was deleted and created again, and if later reports without a recording wait too.

-- Gives a meeting the bot whose report waits for it, by the calendar's event or because the report names the meeting; that
-- of a complete recording first. A meeting whose bot failed gets another only with a complete recording. As in 0031, an
-- event that several meetings name gives its bot to none, and another team's bot is given to no meeting.
CREATE OR REPLACE FUNCTION take_bot_of_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bot text;
BEGIN
    -- The statement itself gives a bot.
    IF NEW.meeting_baas_id IS NOT NULL
        AND (TG_OP = 'INSERT' OR NEW.meeting_baas_id IS DISTINCT FROM OLD.meeting_baas_id)
    THEN
        RETURN NEW;
    END IF;
    IF NEW.calendar_event_id IS NOT NULL THEN
        PERFORM lock_calendar_event(NEW.calendar_event_id);
    END IF;
    SELECT w.bot_id INTO bot
    FROM webhook_inbox w JOIN bots b ON b.id = w.bot_id
    WHERE w.applied_at IS NULL
        AND (w.meeting_id = NEW.id OR w.event_id = NEW.calendar_event_id AND NOT EXISTS (
            SELECT FROM meetings m WHERE m.calendar_event_id = NEW.calendar_event_id AND m.id <> NEW.id
        ))
        AND (w.kind = 'complete' OR NEW.meeting_baas_id IS NULL)
        AND coalesce(b.team_id, NEW.team_id) = NEW.team_id
        AND NOT EXISTS (SELECT FROM meetings m WHERE m.meeting_baas_id = w.bot_id AND m.team_id = NEW.team_id)
    ORDER BY w.kind = 'complete' DESC, w.received_at DESC, w.id DESC
    LIMIT 1;
    IF bot IS NOT NULL THEN
        NEW.meeting_baas_id := bot;
        IF TG_OP = 'UPDATE' THEN
            NEW.version := OLD.version + 1;
            NEW.updated_at := clock_timestamp();
        END IF;
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER take_bot_of_event BEFORE INSERT OR UPDATE OF calendar_event_id, meeting_baas_id ON meetings
FOR EACH ROW WHEN (
    NEW.calendar_event_id IS NOT NULL AND NEW.meeting_baas_id IS NULL OR NEW.processing_status = 'failed'
) EXECUTE FUNCTION take_bot_of_event();

-- As in 0015; and the failure of another bot says nothing about a new one.
CREATE OR REPLACE FUNCTION take_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
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
        IF TG_OP = 'UPDATE' AND NEW.processing_status = 'failed' THEN
            NEW.processing_status := 'pending';
        END IF;
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

-- When a meeting no longer names an event, the event may have a single meeting left, which gets what waits for it.
CREATE FUNCTION leave_calendar_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.calendar_event_id IS NOT DISTINCT FROM OLD.calendar_event_id THEN
        RETURN NULL;
    END IF;
    PERFORM lock_calendar_event(OLD.calendar_event_id);
    UPDATE meetings m SET meeting_baas_id = m.meeting_baas_id
    WHERE m.calendar_event_id = OLD.calendar_event_id
        AND (m.meeting_baas_id IS NULL OR m.processing_status = 'failed')
        AND EXISTS (SELECT FROM webhook_inbox w WHERE w.event_id = OLD.calendar_event_id AND w.applied_at IS NULL);
    RETURN NULL;
END
$$;
CREATE TRIGGER leave_calendar_event AFTER DELETE OR UPDATE OF calendar_event_id ON meetings
FOR EACH ROW WHEN (OLD.calendar_event_id IS NOT NULL) EXECUTE FUNCTION leave_calendar_event();

-- As in 0031; and a complete recording is given to a meeting whose bot failed.
CREATE OR REPLACE FUNCTION deliver_recording(delivery webhook_inbox) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    owner uuid;
    -- Also that of the bot's meeting, for which another bot may deliver at the same time.
    event text := coalesce(delivery.event_id, (
        SELECT m.calendar_event_id FROM meetings m
        WHERE m.meeting_baas_id = delivery.bot_id AND m.calendar_event_id IS NOT NULL
        LIMIT 1
    ));
BEGIN
    IF event IS NOT NULL THEN
        PERFORM lock_calendar_event(event);
    END IF;
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
        -- If the bot has failed, take_bot_of_event looks for a recording of another one that has waited for this.
        UPDATE meetings m SET meeting_baas_id = m.meeting_baas_id
        WHERE m.meeting_baas_id = delivery.bot_id AND m.team_id = owner AND m.processing_status = 'failed';
        RETURN true;
    END IF;
    -- Waits for a report of the meeting's bot; the statement after it sees whether that failed.
    PERFORM FROM meetings m WHERE m.id = delivery.meeting_id FOR NO KEY UPDATE;
    UPDATE meetings m SET meeting_baas_id = delivery.bot_id, version = m.version + 1, updated_at = clock_timestamp()
    WHERE m.id = delivery.meeting_id AND m.team_id = coalesce(owner, m.team_id)
        AND (m.meeting_baas_id IS NULL OR m.processing_status = 'failed' AND delivery.kind = 'complete');
    IF FOUND THEN
        RETURN true;
    END IF;
    UPDATE meetings m SET meeting_baas_id = delivery.bot_id, version = m.version + 1, updated_at = clock_timestamp()
    WHERE m.calendar_event_id = delivery.event_id AND m.team_id = coalesce(owner, m.team_id)
        AND (m.meeting_baas_id IS NULL OR m.processing_status = 'failed' AND delivery.kind = 'complete')
        AND (SELECT count(*) FROM meetings o WHERE o.calendar_event_id = delivery.event_id) = 1;
    RETURN FOUND;
END
$$;

-- What waits in these cases already.
UPDATE meetings m SET meeting_baas_id = m.meeting_baas_id
WHERE (m.calendar_event_id IS NOT NULL AND m.meeting_baas_id IS NULL OR m.processing_status = 'failed')
    AND EXISTS (
        SELECT FROM webhook_inbox w
        WHERE w.applied_at IS NULL AND (w.meeting_id = m.id OR w.event_id = m.calendar_event_id)
    );
