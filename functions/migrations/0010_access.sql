-- Who may see a meeting and who manages it, said once. The planner inlines these functions: a statement that calls one is
-- planned as if its condition were written there, which tests/lists verifies. Membership decides: who has left a team
-- sees none of its meetings, regardless of their part in them.

-- The team that a user is on: the id of the admin who leads it, their own for an admin.
CREATE FUNCTION team_of(person users) RETURNS uuid LANGUAGE sql IMMUTABLE
    RETURN coalesce(person.admin_id, person.id);

-- A meeting is visible to the admin of its team, and of its members to the creator and the participant.
CREATE FUNCTION sees(person users, meeting meetings) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN meeting.team_id = coalesce(person.admin_id, person.id)
        AND person.id IN (meeting.team_id, meeting.created_by, meeting.team_member_id);

-- The admin of its team leads a meeting: changes and deletes it.
CREATE FUNCTION leads(person users, meeting meetings) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN person.id = meeting.team_id AND person.admin_id IS NULL;

-- Of those who see a meeting, the admin of its team and its creator manage its tasks.
CREATE FUNCTION manages(person users, meeting meetings) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN meeting.team_id = coalesce(person.admin_id, person.id)
        AND person.id IN (meeting.team_id, meeting.created_by);
