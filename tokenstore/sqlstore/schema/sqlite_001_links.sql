-- One row for each user's link. Ids are bytes, so that no collation folds two
-- users into one; times are microseconds since 1970 in UTC, NULL for none.
-- version is another one with each write, and has no order. claim is NULL for
-- none, so that the index does not hold every row under one value. lease_ttl is
-- a duration in microseconds; tried is how often the refresh token of pair was
-- presented with an outcome that is not known.
CREATE TABLE IF NOT EXISTS pkb_links (
	app_user_id    BLOB    NOT NULL PRIMARY KEY,
	environment    TEXT    NOT NULL,
	client_id      TEXT    NOT NULL,
	public_id      TEXT    NOT NULL,
	claim          TEXT,
	candidate      TEXT    NOT NULL,
	cause          TEXT    NOT NULL,
	key_id         TEXT    NOT NULL,
	linked_at      INTEGER,
	ends_at        INTEGER,
	tend_at        INTEGER,
	details        BLOB    NOT NULL,
	pair           TEXT    NOT NULL,
	generation     INTEGER NOT NULL,
	expires_at     INTEGER,
	due_at         INTEGER,
	refreshed_at   INTEGER,
	state          TEXT    NOT NULL,
	lease_owner    TEXT    NOT NULL,
	version        INTEGER NOT NULL,
	tried          INTEGER NOT NULL,
	lease_beat     INTEGER NOT NULL,
	lease_ttl      INTEGER NOT NULL,
	lease_taken_at INTEGER,
	sealed         BLOB    NOT NULL
);
-- For sweeps: what is due. Refreshes do not change it.
CREATE INDEX IF NOT EXISTS pkb_links_tend ON pkb_links (tend_at, app_user_id);
-- For who else is linked to a patient, or about to be.
CREATE INDEX IF NOT EXISTS pkb_links_public ON pkb_links (public_id);
CREATE INDEX IF NOT EXISTS pkb_links_claim ON pkb_links (claim);
