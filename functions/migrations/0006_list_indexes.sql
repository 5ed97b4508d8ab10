-- Indexes that decide every filter of a list: the owner, the status, then the list's sort key. A list of every status
-- walks its index once for each status and merges. docs/PERFORMANCE.md has what they cost and what they save.
--
-- On a table of some hundred thousand rows build them first, without blocking writes: run each statement by hand as
-- `CREATE INDEX CONCURRENTLY IF NOT EXISTS`, outside a transaction. This migration then finds them and only drops the
-- old ones. Functions of the release before answer the same without those, but slowly for a team of 100,000 meetings:
-- deploy the new functions at once.

-- At once as strongly as DROP INDEX needs them: a lock that is made stronger deadlocks with a write that waits for it.
LOCK TABLE meetings, tasks IN ACCESS EXCLUSIVE MODE;

-- All meetings of a team, for its admin. Also finds the rows of a team when its admin is deleted.
CREATE INDEX IF NOT EXISTS meetings_by_team_status ON meetings (team_id, status, date DESC, id DESC);
-- A member's meetings in one team: a member's own list, and an admin's list of one member.
CREATE INDEX IF NOT EXISTS meetings_by_member_team_status
    ON meetings (team_member_id, team_id, status, date DESC, id DESC);
-- What a person created in the team of another. The API lets only admins create, so both are empty, and cost next to
-- nothing, unless such meetings were imported.
CREATE INDEX IF NOT EXISTS meetings_by_creator_status
    ON meetings (created_by, status, date DESC, id DESC) WHERE created_by <> team_id;
CREATE INDEX IF NOT EXISTS meetings_by_creator_member_status
    ON meetings (created_by, team_member_id, status, date DESC, id DESC) WHERE created_by <> team_id;
-- For the foreign key alone: deleting a user would otherwise read the whole table. Equal keys share their space.
CREATE INDEX IF NOT EXISTS meetings_by_creator_id ON meetings (created_by);
DROP INDEX meetings_by_team;
DROP INDEX meetings_by_member;
DROP INDEX meetings_by_creator;

CREATE INDEX IF NOT EXISTS tasks_by_team_status ON tasks (team_id, status, created_at DESC, id DESC);
DROP INDEX tasks_by_team;
