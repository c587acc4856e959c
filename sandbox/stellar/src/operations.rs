//! Operations: validity at submission and application, with the network's result codes.

use crate::balances;
use crate::envelope::{Key, account_id, key_of, key_of_id};
use crate::exchange::{ConversionError, Limits, Rounding, adjust, convert};
use crate::state::{Account, BASE_RESERVE, BalanceHash, Offer, State, Trustline, issuer};
use stellar_base::xdr::{
    Asset, BumpSequenceOp, BumpSequenceResult, ChangeTrustAsset, ChangeTrustOp, ChangeTrustResult,
    ClaimAtom, ClaimClaimableBalanceResult, ClaimableBalanceId, CreateAccountOp,
    CreateAccountResult, CreateClaimableBalanceResult, ManageOfferSuccessResult,
    ManageOfferSuccessResultOffer as OfferEffect, ManageSellOfferOp, ManageSellOfferResult,
    OfferEntry, OfferEntryExt, OperationBody, OperationResult, OperationResultTr as Tr,
    PathPaymentStrictReceiveOp, PathPaymentStrictReceiveResult,
    PathPaymentStrictReceiveResultSuccess, PaymentOp, PaymentResult, Price, SimplePaymentResult,
};

/// The ledger that operations are applied in.
#[derive(Debug, Clone, Copy)]
pub struct Closing {
    /// Its sequence number.
    pub ledger: u32,
    /// Its closing time, Unix seconds.
    pub time: u64,
}

impl Closing {
    pub(crate) fn at(self) -> (u32, u64) {
        (self.ledger, self.time)
    }
}

/// Whether an operation's result is a success.
pub fn succeeded(result: &OperationResult) -> bool {
    matches!(
        result,
        OperationResult::OpInner(
            Tr::CreateAccount(CreateAccountResult::Success)
                | Tr::Payment(PaymentResult::Success)
                | Tr::PathPaymentStrictReceive(PathPaymentStrictReceiveResult::Success(_))
                | Tr::ManageSellOffer(ManageSellOfferResult::Success(_))
                | Tr::ChangeTrust(ChangeTrustResult::Success)
                | Tr::BumpSequence(BumpSequenceResult::Success)
                | Tr::CreateClaimableBalance(CreateClaimableBalanceResult::Success(_))
                | Tr::ClaimClaimableBalance(ClaimClaimableBalanceResult::Success)
        )
    )
}

/// Claims of offers in a result.
pub fn claims(result: &OperationResult) -> &[ClaimAtom] {
    match result {
        OperationResult::OpInner(Tr::PathPaymentStrictReceive(
            PathPaymentStrictReceiveResult::Success(s),
        )) => &s.offers,
        OperationResult::OpInner(Tr::ManageSellOffer(ManageSellOfferResult::Success(s))) => {
            &s.offers_claimed
        }
        _ => &[],
    }
}

fn good_code(code: &[u8], min: usize) -> bool {
    let length = code.iter().position(|b| *b == 0).unwrap_or(code.len());
    length >= min
        && code[..length].iter().all(u8::is_ascii_alphanumeric)
        && code[length..].iter().all(|b| *b == 0)
}

pub(crate) fn good_asset(asset: &Asset) -> bool {
    match asset {
        Asset::Native => true,
        Asset::CreditAlphanum4(a) => good_code(&a.asset_code.0, 1),
        Asset::CreditAlphanum12(a) => good_code(&a.asset_code.0, 5),
    }
}

pub(crate) fn trusted_asset(line: &ChangeTrustAsset) -> Option<Asset> {
    match line {
        ChangeTrustAsset::Native | ChangeTrustAsset::PoolShare(_) => None,
        ChangeTrustAsset::CreditAlphanum4(a) => Some(Asset::CreditAlphanum4(a.clone())),
        ChangeTrustAsset::CreditAlphanum12(a) => Some(Asset::CreditAlphanum12(a.clone())),
    }
}

