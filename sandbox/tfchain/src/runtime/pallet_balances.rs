//! The pallet `Balances`.

use super::sp_core::crypto::AccountId32;
use super::sp_runtime::multiaddress::MultiAddress;
use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Calls.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
#[expect(non_camel_case_types, reason = "the runtime's names")]
pub enum Call {
    /// Pays, and may end the payer's account.
    #[codec(index = 0)]
    transfer_allow_death {
        /// Who receives.
        dest: MultiAddress<AccountId32, ()>,
        /// In 10^-7 TFT.
        #[codec(compact)]
        value: u128,
    },
    /// Pays; the payer's account goes on.
    #[codec(index = 3)]
    transfer_keep_alive {
        /// Who receives.
        dest: MultiAddress<AccountId32, ()>,
        /// In 10^-7 TFT.
        #[codec(compact)]
        value: u128,
    },
}

/// Events.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[codec(crate = codec)]
#[expect(missing_docs, reason = "the runtime's names and fields")]
pub enum Event {
    #[codec(index = 0)]
    Endowed {
        account: AccountId32,
        free_balance: u128,
    },
    #[codec(index = 1)]
    DustLost { account: AccountId32, amount: u128 },
    #[codec(index = 2)]
    Transfer {
        from: AccountId32,
        to: AccountId32,
        amount: u128,
    },
    #[codec(index = 7)]
    Deposit { who: AccountId32, amount: u128 },
    #[codec(index = 8)]
    Withdraw { who: AccountId32, amount: u128 },
}

/// Errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, TypeInfo)]
#[codec(crate = codec)]
#[expect(missing_docs, reason = "the runtime's names")]
pub enum Error {
    VestingBalance,
    LiquidityRestrictions,
    InsufficientBalance,
    ExistentialDeposit,
    Expendability,
    ExistingVestingSchedule,
    DeadAccount,
    TooManyReserves,
    TooManyHolds,
    TooManyFreezes,
}

/// Types of `pallet_balances::types`.
pub mod types {
    use codec::{Decode, Encode};
    use scale_info::TypeInfo;

    /// Balances of an account, in 10^-7 TFT.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct AccountData {
        /// May be spent.
        pub free: u128,
        /// Put aside.
        pub reserved: u128,
        /// Part of the free one that may not be spent.
        pub frozen: u128,
        /// Marks.
        pub flags: ExtraFlags,
    }

    /// Marks.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct ExtraFlags(pub u128);
}
