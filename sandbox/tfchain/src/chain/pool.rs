//! The pool: what a node checks before it takes a transaction.

use super::{Chain, History, Inner, Status};
use crate::extrinsic::{Bound, Rejected, Signed};
use crate::ledger::account_of;
use crate::metadata::EXISTENTIAL_DEPOSIT;

impl Chain {
    /// Checks a transaction as a node does and takes it; returns its hash, and how much had been
    /// said of that before.
    ///
    /// # Errors
    /// [`Rejected`].
    pub fn submit(&self, bytes: &[u8]) -> Result<([u8; 32], usize), Rejected> {
        self.watch(bytes).map(|(hash, _, before)| (hash, before))
    }

    /// The same, with the history in which all that is said of it will stand.
    ///
    /// # Errors
    /// [`Rejected`].
    pub fn watch(&self, bytes: &[u8]) -> Result<([u8; 32], History, usize), Rejected> {
        let (version, next) = {
            let inner = self.inner.lock();
            (inner.version, inner.head() + 1)
        };
        let mut signed = Signed::decode(bytes, version)?;
        let birth = signed.birth(next)?;
        let birth = self.inner.lock().block(birth).map(|block| block.hash);
        let bound = birth.map(|birth| Bound {
            version,
            genesis: self.genesis,
            birth,
        });
        // Outside of the lock: checking a signature costs more than all the rest.
        if !bound.is_some_and(|bound| signed.is_signed(bound)) {
            return Err(Rejected::invalid("Transaction has a bad signature"));
        }
        signed.checked = bound;
        let mut inner = self.inner.lock();
        let status = self.admit(&inner, &signed)?;
        let hash = signed.hash;
        let history = inner.said.entry(hash).or_default().clone();
        let before = history.after(0).len();
        inner.say(hash, status);
        if inner.drop_next > 0 || is_dropped(&inner, &signed) {
            inner.drop_next = inner.drop_next.saturating_sub(1);
            inner.counts.dropped += 1;
            inner.say(hash, Status::Dropped);
            self.news.change();
            return Ok((hash, history, before));
        }
        inner.pool.push(signed);
        if self.pace.block.is_zero() && !inner.held {
            self.seal(&mut inner);
        }
        Ok((hash, history, before))
    }

    /// The next transaction is dropped from the pool.
    pub fn drop_next(&self) {
        self.inner.lock().drop_next += 1;
    }

    /// From now on each n-th transaction, chosen by its hash, is dropped from the pool; 0: none.
    pub fn drop_transactions(&self, each: u32) {
        self.inner.lock().drop_each = each;
    }

    /// Transactions in the pool.
    #[must_use]
    pub fn pending(&self) -> Vec<Vec<u8>> {
        let inner = self.inner.lock();
        inner
            .pool
            .iter()
            .map(|signed| signed.bytes.clone())
            .collect()
    }

    /// The checks that a node makes before a transaction enters its pool, the signature aside.
    fn admit(&self, inner: &Inner, signed: &Signed) -> Result<Status, Rejected> {
        let next = inner.head() + 1;
        if inner.pool.iter().any(|pooled| pooled.hash == signed.hash) {
            return Err(Rejected {
                code: 1013,
                message: "Transaction Already Imported",
                data: hex::encode(signed.hash),
            });
        }
        if signed.death(next) <= u64::from(next) {
            return Err(Rejected::invalid("Transaction is outdated"));
        }
        let account = account_of(&inner.state, signed.account, u32::MAX);
        if signed.nonce < account.nonce {
            return Err(Rejected::invalid("Transaction is outdated"));
        }
        let waiting = || {
            inner
                .pool
                .iter()
                .filter(|pooled| pooled.account == signed.account)
        };
        if waiting().any(|pooled| pooled.nonce == signed.nonce) {
            return Err(Rejected {
                code: 1014,
                message: "Priority is too low: (0 vs 0)",
                data: "The transaction has too low priority to replace another transaction \
                       already in the pool."
                    .to_owned(),
            });
        }
        let fee = u128::from(self.rules.extrinsic_fee);
        if account.data.free < fee + EXISTENTIAL_DEPOSIT {
            return Err(Rejected::invalid(
                "Inability to pay some fees (e.g. account balance too low)",
            ));
        }
        let expected = account.nonce + u32::try_from(waiting().count()).unwrap_or(0);
        Ok(if signed.nonce > expected {
            Status::Future
        } else {
            Status::Ready
        })
    }
}

fn is_dropped(inner: &Inner, signed: &Signed) -> bool {
    let [a, b, ..] = signed.hash;
    inner.drop_each > 0 && u32::from(u16::from_le_bytes([a, b])).is_multiple_of(inner.drop_each)
}
