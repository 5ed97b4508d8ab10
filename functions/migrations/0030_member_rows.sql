-- Access to the rows about a member, their key areas and analyses: one definition, as in 0010 for meetings. The result
-- is NULL if the person does not see the member, and false if they see them without the permission. The planner inlines
-- these functions.

-- The member and the admin of their team read them; a colleague sees the member.
CREATE FUNCTION reads(person users, member users) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN CASE
        WHEN coalesce(member.admin_id, member.id) = coalesce(person.admin_id, person.id)
            THEN person.admin_id IS NULL OR person.id = member.id
    END;

-- The admin of the member's team writes them. An admin is no member of a team, so absent for themselves.
CREATE FUNCTION writes(person users, member users) RETURNS boolean LANGUAGE sql IMMUTABLE
    RETURN CASE
        WHEN coalesce(member.admin_id, member.id) = coalesce(person.admin_id, person.id)
            AND coalesce(member.admin_id, person.admin_id) IS NOT NULL
            THEN person.admin_id IS NULL
    END;
