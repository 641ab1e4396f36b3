-- Everything the sandbox remembers. Times are integer milliseconds, JSON is text, numbers (seq) are the journal's.

-- One counter numbers everything that happens. A message and a refused call are their own entries of the journal;
-- whatever else happens is an event. The journal is the view of all three.
CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  account TEXT,               -- NULL: it concerns all of them
  subject INTEGER NOT NULL,   -- the number of what it is about
  msisdn TEXT                 -- the handset, for what belongs to a conversation
);

CREATE TABLE kept (           -- one row: what the last removal left
  seq INTEGER NOT NULL,       -- the highest number until then, so that none is given twice
  messages INTEGER NOT NULL,  -- how many rows stayed
  refusals INTEGER NOT NULL,
  events INTEGER NOT NULL
);
INSERT INTO kept VALUES (0, 0, 0, 0);

CREATE TABLE accounts (
  name TEXT PRIMARY KEY,
  token TEXT NOT NULL UNIQUE,
  spec TEXT NOT NULL,         -- JSON: the other fields of model.Account
  edited INTEGER NOT NULL     -- 1: added or changed at run time, 0: as the settings said
);

CREATE TABLE handsets (       -- only those that somebody gave a label, a telco or a state
  account TEXT NOT NULL,
  msisdn TEXT NOT NULL,
  label TEXT NOT NULL,
  telco TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (account, msisdn)
);

CREATE TABLE sent_dates (     -- of each account's newest MO message, so that no other carries the same
  account TEXT PRIMARY KEY,
  last_us INTEGER NOT NULL    -- microseconds since 1970
) WITHOUT ROWID;

CREATE TABLE conversations (
  account TEXT NOT NULL,
  msisdn TEXT NOT NULL,
  shortcode TEXT NOT NULL,
  session_id TEXT,            -- of the last MT; NULL until one came
  ref_id TEXT,                -- of the last MT
  unread INTEGER NOT NULL,    -- MT messages since somebody looked
  originated INTEGER NOT NULL,-- MO messages so far
  last_seq INTEGER NOT NULL,  -- the newest message
  PRIMARY KEY (account, msisdn, shortcode)
) WITHOUT ROWID;
-- Holds the key as well, so that who is sought or unread is found in it alone; a new message writes it anyway.
CREATE INDEX conversations_by_age ON conversations (account, last_seq, unread);

CREATE TABLE messages (
  seq INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  account TEXT NOT NULL,
  direction TEXT NOT NULL,
  msisdn TEXT NOT NULL,
  shortcode TEXT NOT NULL,
  text TEXT NOT NULL,
  session_id TEXT NOT NULL,
  ref_id TEXT,
  sent_date TEXT NOT NULL,
  telco TEXT NOT NULL,
  encoding TEXT NOT NULL,
  segments INTEGER NOT NULL,
  state TEXT NOT NULL,
  extra TEXT,                 -- JSON, NULL if there is none
  warnings TEXT,              -- JSON, NULL if there are none
  delivery_seq INTEGER,       -- MO: the latest webhook delivery
  client TEXT,                -- MT, this and what follows: the call that it came in
  headers BLOB,               -- as in refusals
  body BLOB,
  answer BLOB
);
CREATE INDEX messages_by_handset ON messages (account, msisdn, seq);
CREATE INDEX messages_waiting ON messages (account, msisdn) WHERE state = 'accepted';

CREATE TABLE refusals (       -- calls to the gateway that were refused
  seq INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  account TEXT,               -- NULL: a call whose token no account owns
  method TEXT NOT NULL,
  path TEXT NOT NULL,
  client TEXT NOT NULL,
  headers BLOB NOT NULL,      -- one "name: value" a line; secrets are masked
  body BLOB NOT NULL,
  status_code INTEGER NOT NULL,
  answer BLOB NOT NULL,
  problems TEXT NOT NULL      -- JSON
);

CREATE VIEW requests AS       -- every call to the gateway
  -- The casts give both halves the same types; without them SQLite sorts all rows for each page.
  SELECT seq, account, at_ms, CAST('POST' AS TEXT) AS method, CAST('/ng/v1/sendsms' AS TEXT) AS path, client, headers,
         body, CAST(200 AS INTEGER) AS status_code, answer, CAST(NULL AS TEXT) AS problems, warnings
    FROM messages WHERE direction = 'mt'
  UNION ALL
  SELECT seq, account, at_ms, method, path, client, headers, body, status_code, answer, problems, CAST(NULL AS TEXT)
    FROM refusals;

CREATE VIEW journal AS        -- everything that happened, in order
  SELECT seq, at_ms, kind, account, subject, msisdn FROM events
  UNION ALL
  SELECT seq, at_ms, CAST(CASE direction WHEN 'mt' THEN 'message_submitted' ELSE 'message_originated' END AS TEXT),
         account, seq, msisdn
    FROM messages
  UNION ALL
  SELECT seq, at_ms, CAST('message_refused' AS TEXT), account, seq, CAST(NULL AS TEXT) FROM refusals;

CREATE VIEW last_number AS
  SELECT MAX(seq) AS seq FROM (
    SELECT MAX(seq) AS seq FROM events
    UNION ALL SELECT MAX(seq) FROM messages
    UNION ALL SELECT MAX(seq) FROM refusals
    UNION ALL SELECT seq FROM kept);

