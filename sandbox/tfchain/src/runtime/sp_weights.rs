//! What a call takes.

/// Types of `sp_weights::weight_v2`.
pub mod weight_v2 {
    use codec::{Decode, Encode};
    use scale_info::TypeInfo;

    /// Time and space of a call.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
    #[codec(crate = codec)]
    pub struct Weight {
        /// Picoseconds.
        #[codec(compact)]
        pub ref_time: u64,
        /// Bytes.
        #[codec(compact)]
        pub proof_size: u64,
    }
}
