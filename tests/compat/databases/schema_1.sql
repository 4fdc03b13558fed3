-- What a store of schema 1 (or 2) held: a run in each state. Never changed.
INSERT INTO queue (name, slots, paused)
 VALUES ('gpu',2,0);
INSERT INTO run (id, account, submission_key, name, kind, queue, priority, state, outcome, reason, exit_code, signal, attempt, tries, burnt, stop_outcome, stop_reason, not_before, open_dependencies, submitted_at, started_at, finished_at, spec)
 VALUES (1,'ada','k1','done','command','default',0,'ended','succeeded',NULL,0,NULL,1,1,0,NULL,NULL,NULL,0,1893456000000000,1893456000000000,1893456000000000,'{"name":"done","queue":"default","workload":{"kind":"command","argv":["true"],"cwd":null,"env":{},"umask":null,"stdin":null},"grace_s":3.0,"shutdown_grace_s":5.0,"retry":{"attempts":0,"on":["failed","timed_out"],"backoff_s":1.0,"backoff_max_s":300.0}}');
INSERT INTO run (id, account, submission_key, name, kind, queue, priority, state, outcome, reason, exit_code, signal, attempt, tries, burnt, stop_outcome, stop_reason, not_before, open_dependencies, submitted_at, started_at, finished_at, spec)
 VALUES (2,'ada',NULL,'runs','command','default',0,'running',NULL,NULL,NULL,NULL,1,0,0,NULL,NULL,NULL,0,1893456001000000,1893456001000000,NULL,'{"name":"runs","queue":"default","workload":{"kind":"command","argv":["true"],"cwd":null,"env":{},"umask":null,"stdin":null},"grace_s":3.0,"shutdown_grace_s":5.0,"retry":{"attempts":0,"on":["failed","timed_out"],"backoff_s":1.0,"backoff_max_s":300.0}}');
INSERT INTO run (id, account, submission_key, name, kind, queue, priority, state, outcome, reason, exit_code, signal, attempt, tries, burnt, stop_outcome, stop_reason, not_before, open_dependencies, submitted_at, started_at, finished_at, spec)
 VALUES (3,'ada',NULL,'starts','command','default',0,'starting',NULL,NULL,NULL,NULL,1,0,0,NULL,NULL,NULL,0,1893456001000000,NULL,NULL,'{"name":"starts","queue":"default","workload":{"kind":"command","argv":["true"],"cwd":null,"env":{},"umask":null,"stdin":null},"grace_s":3.0,"shutdown_grace_s":5.0,"retry":{"attempts":0,"on":["failed","timed_out"],"backoff_s":1.0,"backoff_max_s":300.0}}');
INSERT INTO run (id, account, submission_key, name, kind, queue, priority, state, outcome, reason, exit_code, signal, attempt, tries, burnt, stop_outcome, stop_reason, not_before, open_dependencies, submitted_at, started_at, finished_at, spec)
 VALUES (4,'ada',NULL,'held','command','default',0,'held',NULL,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,0,1893456001000000,NULL,NULL,'{"name":"held","queue":"default","workload":{"kind":"command","argv":["true"],"cwd":null,"env":{},"umask":null,"stdin":null},"grace_s":3.0,"shutdown_grace_s":5.0,"retry":{"attempts":0,"on":["failed","timed_out"],"backoff_s":1.0,"backoff_max_s":300.0},"hold":true}');
INSERT INTO run (id, account, submission_key, name, kind, queue, priority, state, outcome, reason, exit_code, signal, attempt, tries, burnt, stop_outcome, stop_reason, not_before, open_dependencies, submitted_at, started_at, finished_at, spec)
 VALUES (5,'ada',NULL,'a','command','default',0,'queued',NULL,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,0,1893456001000000,NULL,NULL,'{"name":"a","queue":"default","workload":{"kind":"command","argv":["true"],"cwd":null,"env":{},"umask":null,"stdin":null},"grace_s":3.0,"shutdown_grace_s":5.0,"retry":{"attempts":0,"on":["failed","timed_out"],"backoff_s":1.0,"backoff_max_s":300.0}}');
INSERT INTO run (id, account, submission_key, name, kind, queue, priority, state, outcome, reason, exit_code, signal, attempt, tries, burnt, stop_outcome, stop_reason, not_before, open_dependencies, submitted_at, started_at, finished_at, spec)
 VALUES (6,'ada',NULL,'b','command','default',0,'queued',NULL,NULL,NULL,NULL,0,0,0,NULL,NULL,NULL,1,1893456001000000,NULL,NULL,'{"name":"b","queue":"default","workload":{"kind":"command","argv":["true"],"cwd":null,"env":{},"umask":null,"stdin":null},"grace_s":3.0,"shutdown_grace_s":5.0,"retry":{"attempts":0,"on":["failed","timed_out"],"backoff_s":1.0,"backoff_max_s":300.0},"after":["a"]}');
