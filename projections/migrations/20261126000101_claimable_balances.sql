-- What came as a claimable balance: which, and the transaction that claimed it.
ALTER TABLE deposits
    ADD COLUMN balance_id text,
    ADD COLUMN claim_tx   text;
