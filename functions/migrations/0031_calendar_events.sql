-- A recording finds its meeting by the calendar's event too. The recorder's service joins the events of a calendar with
-- bots that it makes itself, so no meeting has their ids; but it names the event in each report.
--
-- On a table of some hundred thousand meetings build the index first, without blocking writes, outside a transaction:
-- ALTER TABLE meetings ADD COLUMN IF NOT EXISTS calendar_event_id text;
-- CREATE INDEX CONCURRENTLY IF NOT EXISTS meetings_by_calendar_event ON meetings (calendar_event_id)
--     WHERE calendar_event_id IS NOT NULL;

LOCK TABLE meetings IN ACCESS EXCLUSIVE MODE;

ALTER TABLE meetings ADD COLUMN IF NOT EXISTS calendar_event_id text;
CREATE INDEX IF NOT EXISTS meetings_by_calendar_event ON meetings (calendar_event_id) WHERE calendar_event_id IS NOT NULL;
ALTER TABLE webhook_inbox ADD COLUMN event_id text;
CREATE INDEX webhook_inbox_by_event ON webhook_inbox (event_id) WHERE event_id IS NOT NULL AND applied_at IS NULL;

-- A delivery and a meeting of the same event wait for each other, so that neither misses what the other is about to
-- commit. Always before a bot's row is locked.
CREATE FUNCTION lock_calendar_event(event_id text) RETURNS void LANGUAGE sql
    RETURN pg_advisory_xact_lock(hashtextextended('calendar event ' || event_id, 0));

-- Gives a meeting without a bot the bot that has reported its event. An event that several meetings name gives its bot to
-- none: which of them it belongs to is unknown, and naming the event of others must not bring their recording.
CREATE FUNCTION take_bot_of_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_calendar_event(NEW.calendar_event_id);
    IF EXISTS (SELECT FROM meetings m WHERE m.calendar_event_id = NEW.calendar_event_id AND m.id <> NEW.id) THEN
        RETURN NEW;
    END IF;
    NEW.meeting_baas_id := (
        SELECT w.bot_id FROM webhook_inbox w JOIN bots b ON b.id = w.bot_id
        WHERE w.event_id = NEW.calendar_event_id AND w.applied_at IS NULL AND b.team_id IS NULL
        ORDER BY w.received_at DESC, w.id DESC
        LIMIT 1
    );
    RETURN NEW;
END
$$;
-- By its name before take_deliveries, which then applies what waits for the bot.
CREATE TRIGGER take_bot_of_event BEFORE INSERT OR UPDATE OF calendar_event_id, meeting_baas_id ON meetings
FOR EACH ROW WHEN (NEW.calendar_event_id IS NOT NULL AND NEW.meeting_baas_id IS NULL)
EXECUTE FUNCTION take_bot_of_event();
DROP TRIGGER take_deliveries ON meetings;
CREATE TRIGGER take_deliveries BEFORE INSERT OR UPDATE OF calendar_event_id, meeting_baas_id ON meetings
FOR EACH ROW WHEN (NEW.meeting_baas_id IS NOT NULL) EXECUTE FUNCTION take_deliveries();

-- As in 0015, and last by the event.
CREATE OR REPLACE FUNCTION deliver_recording(delivery webhook_inbox) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    owner uuid;
BEGIN
    IF delivery.event_id IS NOT NULL THEN
        PERFORM lock_calendar_event(delivery.event_id);
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
        RETURN true;
    END IF;
    UPDATE meetings m SET meeting_baas_id = delivery.bot_id, version = m.version + 1, updated_at = clock_timestamp()
    WHERE m.id = delivery.meeting_id AND m.meeting_baas_id IS NULL AND m.team_id = coalesce(owner, m.team_id);
    IF FOUND OR owner IS NOT NULL THEN
        RETURN FOUND;
    END IF;
    UPDATE meetings m SET meeting_baas_id = delivery.bot_id, version = m.version + 1, updated_at = clock_timestamp()
    WHERE m.calendar_event_id = delivery.event_id AND m.meeting_baas_id IS NULL
        AND (SELECT count(*) FROM meetings o WHERE o.calendar_event_id = delivery.event_id) = 1;
    RETURN FOUND;
END
$$;
