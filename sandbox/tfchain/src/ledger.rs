//! The chain's state and what calls do to it: the rules of the runtime, without time, blocks or
//! I/O. The same operations in the same order always lead to the same state, so a finalized state
//! can trail the best one.

use counterparties_tfchain::AccountId32;
use counterparties_tfchain::protocol::{AccountState, Call, DispatchError, Event, Header};
use counterparties_tfchain::runtime_events::{
    ContractCreated, ContractData, MintCompleted, MintTransaction, NodeContract,
    NodeContractCanceled, RefundTransactionProcessed, RuntimeEvent, TwinStored,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// `Balances.ExistentialDeposit`, in 10^-7 TFT.
pub const EXISTENTIAL_DEPOSIT: u64 = 500;
/// `SmartContractModule.MaxDeploymentDataLength`.
const MAX_DATA: usize = 512;
/// `SmartContractModule.MaxNodeContractPublicIps`.
const MAX_PUBLIC_IPS: u32 = 512;

/// An account.
#[derive(Debug, Clone, Default)]
struct Account {
    nonce: u32,
    free: u64,
    terms_accepted: bool,
    twin: Option<u32>,
}

#[derive(Debug, Clone)]
struct Contract {
    twin: u32,
    node: u32,
    hash: [u8; 32],
}

/// The figures of a runtime.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Nodes 1 ..= this exist.
    pub nodes: u32,
    /// What a transaction costs, in 10^-7 TFT; burnt.
    pub extrinsic_fee: u64,
    /// What the bridge keeps of a deposit, in 10^-7 TFT.
    pub deposit_fee: u64,
}

/// What a block may hold.
#[derive(Debug, Clone)]
pub enum Operation {
    /// A transaction that has been admitted.
    Signed {
        /// Who signs and pays.
        account: AccountId32,
        /// What it does.
        call: Call,
    },
    /// The bridge's validators agreed on a deposit.
    Mint {
        /// Hash on Stellar, hex.
        deposit: String,
        /// Who receives it.
        twin: u32,
        /// The whole deposit, in 10^-7 TFT.
        amount: u64,
    },
    /// The bridge paid a deposit back on Stellar.
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

/// What an operation did.
#[derive(Debug, Clone, Default)]
pub struct Effect {
    /// Events, in order.
    pub events: Vec<Event>,
    /// Why a call failed.
    pub error: Option<DispatchError>,
}

/// Counts of what was done, for tests that look for doubled work.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Counts {
    /// Contracts created, cancelled ones included.
    pub contracts: u64,
    /// Contracts created, by deployment hash.
    pub by_hash: BTreeMap<String, u64>,
    /// Mints.
    pub mints: u64,
    /// Mints, by hash of the deposit.
    pub by_stellar_tx: BTreeMap<String, u64>,
    /// Deposits paid back, by hash of the deposit.
    pub refunds: BTreeMap<String, u64>,
    /// Twins.
    pub twins: u64,
    /// Transfers by the activator, by receiver (SS58).
    pub activations: BTreeMap<String, u64>,
}

/// The state.
#[derive(Debug, Clone)]
pub struct Ledger {
    rules: Rules,
    activator: AccountId32,
    accounts: BTreeMap<AccountId32, Account>,
    twins: BTreeMap<u32, AccountId32>,
    contracts: BTreeMap<u64, Contract>,
    last_contract: u64,
    unique: BTreeMap<(u32, [u8; 32]), u64>,
    /// Deposits that were minted or refunded.
    answered: BTreeSet<String>,
    counts: Counts,
}

fn event(pallet: &str, name: &str, data: serde_json::Value) -> Event {
    Event {
        pallet: pallet.to_owned(),
        name: name.to_owned(),
        data,
    }
}

