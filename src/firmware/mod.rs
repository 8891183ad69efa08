//! Particle firmware modules: format, checks, order, and what goes where. Pure: bytes in, plan out.
// STUB until merged
pub fn sha256_of(bytes: &[u8]) -> crate::model::recipe::Sha256 { use sha2::Digest; crate::model::recipe::Sha256(sha2::Sha256::digest(bytes).into()) }
pub use stub::*;
mod stub {
    #[derive(Debug, Clone)]
    pub struct Piece {
        pub label: String,
        pub way: Way,
        pub bytes: Vec<u8>,
    }
    #[derive(Debug, Clone)]
    pub enum Way {
        Dfu { alt: u8, address: u32 },
        Update,
    }
    impl Piece {
        pub fn shows_as_module(&self) -> bool {
            true
        }
    }
    pub trait Inst {
        fn yes(&self) -> bool;
    }
    impl Piece {
        pub fn is_installed<T>(&self, _: &[T]) -> bool {
            true
        }
    }
}
