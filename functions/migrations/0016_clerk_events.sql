-- When the identity provider says that it last changed a user: an older event arrives late and is skipped.
ALTER TABLE users ADD COLUMN clerk_updated_at timestamptz;
