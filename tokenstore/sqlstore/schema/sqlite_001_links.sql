-- One row for each user's link. Ids are bytes, so that no collation folds two
-- users into one; times are microseconds since 1970 in UTC, NULL for none.
CREATE TABLE IF NOT EXISTS pkb_links (
	app_user_id       BLOB    NOT NULL PRIMARY KEY,
	version           INTEGER NOT NULL,
	environment       TEXT    NOT NULL,
	client_id         TEXT    NOT NULL,
	state             TEXT    NOT NULL,
	cause             TEXT    NOT NULL,
	public_id         TEXT    NOT NULL,
	generation        INTEGER NOT NULL,
	expires_at        INTEGER,
	ends_at           INTEGER,
	due_at            INTEGER,
	linked_at         INTEGER,
	refreshed_at      INTEGER,
	lease_owner       TEXT    NOT NULL,
	lease_fence       INTEGER NOT NULL,
	lease_renewed_at  INTEGER,
	lease_expires_at  INTEGER,
	intent_generation INTEGER NOT NULL,
	intent_attempt    INTEGER NOT NULL,
	intent_sent_at    INTEGER,
	key_id            TEXT    NOT NULL,
	details           BLOB    NOT NULL,
	sealed            BLOB    NOT NULL
);
-- For sweeps: what is due, in which state.
CREATE INDEX IF NOT EXISTS pkb_links_due ON pkb_links (state, due_at);
-- For who else is linked to a patient.
CREATE INDEX IF NOT EXISTS pkb_links_public ON pkb_links (public_id);
