//! What calls do to the state: the rules of the runtime, without blocks, pools or I/O.

use crate::metadata::EXISTENTIAL_DEPOSIT;
use crate::runtime::frame_support::dispatch::DispatchInfo;
use crate::runtime::frame_system::{AccountInfo, Phase};
use crate::runtime::pallet_balances::types::{AccountData, ExtraFlags};
use crate::runtime::sp_core::crypto::AccountId32;
use crate::runtime::sp_runtime::multiaddress::MultiAddress;
use crate::runtime::sp_runtime::{ArithmeticError, DispatchError, ModuleError, TokenError};
use crate::runtime::tfchain_runtime::{RuntimeCall, RuntimeEvent};
use crate::runtime::{
    Version, frame_system, pallet_balances, pallet_tft_bridge, pallet_transaction_payment,
    pallet_utility,
};
use crate::state::{State, map, plain};
use crate::tally::Tally;
use codec::Encode;

mod contracts;
mod grid;

/// `Utility.batched_calls_limit`.
pub const BATCH_LIMIT: u32 = 10_922;

/// The figures of a runtime.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Nodes 1 ..= this exist from the beginning.
    pub nodes: u32,
    /// What a transaction costs, in 10^-7 TFT; burnt.
    pub extrinsic_fee: u64,
    /// What the bridge keeps of a deposit, in 10^-7 TFT.
    pub deposit_fee: u64,
}

/// What the bridge's validators agreed on.
#[derive(Debug, Clone)]
pub enum Voted {
    /// A deposit is to be minted.
    Mint {
        /// Hash on Stellar, hex.
        deposit: String,
        /// Who receives it.
        twin: u32,
        /// The whole deposit, in 10^-7 TFT.
        amount: u64,
    },
    /// A deposit was paid back on Stellar.
    Refunded {
        /// Hash of the deposit on Stellar, hex.
        deposit: String,
        /// Stellar account.
        target: String,
        /// In 10^-7 TFT.
        amount: u64,
        /// Sequence number of the refund.
        sequence: u64,
    },
}

/// What the chain does to a contract by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "does")]
pub enum OfItself {
    /// Bills it.
    Bill {
        /// The contract.
        contract: u64,
        /// In 10^-7 TFT.
        amount: u64,
    },
    /// Puts it on its grace period.
    StartGrace {
        /// The contract.
        contract: u64,
    },
    /// Ends its grace period.
    EndGrace {
        /// The contract.
        contract: u64,
    },
    /// Cancels it for want of money.
    OutOfFunds {
        /// The contract.
        contract: u64,
    },
}

/// Work on one block.
pub struct Machine<'a> {
    /// The state.
    pub state: &'a mut State,
    /// The figures.
    pub rules: Rules,
    /// Who activates accounts, for the counting.
    pub activator: AccountId32,
    /// The runtime.
    pub version: Version,
    /// The block's number.
    pub number: u32,
    /// The block's time.
    pub now_ms: u64,
    /// Where events happen.
    pub phase: Phase,
    /// What happened.
    pub events: Vec<(Phase, RuntimeEvent)>,
    /// What is counted.
    pub tallies: Vec<Tally>,
}

type Done = Result<(), DispatchError>;