fn error(module: &str, name: &str) -> DispatchError {
    DispatchError {
        module: module.to_owned(),
        name: name.to_owned(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Ledger {
    /// The state at block 0: the activator holds `endowment`.
    #[must_use]
    pub fn new(rules: Rules, activator: AccountId32, endowment: u64) -> Self {
        let account = Account {
            free: endowment,
            ..Account::default()
        };
        Self {
            rules,
            activator,
            accounts: BTreeMap::from([(activator, account)]),
            twins: BTreeMap::new(),
            contracts: BTreeMap::new(),
            last_contract: 0,
            unique: BTreeMap::new(),
            answered: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// The figures.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What was done so far.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Next nonce and free balance.
    #[must_use]
    pub fn purse(&self, account: &AccountId32) -> (u32, u64) {
        self.accounts
            .get(account)
            .map_or((0, 0), |a| (a.nonce, a.free))
    }

    /// Whether the twin exists.
    #[must_use]
    pub fn has_twin(&self, twin: u32) -> bool {
        self.twins.contains_key(&twin)
    }

    /// Whether the deposit was minted or refunded.
    #[must_use]
    pub fn is_answered(&self, deposit: &str) -> bool {
        self.answered.contains(deposit)
    }

    /// What a client reads of an account.
    #[must_use]
    pub fn account(
        &self,
        account: &AccountId32,
        contract: Option<(u32, [u8; 32])>,
        at: Header,
    ) -> AccountState {
        let state = self.accounts.get(account).cloned().unwrap_or_default();
        AccountState {
            at,
            nonce: state.nonce,
            free: state.free,
            terms_accepted: state.terms_accepted,
            twin: state.twin,
            contract: contract.and_then(|key| self.unique.get(&key).copied()),
        }
    }

    /// Carries out an operation in block `block`.
    pub fn apply(&mut self, operation: &Operation, block: u32) -> Effect {
        match operation {
            Operation::Signed { account, call } => self.signed(*account, call),
            Operation::Mint {
                deposit,
                twin,
                amount,
            } => self.mint(deposit, *twin, *amount, block),
            Operation::Refunded {
                deposit,
                target,
                amount,
                sequence,
            } => {
                self.answered.insert(deposit.clone());
                *self.counts.refunds.entry(deposit.clone()).or_default() += 1;
                let refund = RefundTransactionProcessed {
                    block,
                    amount: *amount,
                    target: target.clone(),
                    tx_hash: deposit.clone(),
                    sequence_number: *sequence,
                };
                Effect {
                    events: vec![refund.to_event()],
                    error: None,
                }
            }
        }
    }

    /// Nonce and fee are taken whether the call succeeds or not.
    fn signed(&mut self, account: AccountId32, call: &Call) -> Effect {
        let fee = self.rules.extrinsic_fee;
        let payer = self.accounts.entry(account).or_default();
        payer.nonce += 1;
        payer.free = payer.free.saturating_sub(fee);
        let mut events = vec![event(
            "Balances",
            "Withdraw",
            json!({"who": account, "amount": fee}),
        )];
        let paid = event(
            "TransactionPayment",
            "TransactionFeePaid",
            json!({"who": account, "actual_fee": fee, "tip": 0}),
        );
        match self.call(account, call) {
            Ok(done) => {
                events.extend(done);
                events.extend([paid, event("System", "ExtrinsicSuccess", json!({}))]);
                Effect {
                    events,
                    error: None,
                }
            }
            Err(error) => {
                events.extend([
                    paid,
                    event(
                        "System",
                        "ExtrinsicFailed",
                        json!({"dispatch_error": error}),
                    ),
                ]);
                Effect {
                    events,
                    error: Some(error),
                }
            }
        }
    }

    fn call(&mut self, account: AccountId32, call: &Call) -> Result<Vec<Event>, DispatchError> {
        match call {
            Call::TransferKeepAlive { dest, value } => self.transfer(account, *dest, *value),
            Call::UserAcceptTc {
                document_link,
                document_hash,
            } => {
                if document_link.is_empty() {
                    return Err(error("TfgridModule", "DocumentLinkInputTooShort"));
                }
                if document_hash.len() > 32 {
                    return Err(error("TfgridModule", "DocumentHashInputTooLong"));
                }
                self.accounts.entry(account).or_default().terms_accepted = true;
                Ok(Vec::new())
            }
            Call::CreateTwin { .. } => self.create_twin(account),
            Call::CreateNodeContract {
                node_id,
                deployment_hash,
                deployment_data,
                public_ips,
                solution_provider_id,
            } => {
                if deployment_data.len() > MAX_DATA {
                    return Err(error("SmartContractModule", "DeploymentDataTooLong"));
                }
                let contract = NodeContract {
                    node_id: *node_id,
                    deployment_hash: hex::encode(deployment_hash),
                    deployment_data: text(deployment_data),
                    public_ips: *public_ips,
                };
                self.create_contract(account, *deployment_hash, contract, *solution_provider_id)
            }
            Call::CancelContract { contract_id } => self.cancel_contract(account, *contract_id),
        }
    }

    fn transfer(
        &mut self,
        from: AccountId32,
        to: AccountId32,
        value: u128,
    ) -> Result<Vec<Event>, DispatchError> {
        let free = self.purse(&from).1;
        let value = u64::try_from(value).ok().filter(|value| *value <= free);
        let Some(value) = value else {
            return Err(error("Token", "FundsUnavailable"));
        };
        if free - value < EXISTENTIAL_DEPOSIT {
            return Err(error("Token", "NotExpendable"));
        }
        let Some(received) = self.purse(&to).1.checked_add(value) else {
            return Err(error("Arithmetic", "Overflow"));
        };
        if received < EXISTENTIAL_DEPOSIT {
            return Err(error("Token", "BelowMinimum"));
        }
        self.accounts.entry(from).or_default().free -= value;
        let receiver = self.accounts.entry(to).or_default();
        // Read anew: sender and receiver may be the same account.
        receiver.free = receiver.free.saturating_add(value);
        if from == self.activator {
            *self.counts.activations.entry(to.to_string()).or_default() += 1;
        }
        Ok(vec![event(
            "Balances",
            "Transfer",
            json!({"from": from, "to": to, "amount": value}),
        )])
    }

    fn create_twin(&mut self, account: AccountId32) -> Result<Vec<Event>, DispatchError> {
        let state = self.accounts.entry(account).or_default();
        if !state.terms_accepted {
            return Err(error("TfgridModule", "UserDidNotSignTermsAndConditions"));
        }
        if state.twin.is_some() {
            return Err(error("TfgridModule", "TwinWithPubkeyExists"));
        }
        let id = self.twins.keys().next_back().map_or(1, |last| last + 1);
        state.twin = Some(id);
        self.twins.insert(id, account);
        self.counts.twins += 1;
        Ok(vec![
            TwinStored {
                id,
                account_id: account,
            }
            .to_event(),
        ])
    }

    fn create_contract(
        &mut self,
        account: AccountId32,
        hash: [u8; 32],
        contract: NodeContract,
        solution_provider_id: Option<u64>,
    ) -> Result<Vec<Event>, DispatchError> {
        let refused = |name| Err(error("SmartContractModule", name));
        let Some(twin_id) = self.accounts.get(&account).and_then(|a| a.twin) else {
            return refused("TwinNotExists");
        };
        if contract.node_id == 0 || contract.node_id > self.rules.nodes {
            return refused("NodeNotExists");
        }
        if solution_provider_id.is_some() {
            return refused("NoSuchSolutionProvider");
        }
        if contract.public_ips > MAX_PUBLIC_IPS {
            return refused("FarmHasNotEnoughPublicIPs");
        }
        let key = (contract.node_id, hash);
        if self.unique.contains_key(&key) {
            return refused("ContractIsNotUnique");
        }
        self.last_contract += 1;
        let contract_id = self.last_contract;
        self.unique.insert(key, contract_id);
        self.contracts.insert(
            contract_id,
            Contract {
                twin: twin_id,
                node: contract.node_id,
                hash,
            },
        );
        self.counts.contracts += 1;
        *self
            .counts
            .by_hash
            .entry(contract.deployment_hash.clone())
            .or_default() += 1;
        let contract_type = ContractData::NodeContract(contract);
        Ok(vec![
            ContractCreated {
                contract_id,
                twin_id,
                contract_type,
                solution_provider_id,
            }
            .to_event(),
        ])
    }

    fn cancel_contract(
        &mut self,
        account: AccountId32,
        contract_id: u64,
    ) -> Result<Vec<Event>, DispatchError> {
        let Some(contract) = self.contracts.get(&contract_id) else {
            return Err(error("SmartContractModule", "ContractNotExists"));
        };
        if self.twins.get(&contract.twin) != Some(&account) {
            return Err(error(
                "SmartContractModule",
                "TwinNotAuthorizedToCancelContract",
            ));
        }
        let (twin_id, node_id, hash) = (contract.twin, contract.node, contract.hash);
        self.unique.remove(&(node_id, hash));
        self.contracts.remove(&contract_id);
        Ok(vec![
            NodeContractCanceled {
                contract_id,
                node_id,
                twin_id,
            }
            .to_event(),
        ])
    }

    fn mint(&mut self, deposit: &str, twin: u32, amount: u64, block: u32) -> Effect {
        let refused = |name| Effect {
            events: Vec::new(),
            error: Some(error("TFTBridgeModule", name)),
        };
        // Once per Stellar transaction, for ever (`ExecutedMintTransactions`).
        if self.answered.contains(deposit) {
            return refused("MintTransactionAlreadyExecuted");
        }
        let Some(arrives) = amount
            .checked_sub(self.rules.deposit_fee)
            .filter(|arrives| *arrives > 0)
        else {
            return refused("AmountIsLessThanDepositFee");
        };
        let Some(target) = self.twins.get(&twin).copied() else {
            return refused("WrongParametersProvided");
        };
        self.answered.insert(deposit.to_owned());
        self.counts.mints += 1;
        *self
            .counts
            .by_stellar_tx
            .entry(deposit.to_owned())
            .or_default() += 1;
        let receiver = self.accounts.entry(target).or_default();
        receiver.free = receiver.free.saturating_add(arrives);
        let minted = MintCompleted {
            transaction: MintTransaction {
                amount,
                target,
                block,
                votes: 1,
            },
            tx_id: deposit.to_owned(),
        };
        Effect {
            events: vec![
                event(
                    "Balances",
                    "Deposit",
                    json!({"who": target, "amount": arrives}),
                ),
                minted.to_event(),
            ],
            error: None,
        }
    }
}
