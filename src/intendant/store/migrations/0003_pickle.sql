-- A pickled function with its arguments, as base64: opened by nobody but the run's own process.
ALTER TABLE secret ADD COLUMN pickle TEXT;