impl Machine<'_> {
    fn emit(&mut self, event: RuntimeEvent) {
        self.events.push((self.phase, event));
    }

    /// An error of a pallet, by its index in spec 149.
    fn refuse(&self, pallet: u8, error: &impl Encode) -> DispatchError {
        let mut bytes = [0; 4];
        bytes[0] = error.encode().first().copied().unwrap_or_default();
        DispatchError::Module(ModuleError {
            index: self.version.pallet(pallet),
            error: bytes,
        })
    }

    /// An account.
    pub fn account(&self, account: AccountId32) -> AccountInfo<u32, AccountData> {
        account_of(self.state, account, u32::MAX)
    }

    fn write(&mut self, account: AccountId32, info: AccountInfo<u32, AccountData>) {
        self.state.put(map("System", "Account", &account), &info);
    }

    /// Adds to an account, which may come to be by that.
    fn credit(&mut self, who: AccountId32, amount: u128) {
        let mut info = self.account(who);
        if info.providers == 0 {
            info.providers = 1;
            info.data.flags = ExtraFlags(1 << 127);
            self.emit(RuntimeEvent::System(frame_system::Event::NewAccount {
                account: who,
            }));
            self.emit(RuntimeEvent::Balances(pallet_balances::Event::Endowed {
                account: who,
                free_balance: amount,
            }));
        }
        info.data.free = info.data.free.saturating_add(amount);
        self.write(who, info);
    }

    /// Pays into an account.
    pub fn deposit(&mut self, who: AccountId32, amount: u128) {
        self.credit(who, amount);
        self.emit(RuntimeEvent::Balances(pallet_balances::Event::Deposit {
            who,
            amount,
        }));
    }

    fn withdraw(&mut self, who: AccountId32, amount: u128) {
        let mut info = self.account(who);
        info.data.free = info.data.free.saturating_sub(amount);
        self.write(who, info);
        self.emit(RuntimeEvent::Balances(pallet_balances::Event::Withdraw {
            who,
            amount,
        }));
    }

    /// Carries out a transaction that was checked. Nonce and fee are taken whether its call
    /// succeeds or not.
    pub fn signed(&mut self, account: AccountId32, call: &RuntimeCall) {
        let mut info = self.account(account);
        info.nonce += 1;
        self.write(account, info);
        let fee = u128::from(self.rules.extrinsic_fee);
        self.withdraw(account, fee);
        let (mark, events, tallies) = (self.state.mark(), self.events.len(), self.tallies.len());
        let done = self.dispatch(account, call);
        if done.is_err() {
            self.state.roll_back(mark);
            self.events.truncate(events);
            self.tallies.truncate(tallies);
        }
        self.emit(RuntimeEvent::TransactionPayment(
            pallet_transaction_payment::Event::TransactionFeePaid {
                who: account,
                actual_fee: fee,
                tip: 0,
            },
        ));
        self.ended(done, true);
    }

    /// Says how a transaction ended.
    pub fn ended(&mut self, done: Done, paid: bool) {
        let dispatch_info = DispatchInfo::of(paid);
        self.emit(RuntimeEvent::System(match done {
            Ok(()) => frame_system::Event::ExtrinsicSuccess { dispatch_info },
            Err(dispatch_error) => frame_system::Event::ExtrinsicFailed {
                dispatch_error,
                dispatch_info,
            },
        }));
    }

    fn dispatch(&mut self, account: AccountId32, call: &RuntimeCall) -> Done {
        match call {
            RuntimeCall::System(frame_system::Call::remark { .. }) => Ok(()),
            RuntimeCall::Timestamp(_) => Err(DispatchError::BadOrigin),
            RuntimeCall::Utility(call) => self.utility(account, call),
            RuntimeCall::Balances(call) => self.balances(account, call),
            RuntimeCall::TfgridModule(call) => self.grid(account, call),
            RuntimeCall::SmartContractModule(call) => self.contracts(account, call),
        }
    }

    /// Carries out a call that leaves nothing behind when it fails.
    fn nested(&mut self, account: AccountId32, call: &RuntimeCall) -> Done {
        let (mark, events, tallies) = (self.state.mark(), self.events.len(), self.tallies.len());
        let done = self.dispatch(account, call);
        if done.is_err() {
            self.state.roll_back(mark);
            self.events.truncate(events);
            self.tallies.truncate(tallies);
        }
        done
    }

    fn utility(&mut self, account: AccountId32, call: &pallet_utility::Call) -> Done {
        use pallet_utility::{Call, Event};
        let (Call::batch { calls } | Call::batch_all { calls } | Call::force_batch { calls }) =
            call;
        if u32::try_from(calls.len()).map_or(true, |n| n > BATCH_LIMIT) {
            return Err(self.refuse(3, &pallet_utility::Error::TooManyCalls));
        }
        let mut failed = false;
        for (index, inner) in (0..).zip(calls) {
            match (self.nested(account, inner), call) {
                (Ok(()), _) => self.emit(RuntimeEvent::Utility(Event::ItemCompleted)),
                (Err(error), Call::batch_all { .. }) => return Err(error),
                (Err(error), Call::batch { .. }) => {
                    let stopped = Event::BatchInterrupted { index, error };
                    self.emit(RuntimeEvent::Utility(stopped));
                    return Ok(());
                }
                (Err(error), Call::force_batch { .. }) => {
                    failed = true;
                    self.emit(RuntimeEvent::Utility(Event::ItemFailed { error }));
                }
            }
        }
        self.emit(RuntimeEvent::Utility(if failed {
            Event::BatchCompletedWithErrors
        } else {
            Event::BatchCompleted
        }));
        Ok(())
    }

    fn balances(&mut self, from: AccountId32, call: &pallet_balances::Call) -> Done {
        use pallet_balances::Call;
        let (Call::transfer_allow_death { dest, value }
        | Call::transfer_keep_alive { dest, value }) = call;
        let keep_alive = matches!(call, Call::transfer_keep_alive { .. });
        let MultiAddress::Id(to) = *dest else {
            return Err(DispatchError::CannotLookup);
        };
        self.transfer(from, to, *value, keep_alive)
    }

    fn transfer(
        &mut self,
        from: AccountId32,
        to: AccountId32,
        value: u128,
        keep_alive: bool,
    ) -> Done {
        let mut payer = self.account(from);
        let Some(left) = payer.data.free.checked_sub(value) else {
            return Err(DispatchError::Token(TokenError::FundsUnavailable));
        };
        if left < EXISTENTIAL_DEPOSIT && keep_alive {
            return Err(DispatchError::Token(TokenError::NotExpendable));
        }
        let Some(received) = self.account(to).data.free.checked_add(value) else {
            return Err(DispatchError::Arithmetic(ArithmeticError::Overflow));
        };
        if received < EXISTENTIAL_DEPOSIT {
            return Err(DispatchError::Token(TokenError::BelowMinimum));
        }
        payer.data.free = left;
        if left < EXISTENTIAL_DEPOSIT {
            if left > 0 {
                self.emit(RuntimeEvent::Balances(pallet_balances::Event::DustLost {
                    account: from,
                    amount: left,
                }));
            }
            self.state.take(map("System", "Account", &from));
            self.emit(RuntimeEvent::System(frame_system::Event::KilledAccount {
                account: from,
            }));
        } else {
            self.write(from, payer);
        }
        self.credit(to, value);
        self.emit(RuntimeEvent::Balances(pallet_balances::Event::Transfer {
            from,
            to,
            amount: value,
        }));
        if from == self.activator {
            self.tallies.push(Tally::Activation(to));
        }
        Ok(())
    }

    /// Carries out what the bridge's validators voted for.
    ///
    /// # Errors
    /// When the runtime refuses it.
    pub fn voted(&mut self, voted: &Voted) -> Done {
        let refused = |machine: &Self, error| Err(machine.refuse(27, &error));
        match voted {
            Voted::Mint {
                deposit,
                twin,
                amount,
            } => {
                // Once per Stellar transaction, for ever.
                if answered(self.state, deposit) {
                    let error = pallet_tft_bridge::Error::MintTransactionAlreadyExecuted;
                    return refused(self, error);
                }
                let Some(arrives) = amount
                    .checked_sub(self.rules.deposit_fee)
                    .filter(|arrives| *arrives > 0)
                else {
                    return refused(self, pallet_tft_bridge::Error::AmountIsLessThanDepositFee);
                };
                let Some(target) = grid::twin(self.state, *twin).map(|twin| twin.account_id) else {
                    return refused(self, pallet_tft_bridge::Error::WrongParametersProvided);
                };
                self.tallies.push(Tally::Mint(deposit.clone()));
                self.deposit(target, u128::from(arrives));
                let transaction = pallet_tft_bridge::MintTransaction {
                    amount: *amount,
                    target,
                    block: self.number,
                    votes: 1,
                };
                let key = executed(deposit);
                self.state.put(key, &transaction);
                self.emit(RuntimeEvent::TFTBridgeModule(
                    pallet_tft_bridge::Event::MintCompleted(transaction, deposit.clone().into()),
                ));
            }
            Voted::Refunded {
                deposit,
                target,
                amount,
                sequence,
            } => {
                if answered(self.state, deposit) {
                    let error = pallet_tft_bridge::Error::RefundTransactionAlreadyExecuted;
                    return refused(self, error);
                }
                self.tallies.push(Tally::Refund(deposit.clone()));
                let refund = pallet_tft_bridge::RefundTransaction {
                    block: self.number,
                    amount: *amount,
                    target: target.clone().into(),
                    tx_hash: deposit.clone().into(),
                    signatures: Vec::new(),
                    sequence_number: *sequence,
                };
                let key = paid_back(deposit);
                self.state.put(key, &refund);
                self.emit(RuntimeEvent::TFTBridgeModule(
                    pallet_tft_bridge::Event::RefundTransactionProcessed(refund),
                ));
            }
        }
        Ok(())
    }
}

