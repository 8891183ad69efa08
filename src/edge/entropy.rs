//! Randomness.

/// A source of random bytes fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    ///
    /// # Panics
    /// If the operating system cannot give random bytes: nothing sensible can be done without.
    fn fill(&self, buffer: &mut [u8]);

    /// `N` random bytes.
    fn bytes<const N: usize>(&self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// The operating system's random number generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }
}
