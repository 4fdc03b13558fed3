-- The trials of one study: where each is, what it reported, and everything that happened, in order.

CREATE TABLE study (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    fingerprint TEXT NOT NULL,                   -- SHA-256 of what the study is asked to search
    metric      TEXT NOT NULL,
    mode        TEXT NOT NULL,
    seed        INTEGER NOT NULL,
    proposed    INTEGER NOT NULL DEFAULT 0,      -- trials that the search has proposed
    elapsed_s   REAL NOT NULL DEFAULT 0,         -- over all attempts of the run
    searcher    BLOB,                            -- what searcher and scheduler go on from;
    scheduler   BLOB,                            -- opened by the study's own process alone
    finished_at INTEGER,                         -- microseconds after 1970, UTC
    error       TEXT
) STRICT;

CREATE TABLE trial (
    number      INTEGER PRIMARY KEY,
    state       TEXT NOT NULL,
    outcome     TEXT,
    reason      TEXT,
    params      TEXT NOT NULL,                   -- JSON
    failures    INTEGER NOT NULL DEFAULT 0,
    starts      INTEGER NOT NULL DEFAULT 0,
    running_s   REAL NOT NULL DEFAULT 0,
    value       REAL,                            -- the metric of its last result
    step        INTEGER,
    results     INTEGER NOT NULL DEFAULT 0,
    checkpoint  TEXT,                            -- that it goes on from: a folder below the run's
    notes       TEXT NOT NULL DEFAULT '{}',      -- searcher's and scheduler's, JSON
    added_at    INTEGER NOT NULL,
    started_at  INTEGER,
    finished_at INTEGER,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX trial_of_state ON trial (state, number);

CREATE TABLE result (
    trial     INTEGER NOT NULL REFERENCES trial (number),
    seq       INTEGER NOT NULL,
    step      INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    running_s REAL NOT NULL,
    value     REAL,
    metrics   TEXT NOT NULL,                     -- JSON
    PRIMARY KEY (trial, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (
    path  TEXT PRIMARY KEY,                      -- a folder below the run's
    trial INTEGER NOT NULL REFERENCES trial (number),
    seq   INTEGER NOT NULL                       -- of the result that it came with
) STRICT, WITHOUT ROWID;

CREATE INDEX checkpoint_of_trial ON checkpoint (trial, seq);

CREATE TABLE trial_event (
    id     INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    trial  INTEGER NOT NULL REFERENCES trial (number),
    start  INTEGER NOT NULL,                     -- how often it had been started by then
    event  TEXT NOT NULL,                        -- added, started, paused, requeued or ended
    detail TEXT NOT NULL DEFAULT '{}'            -- JSON
) STRICT;

CREATE INDEX trial_event_of_trial ON trial_event (trial, id);

CREATE TABLE trial_order (
    key   TEXT PRIMARY KEY,                      -- of an order from outside that was acted on
    trial INTEGER                                -- that it added
) STRICT, WITHOUT ROWID;
