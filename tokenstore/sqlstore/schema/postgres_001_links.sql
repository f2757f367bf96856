-- One row for each user's link. Ids are bytes, so that no collation folds two
-- users into one; times are microseconds since 1970 in UTC, NULL for none.
CREATE TABLE IF NOT EXISTS pkb_links (
	app_user_id       BYTEA  NOT NULL PRIMARY KEY,
	version           BIGINT NOT NULL,
	environment       TEXT   NOT NULL,
	client_id         TEXT   NOT NULL,
	state             TEXT   NOT NULL,
	cause             TEXT   NOT NULL,
	public_id         TEXT   NOT NULL,
	generation        BIGINT NOT NULL,
	expires_at        BIGINT,
	ends_at           BIGINT,
	due_at            BIGINT,
	linked_at         BIGINT,
	refreshed_at      BIGINT,
	lease_owner       TEXT   NOT NULL,
	lease_fence       BIGINT NOT NULL,
	lease_renewed_at  BIGINT,
	lease_expires_at  BIGINT,
	intent_generation BIGINT NOT NULL,
	intent_attempt    BIGINT NOT NULL,
	intent_sent_at    BIGINT,
	key_id            TEXT   NOT NULL,
	details           BYTEA  NOT NULL,
	sealed            BYTEA  NOT NULL
);
-- For sweeps: what is due, in which state.
CREATE INDEX IF NOT EXISTS pkb_links_due ON pkb_links (state, due_at);
-- For who else is linked to a patient.
CREATE INDEX IF NOT EXISTS pkb_links_public ON pkb_links (public_id);
