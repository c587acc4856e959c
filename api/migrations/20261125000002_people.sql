-- Personal data stands here and nowhere else: no event, no log line, no key in Redis has it.
-- An account becomes a user of the log (UserRegistered) once its e-mail address is verified.
CREATE TABLE accounts (
    user_id       uuid        PRIMARY KEY,
    email         text        NOT NULL,
    email_key     text        NOT NULL UNIQUE,
    password_hash text        NOT NULL,
    verified_at   timestamptz,
    created_at    timestamptz NOT NULL,
    -- Sessions that began before are over, even if Redis comes back with them.
    sessions_from timestamptz NOT NULL
);

CREATE TABLE account_roles (
    user_id    uuid        NOT NULL,
    role       text        NOT NULL,
    granted_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, role)
);

-- Tokens that were mailed, as their hash. The password of a sign-up becomes the account's with its
-- own token only: else whoever signs up first would choose the password of whoever owns the mailbox.
CREATE TABLE mailed_tokens (
    hash          text        PRIMARY KEY,
    user_id       uuid        NOT NULL,
    purpose       text        NOT NULL,
    password_hash text,
    expires_at    timestamptz NOT NULL
);
CREATE INDEX mailed_tokens_of_user ON mailed_tokens (user_id);

-- Mails on their way. The text holds a secret, so it is cleared once the mail is sent or given up.
CREATE TABLE mails (
    id         uuid        PRIMARY KEY,
    recipient  text        NOT NULL,
    subject    text        NOT NULL,
    body       text        NOT NULL,
    created_at timestamptz NOT NULL,
    attempts   integer     NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL,
    ended_at   timestamptz,
    outcome    text
);
CREATE INDEX mails_due ON mails (next_at) WHERE ended_at IS NULL;

-- Events that became true with the rows of their transaction and are on their way to the log.
-- Claimed by flag, never by number: a transaction that commits late leaves its rows to be found.
CREATE TABLE outbox (
    seq        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   uuid        NOT NULL UNIQUE,
    topic      text        NOT NULL,
    key        text        NOT NULL,
    type       text        NOT NULL,
    event      jsonb       NOT NULL,
    created_at timestamptz NOT NULL,
    appended   boolean     NOT NULL DEFAULT false
);
CREATE INDEX outbox_open ON outbox (seq) WHERE NOT appended;
