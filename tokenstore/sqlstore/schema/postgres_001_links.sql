-- One row for each user's link. Ids are bytes, so that no collation folds two
-- users into one; times are microseconds since 1970 in UTC, NULL for none.
-- version is another one with each write, and has no order. claim is NULL for
-- none, so that the index does not hold every row under one value. lease_ttl is
-- a duration in microseconds; tried is how often the refresh token of pair was
-- presented with an outcome that is not known.
-- A refresh writes its row twice, and touches no index. The columns that each write
-- changes are next to each other, so that what is the same before and after them need
-- not go into the write-ahead log; fillfactor leaves each page room for a row's next
-- version, without which it moves to another page, and all indexes with it.
CREATE TABLE IF NOT EXISTS pkb_links (
	app_user_id    BYTEA  NOT NULL PRIMARY KEY,
	environment    TEXT   NOT NULL,
	client_id      TEXT   NOT NULL,
	public_id      TEXT   NOT NULL,
	claim          TEXT,
	candidate      TEXT   NOT NULL,
	cause          TEXT   NOT NULL,
	key_id         TEXT   NOT NULL,
	linked_at      BIGINT,
	ends_at        BIGINT,
	tend_at        BIGINT,
	details        BYTEA  NOT NULL,
	pair           TEXT   NOT NULL,
	generation     BIGINT NOT NULL,
	expires_at     BIGINT,
	due_at         BIGINT,
	refreshed_at   BIGINT,
	state          TEXT   NOT NULL,
	lease_owner    TEXT   NOT NULL,
	version        BIGINT NOT NULL,
	tried          BIGINT NOT NULL,
	lease_beat     BIGINT NOT NULL,
	lease_ttl      BIGINT NOT NULL,
	lease_taken_at BIGINT,
	sealed         BYTEA  NOT NULL
) WITH (fillfactor = 70);
-- For sweeps: what is due. Refreshes do not change it.
CREATE INDEX IF NOT EXISTS pkb_links_tend ON pkb_links (tend_at, app_user_id);
-- For who else is linked to a patient, or about to be.
CREATE INDEX IF NOT EXISTS pkb_links_public ON pkb_links (public_id);
CREATE INDEX IF NOT EXISTS pkb_links_claim ON pkb_links (claim);
