-- One row for each user's link. Ids are bytes, so that no collation folds two
-- users into one; times are microseconds since 1970 in UTC, NULL for none.
-- version is another one with each write, and has no order. claim is NULL for
-- none, so that the index does not hold every row under one value. lease_ttl is
-- a duration in microseconds; tried is how often the refresh token of pair was
-- presented with an outcome that is not known.
-- The indexes are for sweeps (what is due; refreshes do not change it), and for who
-- else is linked to a patient, or about to be.
CREATE TABLE IF NOT EXISTS pkb_links (
	app_user_id    VARBINARY(1088) NOT NULL PRIMARY KEY,
	environment    TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	client_id      TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	public_id      BLOB NOT NULL,
	claim          BLOB,
	candidate      VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	cause          TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	key_id         TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	linked_at      BIGINT,
	ends_at        BIGINT,
	tend_at        BIGINT,
	details        BLOB NOT NULL,
	pair           VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	generation     BIGINT NOT NULL,
	expires_at     BIGINT,
	due_at         BIGINT,
	refreshed_at   BIGINT,
	state          VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	lease_owner    TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	version        BIGINT NOT NULL,
	tried          BIGINT NOT NULL,
	lease_beat     BIGINT NOT NULL,
	lease_ttl      BIGINT NOT NULL,
	lease_taken_at BIGINT,
	sealed         MEDIUMBLOB NOT NULL,
	INDEX pkb_links_tend (tend_at, app_user_id),
	INDEX pkb_links_public (public_id(64)),
	INDEX pkb_links_claim (claim(64))
) ENGINE=InnoDB;
