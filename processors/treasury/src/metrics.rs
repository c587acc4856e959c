//! Gauges of what our accounts hold, in the default registry.

use crate::holdings::Holding;
use prometheus::{IntGauge, IntGaugeVec, register_int_gauge, register_int_gauge_vec};
use std::collections::BTreeMap;
use std::sync::LazyLock;

// Registering fails only for a name that is taken: then the metric is missing, not the service.
static BALANCE: LazyLock<Option<IntGaugeVec>> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "gridway_treasury_balance_units",
        "What an account of ours holds, in 10^-7 units; of lanes the least that one of a hand's holds.",
        &["holding"]
    )
    .ok()
});
static LOW: LazyLock<Option<IntGauge>> = LazyLock::new(|| {
    register_int_gauge!(
        "gridway_treasury_low",
        "Holdings below what they should be, each lane counted."
    )
    .ok()
});
static UNREADABLE: LazyLock<Option<IntGauge>> = LazyLock::new(|| {
    register_int_gauge!(
        "gridway_treasury_unreadable",
        "Holdings that could not be read last time."
    )
    .ok()
});

pub(crate) fn show(holdings: &[Holding]) {
    let mut shown: BTreeMap<String, i64> = BTreeMap::new();
    for holding in holdings {
        let Ok(balance) = holding.balance else {
            continue;
        };
        // Lanes are many: of each hand's, the poorest.
        let name = match holding.name.rsplit_once('/') {
            Some((lanes, _)) if lanes.starts_with("lane/") => lanes,
            _ => &holding.name,
        };
        let least = shown.entry(name.to_owned()).or_insert(balance);
        *least = balance.min(*least);
    }
    if let Some(gauge) = &*BALANCE {
        for (name, balance) in shown {
            gauge.with_label_values(&[&name]).set(balance);
        }
    }
    let count = |gauge: &Option<IntGauge>, of: &dyn Fn(&Holding) -> bool| {
        let many = holdings.iter().filter(|holding| of(holding)).count();
        if let Some(gauge) = gauge {
            gauge.set(i64::try_from(many).unwrap_or(i64::MAX));
        }
    };
    count(&LOW, &Holding::is_low);
    count(&UNREADABLE, &|holding| holding.balance.is_err());
}
