-- Lists show the meetings of the caller's current team only, so the indexes of what a person created in the team of
-- another have the team in front of the status. The API lets only admins create, so they are empty, and cost next to
-- nothing, unless such meetings were imported.
--
-- On a table of some hundred thousand rows build them first, without blocking writes: run each CREATE INDEX by hand as
-- `CREATE INDEX CONCURRENTLY IF NOT EXISTS`, outside a transaction. This migration then finds them.

-- At once as strongly as DROP INDEX needs it: a lock that is made stronger deadlocks with a write that waits for it.
LOCK TABLE meetings IN ACCESS EXCLUSIVE MODE;

CREATE INDEX IF NOT EXISTS meetings_by_creator_team_status
    ON meetings (created_by, team_id, status, date DESC, id DESC) WHERE created_by <> team_id;
CREATE INDEX IF NOT EXISTS meetings_by_creator_team_member_status
    ON meetings (created_by, team_id, team_member_id, status, date DESC, id DESC) WHERE created_by <> team_id;
DROP INDEX meetings_by_creator_status;
DROP INDEX meetings_by_creator_member_status;