INSERT INTO run (id, account, submission_key, name, kind, queue, priority, state, outcome, reason, exit_code, signal, attempt, tries, burnt, stop_outcome, stop_reason, not_before, open_dependencies, submitted_at, started_at, finished_at, spec)
 VALUES (7,'ada',NULL,'again','command','default',0,'queued',NULL,NULL,NULL,NULL,1,1,0,NULL,NULL,1893456062000000,0,1893456002000000,NULL,NULL,'{"name":"again","queue":"default","workload":{"kind":"command","argv":["true"],"cwd":null,"env":{},"umask":null,"stdin":null},"grace_s":3.0,"shutdown_grace_s":5.0,"retry":{"attempts":3,"on":["failed","timed_out"],"backoff_s":60.0,"backoff_max_s":300.0}}');
INSERT INTO run (id, account, submission_key, name, kind, queue, priority, state, outcome, reason, exit_code, signal, attempt, tries, burnt, stop_outcome, stop_reason, not_before, open_dependencies, submitted_at, started_at, finished_at, spec)
 VALUES (8,'ada',NULL,'stops','command','default',0,'stopping',NULL,NULL,NULL,NULL,1,0,0,'cancelled','cancelled: by ada',NULL,0,1893456002000000,1893456002000000,NULL,'{"name":"stops","queue":"default","workload":{"kind":"command","argv":["true"],"cwd":null,"env":{},"umask":null,"stdin":null},"grace_s":3.0,"shutdown_grace_s":5.0,"retry":{"attempts":0,"on":["failed","timed_out"],"backoff_s":1.0,"backoff_max_s":300.0}}');
INSERT INTO run (id, account, submission_key, name, kind, queue, priority, state, outcome, reason, exit_code, signal, attempt, tries, burnt, stop_outcome, stop_reason, not_before, open_dependencies, submitted_at, started_at, finished_at, spec)
 VALUES (9,'ada',NULL,'lost','command','default',0,'ended','interrupted','governor_lost',NULL,NULL,1,1,0,NULL,NULL,NULL,0,1893456002000000,1893456002000000,1893456002000000,'{"name":"lost","queue":"default","workload":{"kind":"command","argv":["true"],"cwd":null,"env":{},"umask":null,"stdin":null},"grace_s":3.0,"shutdown_grace_s":5.0,"retry":{"attempts":0,"on":["failed","timed_out"],"backoff_s":1.0,"backoff_max_s":300.0}}');
INSERT INTO attempt (run_id, attempt, token_sha256, granted_at, started_at, finished_at, outcome, reason, exit_code, signal)
 VALUES (1,1,'0000000000000000000000000000000000000000000000000000000000000000',1893456000000000,1893456000000000,1893456000000000,'succeeded',NULL,0,NULL);
