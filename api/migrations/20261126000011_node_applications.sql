-- People who offer nodes. The row decides: whoever changes an application holds its lock, and what
-- became true goes to the log through the outbox of the same transaction.
-- street_address, contact_name and contact_email are personal data: they stand here and nowhere else.
CREATE TABLE applications (
    id                uuid        PRIMARY KEY,
    applicant_id      uuid        NOT NULL,
    stage             text        NOT NULL,
    revision          integer     NOT NULL,
    farm_name         text        NOT NULL,
    country           text        NOT NULL,
    city              text        NOT NULL,
    wallet_network    text        NOT NULL,
    wallet            text        NOT NULL,
    cpu_cores         integer     NOT NULL,
    memory_gib        integer     NOT NULL,
    ssd_gib           integer     NOT NULL,
    hdd_gib           integer     NOT NULL,
    uplink_mbps       integer     NOT NULL,
    public_ipv4_count integer     NOT NULL,
    street_address    text        NOT NULL,
    contact_name      text        NOT NULL,
    contact_email     text        NOT NULL,
    -- Who decided last, and why.
    decided_by        uuid,
    reason            text,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL
);
CREATE INDEX applications_latest ON applications (created_at DESC, id DESC);
CREATE INDEX applications_of_applicant ON applications (applicant_id);
CREATE INDEX applications_of_farm ON applications (lower(farm_name));

-- One document of each kind; an applicant who attaches another one replaces it.
CREATE TABLE application_documents (
    application_id uuid        NOT NULL REFERENCES applications (id),
    kind           text        NOT NULL,
    content_type   text        NOT NULL,
    size_bytes     integer     NOT NULL,
    sha256         text        NOT NULL,
    content        bytea       NOT NULL,
    attached_at    timestamptz NOT NULL,
    PRIMARY KEY (application_id, kind)
);

-- The commands that were taken, by the ids of their events: a command that comes again is known.
CREATE TABLE application_steps (
    event_id       uuid   PRIMARY KEY,
    seq            bigint GENERATED ALWAYS AS IDENTITY,
    application_id uuid   NOT NULL REFERENCES applications (id),
    fingerprint    bytea  NOT NULL
);
CREATE INDEX application_steps_of ON application_steps (application_id, seq);
