-- An agenda in phases, as the earlier server stored it: {"phases": [{"name": …, "items": […]}]}. It comes before the text
-- in `agenda`. Every row has none yet, so the constraint need not read the table.

ALTER TABLE meetings
    ADD COLUMN agenda_phases jsonb,
    ADD CONSTRAINT meetings_agenda_phases_check
        CHECK (agenda_phases IS NULL OR coalesce(jsonb_typeof(agenda_phases -> 'phases') = 'array', false)) NOT VALID;