CREATE TABLE webhook_deliveries (
  seq INTEGER PRIMARY KEY,
  message_seq INTEGER NOT NULL,
  account TEXT NOT NULL,
  msisdn TEXT NOT NULL,
  shortcode TEXT NOT NULL,
  url TEXT NOT NULL,
  body BLOB NOT NULL,         -- frozen: every attempt repeats it byte for byte
  state TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  retries_used INTEGER NOT NULL,
  first_failed_ms INTEGER,
  next_attempt_ms INTEGER,
  redelivery_of INTEGER,
  edited INTEGER NOT NULL DEFAULT 0, -- 1: somebody wrote the body of this redelivery
  put_off_ms INTEGER NOT NULL DEFAULT 0, -- how much later than their offsets the retries come, as nothing ran meanwhile
  taken_up INTEGER NOT NULL DEFAULT 0 -- 1: a start asked for the attempt that is planned or under way, beside the retries
);
CREATE INDEX webhook_deliveries_open ON webhook_deliveries (account, msisdn, seq)
  WHERE state IN ('pending', 'in_flight', 'retrying');
-- Of what ended badly alone: the happy path never touches it.
CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (account, state, seq)
  WHERE state IN ('rejected', 'exhausted', 'cancelled');
CREATE INDEX webhook_deliveries_by_message ON webhook_deliveries (message_seq);
CREATE INDEX webhook_deliveries_edited ON webhook_deliveries (message_seq) WHERE edited = 1;

CREATE TABLE attempts (
  delivery_seq INTEGER NOT NULL,
  number INTEGER NOT NULL,
  triggered TEXT NOT NULL,
  started_ms INTEGER NOT NULL,
  offset_ms INTEGER NOT NULL,
  outcome TEXT,               -- NULL: under way, or cut off by a crash
  duration_ms REAL,
  status_code INTEGER,
  headers TEXT,
  body BLOB,
  error TEXT,
  warnings TEXT,
  fault_seq INTEGER,          -- the fault that struck it, which may have been removed since; an imported one's is the file's
  withheld INTEGER,           -- 1: that fault kept it from being posted
  PRIMARY KEY (delivery_seq, number)
);
CREATE INDEX attempts_under_way ON attempts (delivery_seq) WHERE outcome IS NULL;

-- Whatever is due later. A timer is removed by the transaction that carries it out.
CREATE TABLE timers (
  id INTEGER PRIMARY KEY,
  due_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  lane TEXT NOT NULL,
  account TEXT NOT NULL,
  subject INTEGER NOT NULL,
  data TEXT NOT NULL
);
CREATE INDEX timers_by_lane ON timers (lane, due_ms, id);
CREATE INDEX timers_by_subject ON timers (subject);

CREATE TABLE faults (         -- failures that somebody asked for, those that are used up included
  seq INTEGER PRIMARY KEY,
  account TEXT NOT NULL,
  times INTEGER,              -- NULL: until it is removed
  used INTEGER NOT NULL,
  spec TEXT NOT NULL          -- JSON: the other fields of model.Fault
);
CREATE INDEX faults_by_account ON faults (account, seq);

CREATE TABLE scenarios (      -- the accounts' own; the built-in ones are files
  account TEXT NOT NULL,
  name TEXT NOT NULL,
  source TEXT NOT NULL,       -- YAML, as somebody wrote it
  changed_ms INTEGER NOT NULL,
  PRIMARY KEY (account, name)
) WITHOUT ROWID;

CREATE TABLE runs (           -- scenarios that are or were played
  seq INTEGER PRIMARY KEY,
  account TEXT NOT NULL,
  scenario TEXT NOT NULL,
  source TEXT NOT NULL,       -- as it was at the start
  steps INTEGER NOT NULL,     -- 0: a persona, which has a cursor for each handset
  msisdn TEXT,                -- NULL: any handset, or none yet
  started_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  state TEXT NOT NULL,
  listening INTEGER NOT NULL, -- 1: messages are offered to it, as to a script that has ended but goes on with its rules
  reason TEXT NOT NULL        -- of a failure, in words
);
CREATE INDEX runs_by_account ON runs (account, seq);
CREATE INDEX runs_listening ON runs (account, seq) WHERE listening = 1;

CREATE TABLE run_cursors (
  run_seq INTEGER NOT NULL,
  msisdn TEXT NOT NULL,       -- '': the run has no handset yet
  moved INTEGER NOT NULL,     -- the number of what moved it last
  cursor TEXT NOT NULL,       -- JSON: steps.Cursor
  PRIMARY KEY (run_seq, msisdn)
) WITHOUT ROWID;
CREATE INDEX run_cursors_by_age ON run_cursors (run_seq, moved);

CREATE TABLE run_misses (     -- messages that a run did not know what to do with
  seq INTEGER PRIMARY KEY,
  run_seq INTEGER NOT NULL,
  message_seq INTEGER NOT NULL,
  about TEXT NOT NULL,
  differences TEXT NOT NULL   -- JSON
);
CREATE INDEX run_misses_by_run ON run_misses (run_seq, seq);