INSERT INTO attempt (run_id, attempt, token_sha256, granted_at, started_at, finished_at, outcome, reason, exit_code, signal)
 VALUES (2,1,'0000000000000000000000000000000000000000000000000000000000000000',1893456001000000,1893456001000000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO attempt (run_id, attempt, token_sha256, granted_at, started_at, finished_at, outcome, reason, exit_code, signal)
 VALUES (3,1,'0000000000000000000000000000000000000000000000000000000000000000',1893456001000000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO attempt (run_id, attempt, token_sha256, granted_at, started_at, finished_at, outcome, reason, exit_code, signal)
 VALUES (7,1,'0000000000000000000000000000000000000000000000000000000000000000',1893456002000000,1893456002000000,1893456002000000,'failed',NULL,3,NULL);
INSERT INTO attempt (run_id, attempt, token_sha256, granted_at, started_at, finished_at, outcome, reason, exit_code, signal)
 VALUES (8,1,'0000000000000000000000000000000000000000000000000000000000000000',1893456002000000,1893456002000000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO attempt (run_id, attempt, token_sha256, granted_at, started_at, finished_at, outcome, reason, exit_code, signal)
 VALUES (9,1,'0000000000000000000000000000000000000000000000000000000000000000',1893456002000000,1893456002000000,1893456002000000,'interrupted','governor_lost',NULL,NULL);
INSERT INTO dependency (run_id, on_run_id)
 VALUES (6,5);
INSERT INTO environment (id, sha256, body)
 VALUES (1,X'D96FFB6924967E9EDE26E031646C7E69EB707177B17198969A858C1D6183EB7C','QT1CAA==');
INSERT INTO secret (run_id, environment_id, env)
 VALUES (2,1,'{"KEY": "secret"}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (1,1,1,1893456000000000,0,'submitted',NULL,'queued','{"account":"ada","submission_key":"k1","name":"done","kind":"command","queue":"default","priority":0,"submitted_at":"2030-01-01T00:00:00Z","spec_sha256":"b809d7230868f5ba9c9b9a6d4a7708d3fe3a9122d0be62b7cf4465af2c533f5b"}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (2,1,2,1893456000000000,1,'slot_granted','queued','starting','{}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (3,1,3,1893456000000000,1,'started','starting','running','{"started_at":"2030-01-01T00:00:00Z","pid":4711}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (4,1,4,1893456000000000,1,'tree_empty','running','ended','{"outcome":"succeeded","exit_code":0,"finished_at":"2030-01-01T00:00:00Z","tries":1}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (5,2,1,1893456001000000,0,'submitted',NULL,'queued','{"account":"ada","submission_key":null,"name":"runs","kind":"command","queue":"default","priority":0,"submitted_at":"2030-01-01T00:00:01Z","spec_sha256":"0d80b1695f49cd32c56d0579df3a6c6f722aa147d2783ef2366d836ca8b51160"}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (6,2,2,1893456001000000,1,'slot_granted','queued','starting','{}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (7,2,3,1893456001000000,1,'started','starting','running','{"started_at":"2030-01-01T00:00:01Z","pid":4711}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (8,3,1,1893456001000000,0,'submitted',NULL,'queued','{"account":"ada","submission_key":null,"name":"starts","kind":"command","queue":"default","priority":0,"submitted_at":"2030-01-01T00:00:01Z","spec_sha256":"95471ff84cf9d17ca034bd031a9181baab3c05483bb3a789b8ecb63f9a2eb97e"}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (9,3,2,1893456001000000,1,'slot_granted','queued','starting','{}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (10,4,1,1893456001000000,0,'submitted',NULL,'held','{"account":"ada","submission_key":null,"name":"held","kind":"command","queue":"default","priority":0,"submitted_at":"2030-01-01T00:00:01Z","spec_sha256":"70e54a060e1c30701bd8285610ac8027bc0ca25be08a3d6410b9d600c7e2b72d"}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (11,5,1,1893456001000000,0,'submitted',NULL,'queued','{"account":"ada","submission_key":null,"name":"a","kind":"command","queue":"default","priority":0,"submitted_at":"2030-01-01T00:00:01Z","spec_sha256":"cda67ca844ae3fe49ffc53a124c827d6efa00d2bc5b1844dd648872ed1370149"}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (12,6,1,1893456001000000,0,'submitted',NULL,'queued','{"account":"ada","submission_key":null,"name":"b","kind":"command","queue":"default","priority":0,"submitted_at":"2030-01-01T00:00:01Z","spec_sha256":"73dd8dc5b4f50a2390009da058a502dea69cc7e0098cd58cd1eb2990cf0230a5"}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (13,7,1,1893456002000000,0,'submitted',NULL,'queued','{"account":"ada","submission_key":null,"name":"again","kind":"command","queue":"default","priority":0,"submitted_at":"2030-01-01T00:00:02Z","spec_sha256":"9444795841781a90396a07878ea301ccdde130458100e4d5a8b0e79ac9306049"}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (14,7,2,1893456002000000,1,'slot_granted','queued','starting','{}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (15,7,3,1893456002000000,1,'started','starting','running','{"started_at":"2030-01-01T00:00:02Z","pid":4711}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (16,7,4,1893456002000000,1,'retry_granted','running','queued','{"not_before":"2030-01-01T00:01:02Z","started_at":null,"tries":1,"ended":{"outcome":"failed","exit_code":3}}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (17,8,1,1893456002000000,0,'submitted',NULL,'queued','{"account":"ada","submission_key":null,"name":"stops","kind":"command","queue":"default","priority":0,"submitted_at":"2030-01-01T00:00:02Z","spec_sha256":"f26274c276e1a54a815135dc5f8c35ba9a3f8d6bed85e9ef4b8c46afc750cd74"}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (18,8,2,1893456002000000,1,'slot_granted','queued','starting','{}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (19,8,3,1893456002000000,1,'started','starting','running','{"started_at":"2030-01-01T00:00:02Z","pid":4711}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (20,8,4,1893456002000000,1,'stop_requested','running','stopping','{"stop_outcome":"cancelled","stop_reason":"cancelled: by ada"}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (21,9,1,1893456002000000,0,'submitted',NULL,'queued','{"account":"ada","submission_key":null,"name":"lost","kind":"command","queue":"default","priority":0,"submitted_at":"2030-01-01T00:00:02Z","spec_sha256":"69f0917201e94e8fdf8ff6ac63681bf3d365c095822fb9c2418bc27fb93235a3"}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (22,9,2,1893456002000000,1,'slot_granted','queued','starting','{}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (23,9,3,1893456002000000,1,'started','starting','running','{"started_at":"2030-01-01T00:00:02Z","pid":4711}');
INSERT INTO event (id, run_id, seq, at, attempt, event, before, after, detail)
 VALUES (24,9,4,1893456002000000,1,'tree_empty','running','ended','{"outcome":"interrupted","reason":"governor_lost","finished_at":"2030-01-01T00:00:02Z","tries":1}');