/// The result that refuses an operation at submission, or `None` if it may be tried.
pub fn refusal(source: &Key, body: &OperationBody) -> Option<OperationResult> {
    let result = match body {
        OperationBody::CreateAccount(op) => (op.starting_balance < 0
            || key_of_id(&op.destination) == *source)
            .then_some(Tr::CreateAccount(CreateAccountResult::Malformed)),
        OperationBody::Payment(op) => (op.amount <= 0 || !good_asset(&op.asset))
            .then_some(Tr::Payment(PaymentResult::Malformed)),
        OperationBody::PathPaymentStrictReceive(op) => {
            let good = op.dest_amount > 0
                && op.send_max > 0
                && good_asset(&op.send_asset)
                && good_asset(&op.dest_asset);
            (!good || !op.path.iter().all(good_asset)).then_some(Tr::PathPaymentStrictReceive(
                PathPaymentStrictReceiveResult::Malformed,
            ))
        }
        OperationBody::ManageSellOffer(op) => {
            let good = good_asset(&op.selling) && good_asset(&op.buying) && op.selling != op.buying;
            let good =
                good && op.amount >= 0 && op.price.n > 0 && op.price.d > 0 && op.offer_id >= 0;
            (!good || (op.offer_id == 0 && op.amount == 0))
                .then_some(Tr::ManageSellOffer(ManageSellOfferResult::Malformed))
        }
        OperationBody::ChangeTrust(op) => {
            let asset = trusted_asset(&op.line).filter(good_asset);
            (op.limit < 0 || asset.is_none_or(|a| issuer(&a) == Some(*source)))
                .then_some(Tr::ChangeTrust(ChangeTrustResult::Malformed))
        }
        OperationBody::BumpSequence(op) => {
            (op.bump_to.0 < 0).then_some(Tr::BumpSequence(BumpSequenceResult::BadSeq))
        }
        OperationBody::CreateClaimableBalance(op) => (!balances::well_formed(op)).then_some(
            Tr::CreateClaimableBalance(CreateClaimableBalanceResult::Malformed),
        ),
        OperationBody::ClaimClaimableBalance(_) => None,
        _ => return Some(OperationResult::OpNotSupported),
    };
    result.map(OperationResult::OpInner)
}

/// What stands for an operation that was not looked at because another refused the transaction.
pub fn untried(body: &OperationBody) -> OperationResult {
    OperationResult::OpInner(match body {
        OperationBody::CreateAccount(_) => Tr::CreateAccount(CreateAccountResult::Success),
        OperationBody::Payment(_) => Tr::Payment(PaymentResult::Success),
        OperationBody::PathPaymentStrictReceive(op) => Tr::PathPaymentStrictReceive(
            PathPaymentStrictReceiveResult::Success(PathPaymentStrictReceiveResultSuccess {
                offers: stellar_base::xdr::VecM::default(),
                last: SimplePaymentResult {
                    destination: account_id(&key_of(&op.destination)),
                    asset: op.dest_asset.clone(),
                    amount: 0,
                },
            }),
        ),
        OperationBody::ManageSellOffer(_) => {
            Tr::ManageSellOffer(ManageSellOfferResult::Success(ManageOfferSuccessResult {
                offers_claimed: stellar_base::xdr::VecM::default(),
                offer: OfferEffect::Deleted,
            }))
        }
        OperationBody::ChangeTrust(_) => Tr::ChangeTrust(ChangeTrustResult::Success),
        OperationBody::BumpSequence(_) => Tr::BumpSequence(BumpSequenceResult::Success),
        OperationBody::CreateClaimableBalance(_) => Tr::CreateClaimableBalance(
            CreateClaimableBalanceResult::Success(ClaimableBalanceId::default()),
        ),
        OperationBody::ClaimClaimableBalance(_) => {
            Tr::ClaimClaimableBalance(ClaimClaimableBalanceResult::Success)
        }
        _ => return OperationResult::OpNotSupported,
    })
}

