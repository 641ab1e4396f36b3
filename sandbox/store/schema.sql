-- Everything the sandbox remembers. Times are integer milliseconds, JSON is text, numbers (seq) are the journal's.

-- Every event in order. The last entry is never removed, so that no number is given twice.
CREATE TABLE journal (
  seq INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  account TEXT,               -- NULL: a call whose token no account owns
  subject INTEGER NOT NULL,   -- the number of what it is about
  msisdn TEXT                 -- the handset, for what belongs to a conversation
);

CREATE TABLE accounts (
  name TEXT PRIMARY KEY,
  token TEXT NOT NULL UNIQUE,
  spec TEXT NOT NULL          -- JSON: the other fields of model.Account
);

CREATE TABLE handsets (       -- only those that somebody gave a label, a telco or a state
  account TEXT NOT NULL,
  msisdn TEXT NOT NULL,
  label TEXT NOT NULL,
  telco TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (account, msisdn)
);

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
);
CREATE INDEX conversations_by_age ON conversations (account, last_seq);

CREATE TABLE messages (
  seq INTEGER PRIMARY KEY,
  account TEXT NOT NULL,
  direction TEXT NOT NULL,
  msisdn TEXT NOT NULL,
  shortcode TEXT NOT NULL,
  text TEXT NOT NULL,
  session_id TEXT NOT NULL,
  ref_id TEXT,
  sent_date TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  telco TEXT NOT NULL,
  encoding TEXT NOT NULL,
  segments INTEGER NOT NULL,
  state TEXT NOT NULL,
  extra TEXT,                 -- JSON, NULL if there is none
  warnings TEXT,              -- JSON, NULL if there are none
  delivery_seq INTEGER        -- MO: the latest webhook delivery
);
CREATE INDEX messages_by_handset ON messages (account, msisdn, seq);
CREATE INDEX messages_waiting ON messages (account, msisdn) WHERE state = 'accepted';

CREATE TABLE requests (
  seq INTEGER PRIMARY KEY,
  account TEXT,
  at_ms INTEGER NOT NULL,
  method TEXT NOT NULL,
  path TEXT NOT NULL,
  client TEXT NOT NULL,
  headers TEXT NOT NULL,      -- JSON; tokens are masked
  body BLOB NOT NULL,
  status_code INTEGER NOT NULL,
  answer BLOB NOT NULL,
  problems TEXT,              -- JSON, NULL if accepted
  warnings TEXT               -- JSON, NULL if there are none
);
CREATE INDEX requests_refused ON requests (seq) WHERE status_code <> 200;

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
  redelivery_of INTEGER
);
CREATE INDEX webhook_deliveries_open ON webhook_deliveries (account, msisdn, seq)
  WHERE state IN ('pending', 'in_flight', 'retrying');
CREATE INDEX webhook_deliveries_by_message ON webhook_deliveries (message_seq);

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
