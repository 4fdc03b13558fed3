-- The steps of one pipeline: where each is, and everything that happened, in order.

CREATE TABLE step (
    name        TEXT PRIMARY KEY,
    position    INTEGER NOT NULL,                -- in the pipeline, from 0
    state       TEXT NOT NULL,
    outcome     TEXT,
    reason      TEXT,
    attempt     INTEGER NOT NULL DEFAULT 0,      -- over all attempts of the run
    fingerprint TEXT NOT NULL,                   -- SHA-256 of what it is asked to be
    started_at  INTEGER,                         -- microseconds after 1970, UTC
    finished_at INTEGER,
    exit_code   INTEGER,
    signal      INTEGER,
    folder      TEXT,                            -- of the last attempt, below the run's
    run_id      INTEGER,                         -- of the run that carries it out, if one does
    report      TEXT                             -- what it left, as JSON
) STRICT;

CREATE TABLE step_event (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    step    TEXT NOT NULL REFERENCES step (name),
    attempt INTEGER NOT NULL,
    event   TEXT NOT NULL,
    detail  TEXT NOT NULL DEFAULT '{}'           -- the columns that it set, as JSON
) STRICT;

CREATE INDEX step_event_of_step ON step_event (step, id);
