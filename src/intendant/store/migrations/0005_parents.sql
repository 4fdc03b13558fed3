-- Runs that only wait for runs of their own hold no slot; how many of them live has another bound,
-- so that they are walked apart. (Of those from before, the daemon learns it when they start.)
ALTER TABLE run ADD COLUMN only_waits INTEGER NOT NULL DEFAULT 0 CHECK (only_waits IN (0, 1));

DROP INDEX run_ready;
CREATE INDEX run_ready ON run (queue, only_waits, priority DESC, id)
    WHERE state = 'queued' AND open_dependencies = 0 AND not_before IS NULL;
