//! What is told of the chain's runtime.

use prometheus::{IntGauge, opts, register_int_gauge};
use std::sync::LazyLock;

static SPEC_VERSION: LazyLock<Option<IntGauge>> = LazyLock::new(|| {
    register_int_gauge!(opts!(
        "gridway_tfchain_spec_version",
        "Version of TFChain's runtime at the finalized head"
    ))
    .ok()
});

static SIGNING_STOPPED: LazyLock<Option<IntGauge>> = LazyLock::new(|| {
    register_int_gauge!(opts!(
        "gridway_tfchain_signing_stopped",
        "1 while nothing is signed for TFChain, because its runtime has shapes that are not known"
    ))
    .ok()
});

pub(crate) fn spec_version(version: u32) {
    if let Some(gauge) = SPEC_VERSION.as_ref() {
        gauge.set(i64::from(version));
    }
}

pub(crate) fn signing_stopped(stopped: bool) {
    if let Some(gauge) = SIGNING_STOPPED.as_ref() {
        gauge.set(i64::from(stopped));
    }
}