/// An account in block `number`.
#[must_use]
pub fn account_of(
    state: &State,
    account: AccountId32,
    number: u32,
) -> AccountInfo<u32, AccountData> {
    state
        .get_at(&map("System", "Account", &account), number)
        .unwrap_or_default()
}

fn executed(deposit: &str) -> Vec<u8> {
    map(
        "TFTBridgeModule",
        "ExecutedMintTransactions",
        &deposit.as_bytes().to_vec(),
    )
}

fn paid_back(deposit: &str) -> Vec<u8> {
    map(
        "TFTBridgeModule",
        "ExecutedRefundTransactions",
        &deposit.as_bytes().to_vec(),
    )
}

/// Whether the deposit was minted or paid back.
#[must_use]
pub fn answered(state: &State, deposit: &str) -> bool {
    state.raw_at(&executed(deposit), u32::MAX).is_some()
        || state.raw_at(&paid_back(deposit), u32::MAX).is_some()
}

/// Whether the twin exists.
#[must_use]
pub fn has_twin(state: &State, twin: u32) -> bool {
    grid::twin(state, twin).is_some()
}

/// Writes what block 0 holds: the activator's money, the fees, prices, a farm with its nodes.
pub fn genesis(machine: &mut Machine<'_>, endowment: u64) {
    let activator = machine.activator;
    machine.deposit(activator, u128::from(endowment));
    let (deposit_fee, nodes) = (machine.rules.deposit_fee, machine.rules.nodes);
    machine
        .state
        .put(plain("Balances", "TotalIssuance"), &u128::from(endowment));
    machine
        .state
        .put(plain("TFTBridgeModule", "DepositFee"), &deposit_fee);
    // Thousandths of a dollar.
    for entry in ["TftPrice", "AverageTftPrice"] {
        machine.state.put(plain("TFTPriceModule", entry), &100_u32);
    }
    grid::first_farm(machine, nodes);
    machine.events.clear();
    machine.tallies.clear();
}

/// Gives somebody an account and the next twin, as if they had always been there.
pub fn move_in(machine: &mut Machine<'_>, account: AccountId32, endowment: u64) {
    machine.deposit(account, u128::from(endowment));
    machine.store_twin(account, None, None);
    machine.events.clear();
    machine.tallies.clear();
}
