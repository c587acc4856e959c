//! Choices from a seed.

/// Deterministic choices; each use has its own, so that they do not disturb each other.
pub struct Dice(u64);

impl Dice {
    /// The choices of one use.
    pub fn new(seed: u64, usage: &str) -> Self {
        let mixed = usage.bytes().fold(seed, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut dice = Self(mixed);
        // The first ones of neighbouring seeds are alike.
        for _ in 0..4 {
            dice.next();
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// A number below `n`; 0 for 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// Whether something of so many in a hundred happens.
    pub fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// Milliseconds from `low` to `high`.
    pub fn ms(&mut self, low: u64, high: u64) -> std::time::Duration {
        std::time::Duration::from_millis(low + self.below(high.saturating_sub(low)))
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let index = self.below(of.len() as u64);
        usize::try_from(index).ok().and_then(|i| of.get(i))
    }
}