/// Applies one operation; if its result is no success, the state is as before. `balance` is the id of
/// the claimable balance that it creates, if it does.
pub fn apply(
    state: &mut State,
    source: &Key,
    body: &OperationBody,
    balance: impl FnOnce() -> BalanceHash,
    closing: Closing,
) -> OperationResult {
    if state.account(source).is_none() {
        return OperationResult::OpNoAccount;
    }
    let mark = state.mark();
    let result = match body {
        OperationBody::CreateAccount(op) => {
            Tr::CreateAccount(create_account(state, source, op, closing))
        }
        OperationBody::Payment(op) => Tr::Payment(pay(state, source, op, closing)),
        OperationBody::PathPaymentStrictReceive(op) => Tr::PathPaymentStrictReceive(
            path_payment(state, source, op, closing).unwrap_or_else(|failure| failure),
        ),
        OperationBody::ManageSellOffer(op) => {
            Tr::ManageSellOffer(sell(state, source, op, closing).unwrap_or_else(|failure| failure))
        }
        OperationBody::ChangeTrust(op) => Tr::ChangeTrust(change_trust(state, source, op, closing)),
        OperationBody::BumpSequence(op) => Tr::BumpSequence(bump(state, source, op, closing)),
        OperationBody::CreateClaimableBalance(op) => {
            Tr::CreateClaimableBalance(balances::create(state, source, op, balance(), closing))
        }
        OperationBody::ClaimClaimableBalance(op) => {
            Tr::ClaimClaimableBalance(balances::claim(state, source, op, closing))
        }
        _ => return OperationResult::OpNotSupported,
    };
    let result = OperationResult::OpInner(result);
    if !succeeded(&result) {
        state.roll_back(mark);
    }
    result
}

fn create_account(
    state: &mut State,
    source: &Key,
    op: &CreateAccountOp,
    closing: Closing,
) -> CreateAccountResult {
    let key = key_of_id(&op.destination);
    if state.account(&key).is_some() {
        return CreateAccountResult::AlreadyExist;
    }
    if op.starting_balance < 2 * BASE_RESERVE {
        return CreateAccountResult::LowReserve;
    }
    if state.spendable(source, &Asset::Native).unwrap_or(0) < op.starting_balance {
        return CreateAccountResult::Underfunded;
    }
    state.add(source, &Asset::Native, -op.starting_balance, closing.at());
    let sequence = i64::from(closing.ledger) << 32;
    let account = Account {
        balance: op.starting_balance,
        sequence,
        modified: closing.at(),
        ..Account::default()
    };
    state.put_account(key, account);
    CreateAccountResult::Success
}

fn pay(state: &mut State, source: &Key, op: &PaymentOp, closing: Closing) -> PaymentResult {
    let destination = key_of(&op.destination);
    if state.account(&destination).is_none() {
        return PaymentResult::NoDestination;
    }
    // A payment of XLM to oneself is a success without further checks.
    if destination == *source && op.asset == Asset::Native {
        return PaymentResult::Success;
    }
    match state.receivable(&destination, &op.asset) {
        None => return PaymentResult::NoTrust,
        Some(room) if room < op.amount && destination != *source => return PaymentResult::LineFull,
        Some(_) => {}
    }
    match state.spendable(source, &op.asset) {
        None => return PaymentResult::SrcNoTrust,
        Some(held) if held < op.amount => return PaymentResult::Underfunded,
        Some(_) => {}
    }
    if state.add(source, &op.asset, -op.amount, closing.at())
        && state.add(&destination, &op.asset, op.amount, closing.at())
    {
        PaymentResult::Success
    } else {
        PaymentResult::LineFull
    }
}

