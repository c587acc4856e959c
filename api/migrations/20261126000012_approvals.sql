-- What operators ask for, and who agreed. The row decides, under its lock; what became true, and the
-- event that makes it happen, go to the log through the outbox of the same transaction.
CREATE TABLE approvals (
    id               uuid        PRIMARY KEY,
    action           text        NOT NULL,
    target           text        NOT NULL,
    twin_id          bigint,
    asset            text,
    amount           bigint,
    threshold        bigint,
    second_person    boolean     NOT NULL,
    state            text        NOT NULL,
    asked_by         uuid        NOT NULL,
    reason           text        NOT NULL,
    requested_at     timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    fingerprint      bytea       NOT NULL,
    -- Where the event that makes it happen goes.
    effect_topic     text,
    effect_key       text        NOT NULL,
    effect_partition integer,
    -- Who decided, why, when, and by which command.
    decided_by       uuid,
    decision_reason  text,
    decided_at       timestamptz,
    decided_command  uuid,
    -- When what is done by hand was begun.
    used_at          timestamptz
);
CREATE INDEX approvals_latest ON approvals (requested_at DESC, id DESC);
-- The same is asked for once at a time.
CREATE UNIQUE INDEX approvals_waiting ON approvals (target) WHERE state = 'waiting';