fn path_payment(
    state: &mut State,
    source: &Key,
    op: &PathPaymentStrictReceiveOp,
    closing: Closing,
) -> Result<PathPaymentStrictReceiveResult, PathPaymentStrictReceiveResult> {
    use PathPaymentStrictReceiveResult as R;
    let destination = key_of(&op.destination);
    if state.account(&destination).is_none() {
        return Err(R::NoDestination);
    }
    if state
        .receivable(&destination, &op.dest_asset)
        .ok_or(R::NoTrust)?
        < op.dest_amount
    {
        return Err(R::LineFull);
    }
    if !state.add(&destination, &op.dest_asset, op.dest_amount, closing.at()) {
        return Err(R::LineFull);
    }
    let hops: Vec<&Asset> = op.path.iter().rev().chain([&op.send_asset]).collect();
    let (cost, claims) = cost_of(
        state,
        source,
        &op.dest_asset,
        op.dest_amount,
        &hops,
        closing.at(),
    )
    .map_err(|error| match error {
        ConversionError::TooFewOffers => R::TooFewOffers,
        ConversionError::CrossSelf => R::OfferCrossSelf,
    })?;
    if cost > op.send_max {
        return Err(R::OverSendmax);
    }
    if state
        .spendable(source, &op.send_asset)
        .ok_or(R::SrcNoTrust)?
        < cost
    {
        return Err(R::Underfunded);
    }
    if !state.add(source, &op.send_asset, -cost, closing.at()) {
        return Err(R::Underfunded);
    }
    let last = SimplePaymentResult {
        destination: account_id(&destination),
        asset: op.dest_asset.clone(),
        amount: op.dest_amount,
    };
    let offers = claims.try_into().map_err(|_| R::TooFewOffers)?;
    Ok(R::Success(PathPaymentStrictReceiveResultSuccess {
        offers,
        last,
    }))
}

/// Takes what is needed from the books to get `amount` of `asset`, last hop first.
/// `hops` are the other assets from the end to the beginning.
///
/// # Errors
/// When a book holds too little or an offer is the taker's own.
pub fn cost_of(
    state: &mut State,
    taker: &Key,
    asset: &Asset,
    amount: i64,
    hops: &[&Asset],
    now: (u32, u64),
) -> Result<(i64, Vec<ClaimAtom>), ConversionError> {
    let (mut wanted, mut amount, mut claims) = (asset, amount, Vec::new());
    for hop in hops {
        if *hop == wanted {
            continue;
        }
        let limits = Limits {
            sheep: i64::MAX,
            wheat: amount,
            price: None,
            rounding: Rounding::StrictReceive,
        };
        let mut converted = convert(state, taker, hop, wanted, limits, now)?;
        converted.claims.append(&mut claims);
        (wanted, amount, claims) = (hop, converted.sheep, converted.claims);
    }
    Ok((amount, claims))
}

fn sell(
    state: &mut State,
    source: &Key,
    op: &ManageSellOfferOp,
    closing: Closing,
) -> Result<ManageSellOfferResult, ManageSellOfferResult> {
    use ManageSellOfferResult as R;
    let old = match op.offer_id {
        0 => None,
        id => Some(
            state
                .offer(id)
                .filter(|o| o.seller == *source)
                .cloned()
                .ok_or(R::NotFound)?,
        ),
    };
    if let Some(old) = &old {
        state.set_offer(old.id, None);
    }
    if op.amount == 0 {
        let success = ManageOfferSuccessResult {
            offers_claimed: Vec::new().try_into().map_err(|_| R::Malformed)?,
            offer: OfferEffect::Deleted,
        };
        return Ok(R::Success(success));
    }
    let can_sell = state.spendable(source, &op.selling).ok_or(R::SellNoTrust)?;
    let can_buy = state.receivable(source, &op.buying).ok_or(R::BuyNoTrust)?;
    if old.is_none() && state.spendable(source, &Asset::Native).unwrap_or(0) < BASE_RESERVE {
        return Err(R::LowReserve);
    }
    // XLM for the new entry's own reserve cannot be sold.
    let can_sell = if op.selling == Asset::Native {
        can_sell - BASE_RESERVE
    } else {
        can_sell
    };
    if can_sell < op.amount {
        return Err(R::Underfunded);
    }
    let mut offer = Offer {
        id: op.offer_id,
        seller: *source,
        selling: op.selling.clone(),
        buying: op.buying.clone(),
        amount: op.amount,
        n: op.price.n,
        d: op.price.d,
        modified: closing.at(),
    };
    if crate::exchange::proceeds(&offer) > can_buy {
        return Err(R::LineFull);
    }
    let limits = Limits {
        sheep: op.amount,
        wheat: can_buy,
        price: Some((op.price.d, op.price.n)),
        rounding: Rounding::Normal,
    };
    let crossed = convert(state, source, &op.selling, &op.buying, limits, closing.at())
        .map_err(|_| R::CrossSelf)?;
    state.add(source, &op.selling, -crossed.sheep, closing.at());
    state.add(source, &op.buying, crossed.wheat, closing.at());
    offer.amount = adjust(&offer, op.amount - crossed.sheep, can_buy - crossed.wheat);
    let effect = if offer.amount == 0 {
        OfferEffect::Deleted
    } else {
        if old.is_none() {
            offer.id = state.next_offer_id();
        }
        state.set_offer(offer.id, Some(offer.clone()));
        if old.is_none() {
            OfferEffect::Created(entry(&offer))
        } else {
            OfferEffect::Updated(entry(&offer))
        }
    };
    let offers_claimed = crossed.claims.try_into().map_err(|_| R::Malformed)?;
    Ok(R::Success(ManageOfferSuccessResult {
        offers_claimed,
        offer: effect,
    }))
}

fn entry(offer: &Offer) -> OfferEntry {
    OfferEntry {
        seller_id: account_id(&offer.seller),
        offer_id: offer.id,
        selling: offer.selling.clone(),
        buying: offer.buying.clone(),
        amount: offer.amount,
        price: Price {
            n: offer.n,
            d: offer.d,
        },
        flags: 0,
        ext: OfferEntryExt::V0,
    }
}

fn change_trust(
    state: &mut State,
    source: &Key,
    op: &ChangeTrustOp,
    closing: Closing,
) -> ChangeTrustResult {
    let Some(asset) = trusted_asset(&op.line) else {
        return ChangeTrustResult::Malformed;
    };
    let line = state
        .account(source)
        .and_then(|account| account.trustlines.get(&asset))
        .copied();
    let (buying, selling) = state.liabilities(source, &asset);
    let reserve_missing = state.spendable(source, &Asset::Native).unwrap_or(0) < BASE_RESERVE;
    match line {
        None if op.limit == 0 => return ChangeTrustResult::InvalidLimit,
        None if issuer(&asset).is_none_or(|key| state.account(&key).is_none()) => {
            return ChangeTrustResult::NoIssuer;
        }
        None if reserve_missing => return ChangeTrustResult::LowReserve,
        Some(line) if op.limit < line.balance.saturating_add(buying) => {
            return ChangeTrustResult::InvalidLimit;
        }
        Some(_) if op.limit == 0 && selling > 0 => return ChangeTrustResult::CannotDelete,
        None | Some(_) => {}
    }
    let Some(account) = state.account_mut(source) else {
        return ChangeTrustResult::Malformed;
    };
    account.modified = closing.at();
    if op.limit == 0 {
        account.trustlines.remove(&asset);
    } else {
        let balance = line.map_or(0, |line| line.balance);
        account.trustlines.insert(
            asset,
            Trustline {
                balance,
                limit: op.limit,
                modified: closing.ledger,
            },
        );
    }
    ChangeTrustResult::Success
}

fn bump(
    state: &mut State,
    source: &Key,
    op: &BumpSequenceOp,
    closing: Closing,
) -> BumpSequenceResult {
    if op.bump_to.0 < 0 {
        return BumpSequenceResult::BadSeq;
    }
    // A bump to a number not above the current one succeeds and changes nothing.
    if state
        .account(source)
        .is_some_and(|account| account.sequence < op.bump_to.0)
        && let Some(account) = state.account_mut(source)
    {
        account.sequence = op.bump_to.0;
        account.sequence_used = Some(closing.at());
        account.modified = closing.at();
    }
    BumpSequenceResult::Success
}
